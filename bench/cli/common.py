"""What several commands share: where and how they print, and the pipeline of a command."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bench.session.opening import open_store, skipped

if TYPE_CHECKING:
    from bench.api import Dataset
    from bench.config.config import Config
    from bench.pipeline.pipeline import Pipeline
    from bench.pipeline.stage import Machine

__all__ = ["open_store"]

out, log_out = Console(), Console(stderr=True)
PLAIN: dict[str, Any] = {"highlight": False, "soft_wrap": True}
"""How a line is printed: no colours guessed from its text, and never folded, so that paths can be copied."""


def say(line: str) -> None:
    """Print a line as it is: square brackets in it are no markup."""
    out.print(line, markup=False, **PLAIN)


def warn(line: str) -> None:
    """The same, to standard error."""
    log_out.print(line, markup=False, **PLAIN)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str] = ()) -> None:
    """Print a table of texts. right: the headings of the columns that end at the right, as numbers do."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_edge=False, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left")
    for row in rows:
        table.add_row(*map(escape, row))
    out.print(table)


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
