"""What is shown of a matrix while it runs, and what is kept of each finished cell."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bench.estimate.estimate import duration
from bench.pipeline.events import Listener, bars
from bench.pipeline.pipeline import Pipeline
from bench.records import build as outcome, record

from .cell import Cell
from .forecast import Forecast
from .graph import TRIES, Fault, Graph, Node

if TYPE_CHECKING:
    from rich.console import Console

log = logging.getLogger(__name__)


class Board:
    """A line for each stage made, with the time left; in a terminal also what runs now. Keeps the records."""

    def __init__(
        self, graph: Graph, forecast: Forecast, slots: int, console: Console, tracker: Listener, output: Path | None
    ) -> None:
        self.records: dict[Cell, record.Record] = {}
        self._graph, self._forecast, self._slots = graph, forecast, slots
        self._console, self._tracker, self._output = console, tracker, output
        self._began: dict[Node, float] = {}
        self._tasks: dict[Node, Any] = {}
        self._progress = bars(console, "{task.completed:.0f} {task.fields[unit]}")
        self._made = 0

    def __enter__(self) -> Board:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, node: Node) -> None:
        self._tracker.started(node.stage, False)
        if node in self._tasks:
            self._again(node)
        self._began[node] = time.monotonic()
        self._tasks[node] = self._progress.add_task(node.stage.title, total=None, unit="")

    def progressed(self, node: Node, what: str, done: int, total: int) -> None:
        self._tracker.progressed(node.stage, what, done, total)
        self._progress.update(self._tasks[node], completed=done, total=total, unit=what)

    def finished(self, node: Node, seconds: float) -> None:
        self._tracker.finished(node.stage, seconds)
        self._forecast.learn(node.stage, seconds)
        self._line(node, "[green]done[/]", duration(seconds))

    def failed(self, node: Node, fault: Fault) -> None:
        self._line(node, "[red]FAILED[/]", f"{plural('cell', len(node.cells))} cannot be finished")
        if fault.trace:
            log.error("%s of %s:\n%s", node.stage.title, node.cells[0].title, fault.trace)

    def completed(self, cell: Cell, pipeline: Pipeline) -> None:
        """Make and keep the record of a cell."""
        built, path = outcome.keep_record(pipeline)
        if self._output is not None:
            outcome.save_changed(self._output / path.name, built)
        self.records[cell] = built

    def left(self) -> str:
        """The time left, in words."""
        now = time.monotonic()
        seconds, unknown = self._forecast.left(
            self._graph, {node: now - began for node, began in self._began.items()}, self._slots
        )
        if not unknown:
            return f"about {duration(seconds)}"
        kinds = f"{plural('stage', unknown)} of a kind not timed yet"
        return f"more than {duration(seconds)} ({kinds})" if seconds else f"not known yet ({kinds})"

    def _again(self, node: Node) -> None:
        from rich.markup import escape

        self._progress.remove_task(self._tasks.pop(node))
        text = (
            f"  [yellow]again[/] {escape(node.stage.title)} [dim](its worker was lost; try {node.tries} of {TRIES})[/]"
        )
        self._console.print(text, highlight=False, soft_wrap=True)

    def _line(self, node: Node, how: str, remark: str) -> None:
        from rich.markup import escape

        self._progress.remove_task(self._tasks.pop(node))
        self._began.pop(node, None)
        self._made += 1
        rest = len(self._graph.to_do())
        left = f"; {rest} known to do, left: {self.left()}" if rest else ""
        where = escape(node.cells[0].title) + (f" and {len(node.cells) - 1} more" if len(node.cells) > 1 else "")
        text = f"  {how} {escape(node.stage.title)} [dim]for {where} ({remark}{left})[/]"
        self._console.print(text, highlight=False, soft_wrap=True)


def plural(word: str, count: int) -> str:
    """'1 cell', '2 cells'."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
