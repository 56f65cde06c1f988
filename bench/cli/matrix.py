"""`bench matrix`: what it prints, and running many cells."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from bench.errors import BenchError
from bench.estimate.estimate import Estimator, Pace, duration, kind_of
from bench.matrix.board import Board, plural
from bench.matrix.cell import Cell, RunContext
from bench.matrix.executors import open_engine
from bench.matrix.file import read_matrix
from bench.matrix.forecast import Forecast, expected
from bench.matrix.graph import Graph, Node, run_graph
from bench.pipeline.events import Trackers
from bench.pipeline.pipeline import Pipeline
from bench.pipeline.stage import Machine

from . import common, options

if TYPE_CHECKING:
    from bench.estimate.estimate import Pace
    from bench.matrix.cell import Cell, RunContext
    from bench.matrix.forecast import Forecast
    from bench.matrix.graph import Graph, Node
    from bench.matrix.ray import Place
    from bench.pipeline.pipeline import Pipeline
    from bench.records.record import Record


def matrix(
    file: Annotated[Path, typer.Argument(help="TOML: preset, seeds, attacks, defenses, settings (see the README).")],
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Stages at a time; above 1 in processes with one thread each.",
            show_default="1; on Ray as many as have room",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Copy the records into this folder.")] = None,
    engine: options.EngineName = None,
    ray_address: options.RayAddress = None,
    resources: options.Resources = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what there is to do and how long; do nothing.")
    ] = False,
    store: options.StoreRoot = None,
    devices: options.Devices = 1,
    accelerator: options.Accelerator = "auto",
) -> None:
    """Run every attack with every defense and seed of a file; a stage that several need is computed once."""
    code = matrix_command(
        file,
        store=store,
        jobs=jobs or 1,
        output=output,
        dry_run=dry_run,
        devices=devices,
        accelerator=accelerator,
        ray=_place(engine, ray_address, jobs, resources or ()),
    )
    raise typer.Exit(code)


def _place(engine: str | None, address: str | None, jobs: int | None, resources: Sequence[str]) -> Place | None:
    """Which Ray is asked for; None for none. Raises BenchError for options that do not go together."""
    if engine not in (None, "processes", "ray"):
        raise BenchError(f"--engine {engine}: expected processes or ray")
    if engine == "ray" or (engine is None and address is not None):
        from bench.matrix.ray import Place

        return Place(address=address, jobs=jobs, resources=tuple(resources))
    for option, value in (("--ray-address", address), ("--resources", resources)):
        if value:
            raise BenchError(f"{option} is for Ray: add --engine ray")
    return None


def matrix_command(
    file: Path,
    *,
    store: Path | None,
    jobs: int,
    output: Path | None,
    dry_run: bool,
    devices: int,
    accelerator: str,
    ray: Place | None = None,
) -> int:
    """`bench matrix`; its exit code. `ray`: where on Ray, instead of in `jobs` processes of this machine."""
    from bench.matrix.cell import RunContext
    from bench.plugins.manager import Plugins

    plugins = Plugins.load()
    cells = read_matrix(file, plugins)
    shop = RunContext(common.open_store(store), Machine(accelerator=accelerator, devices=devices), plugins)
    if dry_run:
        plan(shop, cells)
        return 0
    records, code = run_cells(shop, cells, jobs=jobs, output=output, ray=ray)
    _print_table(records)
    return code


def run_cells(
    shop: RunContext, cells: Sequence[Cell], *, jobs: int, output: Path | None, ray: Place | None = None
) -> tuple[list[Record], int]:
    """Make every stage that the cells need, once; (records in the order of the cells, exit code: 1 where one failed).

    `output`: a folder for copies of the records. `ray`: where on Ray, instead of in `jobs` processes.
    """
    from bench.matrix.forecast import Forecast

    common.show_log()
    shop.store.check_writable()
    graph = open_graph(shop, cells)
    engine = open_engine(jobs) if ray is None else ray.open(shop.store.root, shop.machine)
    board = Board(graph, Forecast(shop.store), engine.slots, common.out, Trackers(shop.plugins), output)
    cached = sum(node.cached for node in graph.nodes.values())
    known = f"{plural('stage', len(graph.nodes))} known, {cached} of them in the store"
    _say(f"{plural('cell', len(cells))}, {known}; left: {board.left()}")
    try:
        with board:
            run_graph(graph, engine, board)
    finally:
        engine.close()
    _print_failures(graph)
    records = [board.records[cell] for cell in cells if cell in board.records]
    _say(f"{len(records)} of {plural('cell', len(cells))} done: {output or shop.store.root / 'records'}")
    return records, 1 if graph.failures else 0


def open_graph(shop: RunContext, cells: Sequence[Cell]) -> Graph:
    """The graph of the cells' stages, their datasets loaded."""
    from bench.matrix.graph import Graph

    pipelines = {cell: shop.pipeline(cell) for cell in cells}
    for dataset in shop.datasets.values():
        common.warn_of_skipped(dataset)
    return Graph(pipelines)


