"""The stages that many runs need, each once, as a graph.

A stage needs those stages whose keys are among its inputs. What follows a defense is known only when its verdict is in
the store, so the graph grows while it is worked on.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from bench.errors import BenchError, in_one_line
from bench.pipeline.pipeline import Pipeline
from bench.pipeline.stage import Machine, Stage

from .cell import Cell

TRIES = 3
"""How often a stage is begun whose worker is lost each time; it resumes from its checkpoint."""
State = Literal["waiting", "running", "done", "failed"]
_RANK = {"poison": 0, "import": 1, "clean": 2, "control": 2, "detect": 2, "judge": 2, "pretrain": 3, "probe": 4}
_THREAT = 1


@dataclass(frozen=True)
class Job:
    """All that another process needs to make one stage; it can be pickled."""

    cell: Cell
    store: str
    machine: Machine
    name: str
    key: str


@dataclass(eq=False)
class Node:
    """One stage and its state. `cells`: the runs that need it. `rank`: what most others wait for is lowest."""

    stage: Stage
    job: Job
    rank: int
    cached: bool
    cells: list[Cell] = field(default_factory=list)
    state: State = "waiting"
    tries: int = 0


@dataclass(frozen=True)
class Fault:
    """Why a stage could not be made. `trace`: its traceback, '' for a user's error. `lost`: its worker died."""

    message: str
    trace: str = ""
    lost: bool = False

    @classmethod
    def of(cls, error: Exception) -> Fault:
        """The fault that an exception stands for."""
        if isinstance(error, BenchError):
            return cls(str(error))
        return cls(in_one_line(error), "".join(traceback.format_exception(error)))


class Graph:
    """The stages of all cells: `nodes` by key; `failures` by cell.

    needed: yields the stages of a cell's pipeline in order, as far as they are known.
    """

    def __init__(
        self, pipelines: Mapping[Cell, Pipeline], needed: Callable[[Pipeline], Iterable[Stage]] = Pipeline.stages
    ) -> None:
        self.pipelines = pipelines
        self.whole_runs = needed is Pipeline.stages
        self.nodes: dict[str, Node] = {}
        self.failures: dict[Cell, Fault] = {}
        self._needed = needed
        for cell in pipelines:
            self._grow(cell)

    def _grow(self, cell: Cell) -> None:
        """Take in the stages of a cell that are known by now."""
        pipeline = self.pipelines[cell]
        try:
            for stage in self._needed(pipeline):
                node = self.nodes.get(stage.key) or self._node(cell, pipeline, stage)
                self.nodes[stage.key] = node
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
        """What can be begun, the most urgent first: in the order of the cells, or (so that several workers need not
        wait for each other) what most others wait for."""
        order = {cell: number for number, cell in enumerate(self.pipelines)}

        def urgency(node: Node) -> tuple[int, int, int]:
            return 0 if cell_by_cell else node.rank, min(order[cell] for cell in self._alive(node)), node.rank

        return sorted((n for n in self.nodes.values() if n.state == "waiting" and self._can_begin(n)), key=urgency)

    def _can_begin(self, node: Node) -> bool:
        needed = (self.nodes[key] for key in node.stage.inputs.values() if key in self.nodes)
        return bool(self._alive(node)) and all(each.state == "done" for each in needed)

    def _alive(self, node: Node) -> list[Cell]:
        return [cell for cell in node.cells if cell not in self.failures]

    def to_do(self) -> list[Node]:
        """The known nodes that are still to be made, for cells that have not failed."""
        return [n for n in self.nodes.values() if n.state in ("waiting", "running") and self._alive(n)]

    def done(self, node: Node) -> None:
        """The node's stage is in the store; a verdict reveals the stages that follow."""
        node.state = "done"
        for cell in self._alive(node):
            if self.pipelines[cell].clean.key == node.stage.key:
                self._grow(cell)

    def fail(self, node: Node, fault: Fault) -> None:
        """The node's stage cannot be made: no cell that needs it can be finished."""
        node.state = "failed"
        self.failures.update(dict.fromkeys(self._alive(node), fault))

    def complete_cells(self) -> list[Cell]:
        """The cells whose stages are all in the store."""
        unfinished = {cell for node in self.nodes.values() if node.state != "done" for cell in node.cells}
        return [cell for cell in self.open_cells() if cell not in unfinished]

    def open_cells(self) -> list[Cell]:
        """The cells that have not failed."""
        return [cell for cell in self.pipelines if cell not in self.failures]
