"""`bench matrix`: many runs, from a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import BenchError, counted

from . import common, options

if TYPE_CHECKING:
    from bench.estimate.estimate import StageEstimate
    from bench.estimate.pace import Pace
    from bench.matrix.forecast import Forecast
    from bench.matrix.graph import Graph
    from bench.matrix.ray import RayOptions

_LATER = "as the first, at most"


def matrix(
    file: Annotated[Path, typer.Argument(help="TOML: preset, seeds, attacks, defenses, settings; docs/howto/runs.md.")],
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Stages at a time; above 1 in as many processes.",
            show_default="1; on Ray as many as have room",
        ),
    ] = None,
    output: Annotated[Path | None, options.written("Copy the records into this folder.")] = None,
    engine: options.EngineName = None,
    ray_address: options.RayAddress = None,
    resources: options.Resources = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what there is to do and how long; do nothing.")
    ] = False,
    plugin: options.PluginFiles = None,
    store: options.StoreRoot = None,
    devices: options.Devices = 1,
    accelerator: options.Accelerator = "auto",
) -> None:
    """Run every attack with every defense and seed of a file; a stage that several need is computed once."""
    from bench import boards
    from bench.matrix.cell import RunContext
    from bench.matrix.file import read_matrix
    from bench.matrix.run import run_cells
    from bench.pipeline.check import check_runnable
    from bench.pipeline.stage import Machine
    from bench.plugins.from_file import load_plugins
    from bench.store import check_can_write

    ray = ray_options(engine, ray_address, jobs, resources or ())
    plugins = load_plugins(plugin or ())
    cells = read_matrix(file, plugins, plugin or ())
    context = RunContext(common.open_store(store), Machine(accelerator=accelerator, devices=devices), plugins)
    for folder in (context.store.root, *([output] if output else [])):
        check_can_write(folder / ".probe")
    pipelines = {cell: context.pipeline(cell) for cell in cells}
    for dataset in context.datasets.values():
        common.warn_of_skipped(dataset)
    known: set[str] = set()
    for cell, pipeline in pipelines.items():
        try:
            check_runnable(pipeline, known)
        except BenchError as error:
            raise BenchError(f"{file}: {cell.title}: {error}") from error
    if dry_run:
        from bench.matrix.forecast import Forecast
        from bench.matrix.graph import Graph

        _print_plan(Graph(pipelines), Forecast(context.store))
        return
    common.show_log()
    result = run_cells(context, cells, jobs=jobs or 1, output=output, ray=ray, console=common.out)
    records = [result.records[cell] for cell in cells if cell in result.records]
    if records:
        sys.stdout.write("\n" + boards.renderer("markdown")(boards.tables(records)))
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


def _print_plan(graph: Graph, forecast: Forecast) -> None:
    """Print the stages by title, how many are in the store, and an estimate for the rest."""
    from bench.estimate.estimate import duration

    rows = [*_known(graph, forecast), *_later(graph, forecast)]
    headings = ("stage", "needed", "in the store", "time for the rest", "estimated from")
    lines = []
    for title in dict.fromkeys(row.title for row in rows):
        stages = [row for row in rows if row.title == title]
        left = [row for row in stages if not row.cached]
        bases = sorted({row.basis for row in left})
        needed = f"{'up to ' if _LATER in bases else ''}{len(stages)}"
        time = duration(sum(row.seconds for row in left))
        lines.append((title, needed, str(len(stages) - len(left)), time, ", ".join(bases)))
    common.print_table(headings, lines, right=headings[1:4])
    left = [row for row in rows if not row.cached]
    time = f"about {duration(sum(row.seconds for row in left))} one after the other"
    to_do = f"To do: at most {counted(len(left), 'stage')}, {time}." if left else "All is there."
    common.say(f"\n{counted(len(graph.pipelines), 'cell')}. {to_do}")
    for cell, fault in graph.failures.items():
        common.say(f"cannot run: {cell.title}: {fault.message}")


def _known(graph: Graph, forecast: Forecast) -> Iterator[StageEstimate]:
    """The stages that are known, each once. A short trial of one stands for its kind."""
    from bench.estimate.estimate import Estimator, StageEstimate

    paces: dict[str, Pace] = {}
    for node in graph.nodes.values():
        title, seconds = node.stage.title, forecast.history.seconds(node.stage)
        if node.state == "done":
            yield StageEstimate(title, True, 0.0, "")
        elif seconds is not None:
            yield StageEstimate(title, False, seconds, "the same kind of stage")
        else:
            row = Estimator(graph.pipelines[node.cells[0]], paces).row(node.stage)
            forecast.history.learn(node.stage, row.seconds)
            yield StageEstimate(title, False, row.seconds, row.basis.partition(";")[0])


def _later(graph: Graph, forecast: Forecast) -> Iterator[StageEstimate]:
    """The stages that may follow a verdict."""
    from bench.estimate.estimate import StageEstimate
    from bench.matrix.forecast import expected

    for cell in graph.open_cells():
        pipeline = graph.pipelines[cell]
        alike = (pipeline.training_on_all, pipeline.threat_probe)
        for (title, stage), like in zip(expected(pipeline), alike, strict=False):
            seconds = forecast.history.seconds(stage) or forecast.history.seconds(like) or 0.0
            yield StageEstimate(title, False, seconds, _LATER)
