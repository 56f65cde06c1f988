"""What a run reports while it works, and the terminal, which shows it.

pluggy's hooks are the bus: `Plugins.notify` passes an event on to every plugin that implements its hook
(plugins/hookspecs.py). The terminal is registered like any other tracker.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from bench.plugins import hookimpl

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn


class Notify(Protocol):
    """Reports an event by the name of its hook without "bench_", and the hook's arguments: `Plugins.notify`."""

    def __call__(self, event: str, **facts: Any) -> None: ...


def silent(event: str, **facts: Any) -> None:
    """A `Notify` for runs that nobody follows."""


def bars(console: Console, count: str, *more: ProgressColumn, shown: bool = True) -> Progress:
    """Progress bars that vanish when done, and are left out where the output is no terminal, or they are not `shown`.

    Each shows its description, the bar, `count` (a format of rich), the time since its start, then `more`.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        TextColumn(count),
        TimeElapsedColumn(),
        *more,
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
        # The pace of the last minute: the first steps are slow, and other programs come and go.
        speed_estimate_period=60,
    )


class Terminal:
    """Shows a run: a line for each stage, with a bar and the time left while it is made, then the time it took.

    Use it as a context manager, and add it to the plugins (`Plugins.add`). live: False for lines alone, so that a
    debugger has the terminal.
    """

    def __init__(self, console: Console, live: bool = True) -> None:
        from rich.progress import TextColumn, TimeRemainingColumn

        self._console, self._live = console, live and console.is_terminal
        count = "{task.completed:.0f}/{task.total:.0f} {task.fields[unit]}"
        self._progress = bars(console, count, TextColumn("left"), TimeRemainingColumn(), shown=live)
        self._task: Any = None
        self._what = ""

    def __enter__(self) -> Terminal:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @hookimpl
    def bench_stage_started(self, title: str, cached: bool) -> None:
        self._what = ""
        if cached:
            self._line(title, "from the store")
        elif not self._live:
            self._console.print(f"       {title} ...", highlight=False)

    @hookimpl
    def bench_stage_progress(self, title: str, what: str, done: int, total: int) -> None:
        if what != self._what:
            from rich.markup import escape

            self._clear()
            self._what = what
            self._task = self._progress.add_task(title, total=total, completed=done, unit=escape(what))
        self._progress.update(self._task, completed=done, total=total)

    @hookimpl
    def bench_stage_finished(self, title: str, seconds: float) -> None:
        self._clear()
        self._line(title, f"{seconds:.0f} s")

    def _line(self, title: str, how: str) -> None:
        self._console.print(f"  [green]done[/] {title} [dim]({how})[/]", highlight=False)

    def _clear(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
