"""Runs many cells: has every stage of their graph made once, and keeps the records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.errors import counted
from bench.pipeline.pipeline import Pipeline
from bench.pipeline.stage import Stage
from bench.records.build import keep_record, save_changed
from bench.records.record import Record

from .board import Board
from .cell import Cell, RunContext
from .engine import Engine, InProcess, ProcessPool
from .forecast import Forecast
from .graph import TRIES, Fault, Graph, Node

if TYPE_CHECKING:
    from .ray import RayOptions

_PAUSE = 0.2  # seconds between two looks for progress, and for Ctrl-C


@dataclass(kw_only=True)
class MatrixResult:
    """What came of many cells. failures: why those that are not in `completed` could not be finished.

    records: of the completed cells, where whole runs were requested.
    """

    pipelines: dict[Cell, Pipeline]
    completed: list[Cell] = field(default_factory=list)
    records: dict[Cell, Record] = field(default_factory=dict)
    failures: dict[Cell, Fault] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """1 where a cell failed."""
        return 1 if self.failures else 0


def run_cells(
    context: RunContext,
    cells: Sequence[Cell],
    *,
    jobs: int = 1,
    ray: RayOptions | None = None,
    output: Path | None = None,
    needed: Callable[[Pipeline], Iterable[Stage]] = Pipeline.stages,
    console: Console | None = None,
) -> MatrixResult:
    """Make every stage that the cells need, once. A cell whose stage fails stops no other.

    jobs: how many stages at a time; 1 in this process, more in as many processes. ray: have Ray make them instead.
    Each stage computes with its run's `threads`, wherever it is made, so the records are the same.
    output: a folder for copies of the records. needed: which stages of a pipeline, in order, as far as they are known.
    console: shows how it goes. Raises BenchError for a cell that cannot be opened and a store that cannot be written.
    """
    context.store.check_writable()
    graph = Graph({cell: context.pipeline(cell) for cell in cells}, needed)
    result = MatrixResult(pipelines=dict(graph.pipelines), failures=graph.failures)
    engine: Engine = InProcess() if jobs == 1 else ProcessPool(jobs)
    if ray is not None:
        threads = max((pipeline.config.threads for pipeline in graph.pipelines.values()), default=1)
        engine = ray.open(context.store.root, context.machine, threads)
    try:
        with Board(graph, Forecast(context.store), engine.slots, console, context.plugins.notify) as board:
            make_all(graph, engine, board, lambda cell: _keep(cell, graph, result, output))
    finally:
        engine.close()
    board.failures()
    done = f"{len(result.completed)} of {counted(len(cells), 'cell')} done"
    board.say(f"{done}: {output or context.store.root / 'records'}")
    return result


def _keep(cell: Cell, graph: Graph, result: MatrixResult, output: Path | None) -> None:
    """The cell's stages are all in the store: make and keep its record."""
    try:
        if graph.whole_runs:
            built, path = keep_record(graph.pipelines[cell])
            if output is not None:
                save_changed(output / path.name, built)
            result.records[cell] = built
        result.completed.append(cell)
    except Exception as error:  # one cell must not stop the others
        graph.failures[cell] = Fault.of(error)


def make_all(graph: Graph, engine: Engine, board: Board, complete: Callable[[Cell], None]) -> None:
    """Make every stage of the graph, each once; what fails stops only the cells that need it (Graph.failures).

    `complete` is called with each cell when all its stages are in the store.
    """
    running: dict[Future[Fault | None], Node] = {}
    completed: set[Cell] = set()
    while True:
        for cell in [cell for cell in graph.complete_cells() if cell not in completed]:
            completed.add(cell)
            complete(cell)
        for node in graph.ready(cell_by_cell=engine.slots == 1)[: engine.slots - len(running)]:
            node.state, node.tries = "running", node.tries + 1
            board.started(node)
            running[engine.submit(node, board.progressed)] = node
        if not running:
            return
        ended, _ = wait(running, timeout=_PAUSE, return_when=FIRST_COMPLETED)
        engine.poll(board.progressed)
        for future in ended:
            node, fault = running.pop(future), future.result()
            if fault is None:
                graph.done(node)
                board.finished(node)
            elif fault.lost and node.tries < TRIES:
                node.state = "waiting"
                board.lost(node)
            else:
                graph.fail(node, fault)
                board.failed(node, fault)