def _say(text: str) -> None:
    common.out.print(text, highlight=False, soft_wrap=True)


def _print_failures(graph: Graph) -> None:
    """Each reason once, with the cells that it stopped and a command that shows it."""
    stopped: dict[str, list[Cell]] = {}
    for cell, fault in graph.failures.items():
        stopped.setdefault(fault.message, []).append(cell)
    for message, cells in stopped.items():
        lines = [f"[red]FAILED[/] {escape(message)}", *(f"  {escape(cell.title)}" for cell in cells)]
        lines.append(f"  one of them alone: {escape(cells[0].command)}")
        _say("\n".join(lines))


def _print_table(records: Sequence[Record]) -> None:
    from bench import leaderboard

    if records:
        sys.stdout.write("\n" + leaderboard.renderer("markdown")(leaderboard.tables(records)))


# --- the plan ---------------------------------------------------------------------------------------


def plan(shop: RunContext, cells: Sequence[Cell]) -> None:
    """Print the stages by title, how many are in the store, and an estimate for the rest."""
    from rich.table import Table

    from bench.matrix.board import plural
    from bench.matrix.forecast import Forecast

    graph = open_graph(shop, cells)
    lines = _Plan(graph, Forecast(shop.store)).lines()
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("stage", "needed", "in the store", "time for the rest", "estimated from"):
        table.add_column(heading, justify="left" if heading in ("stage", "estimated from") else "right")
    for title, line in lines.items():
        needed = f"up to {line.needed}" if line.later else str(line.needed)
        table.add_row(escape(title), needed, str(line.cached), duration(line.seconds), ", ".join(sorted(line.basis)))
    common.out.print(table)
    total = sum(line.seconds for line in lines.values())
    left = sum(line.needed - line.cached for line in lines.values())
    text = f"\n{plural('cell', len(cells))}. "
    text += (
        f"To do: at most {plural('stage', left)}, about {duration(total)} one after the other."
        if left
        else "All is there."
    )
    _say(text)
    for cell, fault in graph.failures.items():
        common.out.print(f"cannot run: {escape(cell.title)}: {escape(fault.message)}", highlight=False, soft_wrap=True)


class _Line:
    """Stages of one title. `later`: some of them are known only when a defense's verdict is."""

    def __init__(self) -> None:
        self.needed = self.cached = 0
        self.later = False
        self.seconds = 0.0
        self.basis: set[str] = set()

    def add(self, seconds: float, basis: str, later: bool = False) -> None:
        self.seconds, self.later = self.seconds + seconds, self.later or later
        self.needed += 1
        self.basis.add(basis)


class _Plan:
    """Counts and estimates the stages of a graph, as `bench plan` does those of a run."""

    def __init__(self, graph: Graph, forecast: Forecast) -> None:
        self._graph, self._forecast = graph, forecast
        self._paces: dict[str, Pace] = {}

    def lines(self) -> dict[str, _Line]:
        """By title, in the order in which they come."""

        found: dict[str, _Line] = {}
        for node in self._graph.nodes.values():
            line = found.setdefault(node.stage.title, _Line())
            if node.state == "done":
                line.needed, line.cached = line.needed + 1, line.cached + 1
            else:
                line.add(*self._estimate(node))
        for cell in self._graph.open_cells():
            pipeline = self._graph.pipelines[cell]
            for (title, kind), like in zip(
                expected(pipeline), (pipeline.training_on_all, pipeline.threat_probe), strict=False
            ):
                seconds = self._forecast.seconds.get(kind, self._forecast.seconds.get(kind_of(like), 0.0))
                found.setdefault(title, _Line()).add(seconds, "as the first, at most", later=True)
        return found

    def _estimate(self, node: Node) -> tuple[float, str]:
        """(seconds, where from): an earlier stage of the same kind, else a short trial, which stands for its kind."""

        seconds = self._forecast.seconds.get(kind_of(node.stage))
        if seconds is not None:
            return seconds, "the same kind of stage"
        pipeline: Pipeline = self._graph.pipelines[node.cells[0]]
        row = Estimator(pipeline, self._paces).row(node.stage)
        self._forecast.learn(node.stage, row.seconds or 0.0)
        return row.seconds or 0.0, row.basis.partition(";")[0]
