"""What several commands share: where and how they print, and the pipeline of a command."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bench.session.opening import open_store, skipped

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bench.api import Dataset
    from bench.config.config import Config
    from bench.pipeline.pipeline import Pipeline
    from bench.pipeline.stage import Machine

__all__ = ["open_store"]


class Output(Console):
    """A console whose reader may leave (`| head -1`): the command goes on, and what it makes is kept."""

    def on_broken_pipe(self) -> None:
        """From here on nothing is written to the standard output."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


out, log_out = Output(), Console(stderr=True)
PLAIN: dict[str, Any] = {"highlight": False, "soft_wrap": True}
"""How a line is printed: no colours guessed from its text, and never folded, so that paths can be copied."""


def say(line: str) -> None:
    """Print a line as it is: square brackets in it are no markup."""
    out.print(line, markup=False, **PLAIN)


def warn(line: str) -> None:
    """The same, to standard error."""
    log_out.print(line, markup=False, **PLAIN)


def show(part: RenderableType) -> None:
    """Print a table or a line of markup, folded between words where the width is known."""
    out.print(part, highlight=False, soft_wrap=isinstance(part, str) and not folds())


def show_line(text: str, indent: int = 0) -> None:
    """Print a line of markup; where the width is known it is folded between words, its rest `indent` to the right."""
    from rich.text import Text

    line = Text.from_markup(text)
    if not folds() or len(line) <= out.width:
        out.print(text, **PLAIN)
        return
    first = line.wrap(out, out.width)[0]
    rest = line[len(first) :]
    rest = rest[len(rest.plain) - len(rest.plain.lstrip()) :]
    out.print(first, highlight=False)
    for part in rest.wrap(out, max(out.width - indent, 20)):
        out.print(Text(" " * indent).append_text(part), highlight=False)


def folds() -> bool:
    """Whether long lines are folded: on a terminal, or where $COLUMNS says how wide it is; never in a pipe."""
    return out.is_terminal or "COLUMNS" in os.environ


LEGEND = "What the metrics mean: bench list metrics"
"""Printed below a table whose headings are their titles."""


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str] = ()) -> None:
    """Print a table of texts. right: the headings of the columns that end at the right, as numbers do."""
    from bench.report.fitting import FittingTable

    out.print(FittingTable(headings=headings, rows=list(rows), right=right), highlight=False)


def show_log() -> None:
    """Warnings of the benchmark go to standard error from now on."""
    import logging

    from rich.logging import RichHandler

    logger = logging.getLogger("bench")
    if not logger.handlers:
        logger.addHandler(RichHandler(console=log_out, show_time=False, show_path=False, markup=False))
        logger.setLevel(logging.WARNING)


def warn_of_skipped(dataset: Dataset) -> None:
    """Names files of the dataset that cannot be read."""
    if said := skipped(dataset):
        warn(f"bench: {said}")


def open_pipeline(config: Config, store: Path | None, machine: Machine | None = None) -> Pipeline:
    """As bench.session.opening's; names files of the dataset that cannot be read."""
    from bench.session import opening

    pipeline = opening.open_pipeline(config, store, machine)
    if pipeline.machine.group is None or pipeline.machine.group.leads:
        warn_of_skipped(pipeline.dataset)
    return pipeline
