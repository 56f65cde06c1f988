"""What is reported of a matrix while it runs: on the terminal, and to trackers."""

from __future__ import annotations

import logging
import time
from typing import Any

from rich.console import Console
from rich.markup import escape

from bench.errors import counted
from bench.estimate.estimate import duration
from bench.pipeline.events import Notify, bars

from .cell import Cell
from .forecast import Forecast
from .graph import TRIES, Fault, Graph, Node

log = logging.getLogger(__name__)


class Board:
    """A line for each stage made, with the time left; in a terminal also bars of what runs now."""

    def __init__(self, graph: Graph, forecast: Forecast, slots: int, console: Console | None, notify: Notify) -> None:
        self._graph, self._forecast, self._slots, self._notify = graph, forecast, slots, notify
        self._console = console or Console(quiet=True)
        self._began: dict[Node, float] = {}
        self._tasks: dict[Node, Any] = {}
        self._progress = bars(self._console, "{task.completed:.0f} {task.fields[unit]}")

    def __enter__(self) -> Board:
        nodes = self._graph.nodes.values()
        known = f"{counted(len(nodes), 'stage')} known, {sum(node.cached for node in nodes)} of them in the store"
        self.say(f"{counted(len(self._graph.pipelines), 'cell')}, {known}; left: {self.left()}")
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def started(self, node: Node) -> None:
        """A stage begins."""
        self._tell("stage_started", node, cached=False)
        self._began[node] = time.monotonic()
        self._tasks[node] = self._progress.add_task(node.stage.title, total=None, unit="")

    def progressed(self, key: str, what: str, done: int, total: int) -> None:
        """`done` of `total` units of `what` of a stage are through."""
        node = self._graph.nodes[key]
        self._tell("stage_progress", node, what=what, done=done, total=total)
        if node in self._tasks:
            self._progress.update(self._tasks[node], completed=done, total=total, unit=what)

    def finished(self, node: Node) -> None:
        """A stage is in the store."""
        seconds = time.monotonic() - self._began[node]
        self._tell("stage_finished", node, seconds=seconds)
        self._forecast.history.learn(node.stage, seconds)
        self._line(node, "[green]done[/]", duration(seconds))

    def failed(self, node: Node, fault: Fault) -> None:
        """A stage cannot be made."""
        self._line(node, "[red]FAILED[/]", f"{counted(len(node.cells), 'cell')} cannot be finished")
        if fault.trace:
            log.error("%s of %s:\n%s", node.stage.title, node.cells[0].title, fault.trace)

    def lost(self, node: Node) -> None:
        """A stage's worker died; the stage will be begun again."""
        self._progress.remove_task(self._tasks.pop(node))
        remark = f"(its worker was lost; try {node.tries + 1} of {TRIES})"
        self.say(f"  [yellow]again[/] {escape(node.stage.title)} [dim]{remark}[/]")

    def left(self) -> str:
        """The time left, in words."""
        now = time.monotonic()
        elapsed = {node: now - began for node, began in self._began.items()}
        seconds, unknown = self._forecast.left(self._graph, elapsed, self._slots)
        if not unknown:
            return f"about {duration(seconds)}"
        kinds = f"{counted(unknown, 'stage')} of a kind not timed yet"
        return f"more than {duration(seconds)} ({kinds})" if seconds else f"not known yet ({kinds})"

    def failures(self) -> None:
        """Each reason once, with the cells that it stopped and a command that shows it."""
        stopped: dict[str, list[Cell]] = {}
        for cell, fault in self._graph.failures.items():
            stopped.setdefault(fault.message, []).append(cell)
        for message, cells in stopped.items():
            lines = [f"[red]FAILED[/] {escape(message)}", *(f"  {escape(cell.title)}" for cell in cells)]
            self.say("\n".join([*lines, f"  one of them alone: {escape(cells[0].command)}"]))

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def _line(self, node: Node, how: str, remark: str) -> None:
        self._progress.remove_task(self._tasks.pop(node))
        self._began.pop(node)
        rest = len(self._graph.to_do())
        left = f"; {rest} known to do, left: {self.left()}" if rest else ""
        where = escape(node.cells[0].title) + (f" and {len(node.cells) - 1} more" if len(node.cells) > 1 else "")
        self.say(f"  {how} {escape(node.stage.title)} [dim]for {where} ({remark}{left})[/]")

    def _tell(self, event: str, node: Node, **facts: Any) -> None:
        self._notify(event, stage=node.stage.name, key=node.stage.key, title=node.stage.title, **facts)
