"""`bench matrix`: many runs, from a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from bench.errors import BenchError

from . import common, options

if TYPE_CHECKING:
    from bench.estimate.pace import Pace
    from bench.matrix.forecast import Forecast
    from bench.matrix.graph import Graph, Node
    from bench.matrix.ray import RayOptions
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
    from bench.matrix.cell import RunContext
    from bench.matrix.file import read_matrix
    from bench.matrix.run import run_cells
    from bench.pipeline.stage import Machine
    from bench.plugins.manager import Plugins

    ray = ray_options(engine, ray_address, jobs, resources or ())
    plugins = Plugins.load()
    cells = read_matrix(file, plugins)
    context = RunContext(common.open_store(store), Machine(accelerator=accelerator, devices=devices), plugins)
    pipelines = {cell: context.pipeline(cell) for cell in cells}
    for dataset in context.datasets.values():
        common.warn_of_skipped(dataset)
    if dry_run:
        from bench.matrix.forecast import Forecast
        from bench.matrix.graph import Graph

        _print_plan(Graph(pipelines), Forecast(context.store))
        return
    common.show_log()
    result = run_cells(context, cells, jobs=jobs or 1, output=output, ray=ray, console=common.out)
    _print_table([result.records[cell] for cell in cells if cell in result.records])
    raise typer.Exit(result.exit_code)


def ray_options(
    engine: str | None, address: str | None, jobs: int | None, resources: Sequence[str]
) -> RayOptions | None:
    """Which Ray is requested; None for none. Raises BenchError for options that do not go together."""
    if engine not in (None, "processes", "ray"):
        raise BenchError(f"--engine {engine}: expected processes or ray")
    if engine == "ray" or (engine is None and address is not None):
        from bench.matrix.ray import RayOptions

        return RayOptions(address=address, jobs=jobs, changes=tuple(resources))
    for option, value in (("--ray-address", address), ("--resources", resources)):
        if value:
            raise BenchError(f"{option} is for Ray: add --engine ray")
    return None


def _print_table(records: Sequence[Record]) -> None:
    from bench import leaderboard

    if records:
        sys.stdout.write("\n" + leaderboard.renderer("markdown")(leaderboard.tables(records)))


class _Line:
    """Stages of one title in a plan. `later`: some of them are known only when a defense's verdict is."""

    def __init__(self) -> None:
        self.needed = self.cached = 0
        self.later = False
        self.seconds = 0.0
        self.basis: set[str] = set()

    def add(self, seconds: float, basis: str, later: bool = False) -> None:
        self.seconds, self.later = self.seconds + seconds, self.later or later
        self.needed += 1
        self.basis.add(basis)


def _print_plan(graph: Graph, forecast: Forecast) -> None:
    """Print the stages by title, how many are in the store, and an estimate for the rest."""
    from rich.table import Table

    from bench.estimate.estimate import duration
    from bench.matrix.board import plural

    lines = _lines(graph, forecast)
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("stage", "needed", "in the store", "time for the rest", "estimated from"):
        table.add_column(heading, justify="left" if heading in ("stage", "estimated from") else "right")
    for title, line in lines.items():
        needed = f"up to {line.needed}" if line.later else str(line.needed)
        table.add_row(escape(title), needed, str(line.cached), duration(line.seconds), ", ".join(sorted(line.basis)))
    common.out.print(table)
    total = duration(sum(line.seconds for line in lines.values()))
    left = sum(line.needed - line.cached for line in lines.values())
    to_do = f"To do: at most {plural('stage', left)}, about {total} one after the other." if left else "All is there."
    texts = [f"\n{plural('cell', len(graph.pipelines))}. {to_do}"]
    texts += [f"cannot run: {escape(c.title)}: {escape(fault.message)}" for c, fault in graph.failures.items()]
    for text in texts:
        common.out.print(text, highlight=False, soft_wrap=True)


def _lines(graph: Graph, forecast: Forecast) -> dict[str, _Line]:
    """By title, in the order in which the stages come."""
    from bench.estimate.estimate import kind_of
    from bench.matrix.forecast import expected

    found: dict[str, _Line] = {}
    paces: dict[str, Pace] = {}
    for node in graph.nodes.values():
        line = found.setdefault(node.stage.title, _Line())
        if node.state == "done":
            line.needed, line.cached = line.needed + 1, line.cached + 1
        else:
            line.add(*_estimate(node, graph, forecast, paces))
    for cell in graph.open_cells():
        pipeline = graph.pipelines[cell]
        alike = (pipeline.training_on_all, pipeline.threat_probe)
        for (title, kind), like in zip(expected(pipeline), alike, strict=False):
            seconds = forecast.seconds.get(kind, forecast.seconds.get(kind_of(like), 0.0))
            found.setdefault(title, _Line()).add(seconds, "as the first, at most", later=True)
    return found


def _estimate(node: Node, graph: Graph, forecast: Forecast, paces: dict[str, Pace]) -> tuple[float, str]:
    """(seconds, where from): an earlier stage of the same kind, else a short trial, which stands for its kind."""
    from bench.estimate.estimate import Estimator, kind_of

    seconds = forecast.seconds.get(kind_of(node.stage))
    if seconds is not None:
        return seconds, "the same kind of stage"
    row = Estimator(graph.pipelines[node.cells[0]], paces).row(node.stage)
    forecast.learn(node.stage, row.seconds or 0.0)
    return row.seconds or 0.0, row.basis.partition(";")[0]
