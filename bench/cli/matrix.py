"""`bench matrix`: what it prints, and running many cells."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from bench.estimate.estimate import Estimator, Pace, duration, kind_of
from bench.matrix.board import plural
from bench.matrix.cell import Cell, RunContext
from bench.matrix.file import read_matrix
from bench.matrix.forecast import Forecast, expected
from bench.matrix.graph import Graph, Node
from bench.matrix.run import run_cells
from bench.pipeline.stage import Machine

from . import commands

if TYPE_CHECKING:
    from bench.matrix.ray import RayOptions
    from bench.records.record import Record


def matrix_command(
    file: Path,
    *,
    store: Path | None,
    jobs: int,
    output: Path | None,
    dry_run: bool,
    devices: int,
    accelerator: str,
    ray: RayOptions | None = None,
) -> int:
    """`bench matrix`; its exit code. `ray`: where on Ray, instead of in `jobs` processes of this machine."""
    from bench.plugins.manager import Plugins

    plugins = Plugins.load()
    cells = read_matrix(file, plugins)
    context = RunContext(commands.open_store(store), Machine(accelerator=accelerator, devices=devices), plugins)
    graph = open_graph(context, cells)
    if dry_run:
        plan(graph, Forecast(context.store))
        return 0
    commands.show_log()
    result = run_cells(context, cells, jobs=jobs, output=output, ray=ray, console=commands.out)
    _print_table([result.records[cell] for cell in cells if cell in result.records])
    return result.exit_code


def open_graph(context: RunContext, cells: Sequence[Cell]) -> Graph:
    """The graph of the cells' stages, their datasets loaded."""
    pipelines = {cell: context.pipeline(cell) for cell in cells}
    for dataset in context.datasets.values():
        commands.tell_skipped(dataset)
    return Graph(pipelines)


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


def plan(graph: Graph, forecast: Forecast) -> None:
    """Print the stages by title, how many are in the store, and an estimate for the rest."""
    lines = _lines(graph, forecast)
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("stage", "needed", "in the store", "time for the rest", "estimated from"):
        table.add_column(heading, justify="left" if heading in ("stage", "estimated from") else "right")
    for title, line in lines.items():
        needed = f"up to {line.needed}" if line.later else str(line.needed)
        table.add_row(escape(title), needed, str(line.cached), duration(line.seconds), ", ".join(sorted(line.basis)))
    commands.out.print(table)
    total = duration(sum(line.seconds for line in lines.values()))
    left = sum(line.needed - line.cached for line in lines.values())
    to_do = f"To do: at most {plural('stage', left)}, about {total} one after the other." if left else "All is there."
    texts = [f"\n{plural('cell', len(graph.pipelines))}. {to_do}"]
    texts += [f"cannot run: {escape(c.title)}: {escape(fault.message)}" for c, fault in graph.failures.items()]
    for text in texts:
        commands.out.print(text, highlight=False, soft_wrap=True)


def _lines(graph: Graph, forecast: Forecast) -> dict[str, _Line]:
    """By title, in the order in which the stages come."""
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
    seconds = forecast.seconds.get(kind_of(node.stage))
    if seconds is not None:
        return seconds, "the same kind of stage"
    row = Estimator(graph.pipelines[node.cells[0]], paces).row(node.stage)
    forecast.learn(node.stage, row.seconds or 0.0)
    return row.seconds or 0.0, row.basis.partition(";")[0]
