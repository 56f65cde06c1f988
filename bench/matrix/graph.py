"""The stages that many cells need, each once, as a graph; and the loop that has an engine make them.

A stage needs those stages whose keys are among its inputs. What follows a defense is known when its verdict is, so the
graph grows while it is worked on. An engine makes stages somewhere: here, in worker processes, on a cluster.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from bench.errors import BenchError
from bench.pipeline.pipeline import Pipeline
from bench.pipeline.stage import Machine, Stage

from .cell import Cell

TRIES = 3
"""How often a stage is begun whose worker is lost each time; it goes on from its checkpoint."""
State = Literal["waiting", "running", "done", "failed"]
_RANK = {"poison": 0, "import": 1, "clean": 2, "control": 2, "pretrain": 3, "probe": 4}
_THREAT = 1


@dataclass(frozen=True)
class Job:
    """All that a process needs to make one stage; it can be pickled. Of which cell, kept where, on what."""

    cell: Cell
    store: str
    machine: Machine
    name: str
    key: str


@dataclass(eq=False)
class Node:
    """One stage and where it stands. `cells`: who needs it. `rank`: what most others wait for is lowest."""

    stage: Stage
    job: Job
    rank: int
    cached: bool
    cells: list[Cell] = field(default_factory=list)
    state: State = "waiting"
    tries: int = 0


@dataclass(frozen=True)
class Fault:
    """Why a stage could not be made. `trace`: where, '' for what a user can mend. `lost`: its worker died."""

    message: str
    trace: str = ""
    lost: bool = False

    @classmethod
    def of(cls, error: Exception) -> Fault:
        """What to tell of an exception."""
        if isinstance(error, BenchError):
            return cls(str(error))
        return cls(f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)))


@dataclass(frozen=True)
class Outcome:
    """How a node ended, and after how many seconds."""

    node: Node
    seconds: float
    fault: Fault | None = None


Report = Callable[[Node, str, int, int], None]


class Engine(Protocol):
    """Makes stages. It is given as many at a time as it has `slots`."""

    slots: int

    def start(self, node: Node) -> None:
        """Begin to make it; everything it needs is in the store."""
        ...

    def wait(self, report: Report) -> Outcome:
        """Until one of the started nodes ends. Passes progress to `report` meanwhile."""
        ...

    def close(self) -> None:
        """End what still runs."""
        ...


class Watcher(Protocol):
    """Hears how it goes."""

    def started(self, node: Node) -> None: ...

    def progressed(self, node: Node, what: str, done: int, total: int) -> None: ...

    def finished(self, node: Node, seconds: float) -> None: ...

    def failed(self, node: Node, fault: Fault) -> None: ...

    def completed(self, cell: Cell, pipeline: Pipeline) -> None:
        """All stages of the cell are in the store."""
        ...


class Graph:
    """The stages of all cells; `nodes` by key, `failures` by cell."""

    def __init__(self, pipelines: Mapping[Cell, Pipeline]) -> None:
        self.pipelines = pipelines
        self.nodes: dict[str, Node] = {}
        self.failures: dict[Cell, Fault] = {}
        self._told: set[Cell] = set()
        for cell in pipelines:
            self.grow(cell)

    def grow(self, cell: Cell) -> None:
        """Take in the stages of a cell that are known by now."""
        pipeline = self.pipelines[cell]
        try:
            for stage in pipeline.stages():
                node = self.nodes.setdefault(stage.key, self._node(cell, pipeline, stage))
                if cell not in node.cells:
                    node.cells.append(cell)
        except Exception as error:  # one cell must not stop the others
            self.failures[cell] = Fault.of(error)

    def _node(self, cell: Cell, pipeline: Pipeline, stage: Stage) -> Node:
        cached = pipeline.found(stage)
        job = Job(cell, str(pipeline.store.root), pipeline.machine, stage.name, stage.key)
        rank = _THREAT if stage.key == pipeline.threat.key else _RANK[stage.name]
        return Node(stage, job, rank, cached, state="done" if cached else "waiting")

    def ready(self, cell_by_cell: bool) -> list[Node]:
        """What can be begun, first things first: in the order of the cells, or (so that several workers need not wait
        for each other) what most others wait for."""
        able = [node for node in self.nodes.values() if node.state == "waiting" and self._can_begin(node)]
        order = {cell: number for number, cell in enumerate(self.pipelines)}
        place = {key: number for number, key in enumerate(self.nodes)}
        cell_of = {node.stage.key: min(order[cell] for cell in self._alive(node)) for node in able}
        return sorted(
            able,
            key=lambda n: (0 if cell_by_cell else n.rank, cell_of[n.stage.key], n.rank, place[n.stage.key]),
        )

    def _can_begin(self, node: Node) -> bool:
        needed = (self.nodes[key] for key in node.stage.inputs.values() if key in self.nodes)
        return bool(self._alive(node)) and all(each.state == "done" for each in needed)

    def _alive(self, node: Node) -> list[Cell]:
        return [cell for cell in node.cells if cell not in self.failures]

    def to_do(self) -> list[Node]:
        """The known nodes that are still to be made: somebody needs them who has not failed."""
        return [n for n in self.nodes.values() if n.state in ("waiting", "running") and self._alive(n)]

    def done(self, node: Node) -> None:
        """It is in the store; a verdict tells what comes next."""
        node.state = "done"
        for cell in self._alive(node):
            if self.pipelines[cell].clean.key == node.stage.key:
                self.grow(cell)

    def fail(self, node: Node, fault: Fault) -> None:
        """It cannot be made: no cell that needs it can be finished."""
        node.state = "failed"
        for cell in self._alive(node):
            self.failures[cell] = fault

    def completed(self) -> list[Cell]:
        """The cells completed since this was last asked."""
        states: dict[Cell, set[State]] = {cell: set() for cell in self.pipelines}
        for node in self.nodes.values():
            for cell in node.cells:
                states[cell].add(node.state)
        new = [cell for cell in self.open_cells() if cell not in self._told and states[cell] == {"done"}]
        self._told.update(new)
        return new

    def open_cells(self) -> list[Cell]:
        """The cells that have not failed."""
        return [cell for cell in self.pipelines if cell not in self.failures]


def run_graph(graph: Graph, engine: Engine, watcher: Watcher) -> None:
    """Make every stage of the graph, each once; what fails stops only the cells that need it (graph.failures)."""
    running: set[Node] = set()
    while True:
        _complete(graph, watcher)
        free = engine.slots - len(running)
        for node in graph.ready(cell_by_cell=engine.slots == 1)[:free]:
            node.state, node.tries = "running", node.tries + 1
            running.add(node)
            watcher.started(node)
            engine.start(node)
        if not running:
            return
        outcome = engine.wait(watcher.progressed)
        running.remove(outcome.node)
        _settle(graph, outcome, watcher)


def _settle(graph: Graph, outcome: Outcome, watcher: Watcher) -> None:
    node, fault = outcome.node, outcome.fault
    if fault is None:
        graph.done(node)
        watcher.finished(node, outcome.seconds)
    elif fault.lost and node.tries < TRIES:
        node.state = "waiting"
    else:
        graph.fail(node, fault)
        watcher.failed(node, fault)


def _complete(graph: Graph, watcher: Watcher) -> None:
    for cell in graph.completed():
        try:
            watcher.completed(cell, graph.pipelines[cell])
        except Exception as error:  # as in Graph.grow
            graph.failures[cell] = Fault.of(error)
