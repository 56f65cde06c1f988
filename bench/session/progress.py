"""How `bench.run` shows what it does: lines and a bar in a terminal, one line that is written over in a notebook."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.errors import counted
from bench.plugins import hookimpl

if TYPE_CHECKING:
    from bench.plugins.manager import Plugins

_PAUSE = 0.2  # seconds between two updates of a notebook's line


@contextmanager
def shown(plugins: Plugins, progress: bool) -> Iterator[None]:
    """A run of `plugins` is shown within the block, if that is wanted."""
    from rich.console import Console

    from bench.pipeline.events import Terminal

    if not progress:
        yield
        return
    console = Console(stderr=True)
    with NotebookLine() if console.is_jupyter else Terminal(console) as tracker:
        plugins.add(tracker)
        yield


class NotebookLine:
    """A line of text under a cell, which says what is made, and in the end how many stages there were."""

    def __enter__(self) -> NotebookLine:
        from IPython.display import display

        self._began = self._told = time.monotonic()
        self._made = self._found = 0
        self._handle: Any = display(_plain("bench ..."), raw=True, display_id=True)
        return self

    def __exit__(self, *error: object) -> None:
        took = time.monotonic() - self._began
        self._tell(f"{counted(self._made, 'stage')} made in {took:.0f} s, {self._found} found in the store")

    @hookimpl
    def bench_stage_started(self, title: str, cached: bool) -> None:
        self._found += cached
        if not cached:
            self._tell(f"{title} ...")

    @hookimpl
    def bench_stage_progress(self, title: str, what: str, done: int, total: int) -> None:
        if time.monotonic() - self._told >= _PAUSE:
            self._tell(f"{title}: {done}/{total} {what}")

    @hookimpl
    def bench_stage_finished(self) -> None:
        self._made += 1

    def _tell(self, text: str) -> None:
        self._told = time.monotonic()
        self._handle.update(_plain(text), raw=True)


def _plain(text: str) -> dict[str, str]:
    return {"text/plain": text}
