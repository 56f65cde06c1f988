"""`bench reproduce`: the paper's numbers beside ours, and the runs that are missing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import BenchError, counted

from . import common, options
from .leaderboard import files_in

if TYPE_CHECKING:
    from bench.matrix.cell import Cell, RunContext
    from bench.paper.reproduce import Key, OurNumbers, PaperRow, PaperTable, RecordsByRun
    from bench.records import record as records

_HEADINGS = {
    ("clean", "acc"): "ACC",
    ("clean", "asr"): "ASR",
    ("clean", "false_positives"): "FP",
    ("poisoned", "acc"): "ACC triggered",
    ("poisoned", "asr"): "ASR triggered",
    ("poisoned", "false_positives"): "FP triggered",
    ("train", "removed"): "removed",
    ("train", "recall"): "recall",
    ("train", "precision"): "precision",
}
_COUNTS = ("removed", "false_positives")


def reproduce(
    table: Annotated[str, typer.Argument(help="table1, table2 or table3 of the PoisonCAM paper.")],
    preset: Annotated[str | None, typer.Option(help="Preset to set beside it.", show_default="the paper's")] = None,
    settings: options.Set = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds wanted of each run, from 0; the paper has 5.")] = 1,
    records: Annotated[
        list[Path] | None, typer.Option(help="Record file, or folder of them.", show_default="the store's")
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Make the runs that have no record.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="With --run: stages at a time.")] = 1,
    store: options.StoreRoot = None,
    devices: options.Devices = 1,
    accelerator: options.Accelerator = "auto",
) -> None:
    """Compare the paper's numbers with ours: the difference, the runs that are missing, what departs from the paper."""
    from bench.matrix.cell import RunContext
    from bench.matrix.run import run_cells
    from bench.paper.published import table_of
    from bench.paper.reproduce import Reproduction
    from bench.pipeline.stage import Machine

    context = RunContext(common.open_store(store), Machine(accelerator=accelerator, devices=devices))
    folders = records or ()
    tables = Reproduction(context, table_of(table), range(seeds), settings or ()).tables(preset)
    ours, code = _records(context, folders), 0
    if run and (cells := _wanted(tables, ours)):
        common.show_log()
        result = run_cells(context, cells, jobs=jobs, console=common.out)
        ours, code = _records(context, folders, list(result.records.values())), result.exit_code
    sys.stdout.write(text(table, tables, ours, seeds) + "\n")
    raise typer.Exit(code)


def _records(context: RunContext, folders: Sequence[Path], made: Sequence[records.Record] = ()) -> RecordsByRun:
    from bench.paper.reproduce import RecordsByRun
    from bench.records import record as records

    every = files_in(list(folders) or [context.store.root / "records"])
    files = [file for file in every if file.suffix == ".json"]
    if folders and not files:
        raise BenchError(f"there is no record in {', '.join(map(str, folders))}")
    return RecordsByRun([*(records.load(file) for file in files), *made], context)


def _wanted(tables: Sequence[PaperTable], ours: RecordsByRun) -> list[Cell]:
    """The cells without a record, each once. "none" is a row of every record, so it needs a run of its own only where
    nothing else is run."""
    from bench.boards import NONE

    found: dict[Cell, None] = {}
    for table in tables:
        others = any(row.defense != NONE for row in table.rows)
        for row in table.rows:
            if row.defense != NONE or not others:
                found.update(dict.fromkeys(ours.missing(row)))
    return list(found)


def text(name: str, tables: Sequence[PaperTable], ours: RecordsByRun, seeds: int) -> str:
    """All of it as markdown: first whether this is a reproduction at all."""
    from bench.boards.rows import UNDEFINED
    from bench.paper.published import RUNS, SOURCE

    about = f"The paper: {SOURCE}; each number a mean over {RUNS} seeds. {UNDEFINED}: no record."
    head = [*_opening(tables), f"# {name}: the paper / ours (difference)", about]
    parts = [*head, *(_table_text(table, ours) for table in tables), _closing(_wanted(tables, ours), seeds)]
    return "\n\n".join(parts)


def _opening(tables: Sequence[PaperTable]) -> list[str]:
    from bench.paper.reproduce import in_words

    departing = [table for table in tables if table.departures]
    if not departing:
        names = " and ".join(dict.fromkeys(table.preset for table in tables))
        return [f"The setting is the paper's as far as it is published (see the notes in preset {names})."]
    found = dict.fromkeys(
        f"- preset {table.preset} has, with the paper's in brackets: {in_words(table.departures)}."
        for table in departing
    )
    warning = (
        "NOT A REPRODUCTION. The setting is not the paper's, so the numbers cannot be expected to agree, and a small "
        "difference confirms nothing:"
    )
    return ["\n".join([warning, *found])]


def _table_text(table: PaperTable, ours: RecordsByRun) -> str:
    from tabulate import tabulate

    epochs = len({row.epochs for row in table.rows}) > 1
    headings = ["target", "defense", *(["epochs"] if epochs else []), *(_HEADINGS[key] for key in table.rows[0].paper)]
    lines = []
    for row in table.rows:
        found = ours.ours(row)
        numbers = [_cell(key, paper, found, table.foreign) for key, paper in row.paper.items()]
        lines.append([row.target, row.defense, *([str(row.epochs)] if epochs else []), *numbers, _runs(row, found)])
    beside = f": its average, beside preset {table.preset} on other data" if table.foreign else ""
    text = tabulate(lines, [*headings, "our runs"], "pipe", disable_numparse=True)
    return f"## {table.setting.title}{beside}\n\n{text}"


def _cell(key: Key, paper: float, found: OurNumbers | None, foreign: bool) -> str:
    """The paper's number, ours, and the difference; not that of counts of images on `foreign` data: it says nothing."""
    from bench.boards.rows import UNDEFINED

    ours = found.values.get(key) if found else None
    if ours is None:
        return f"{paper:.1f} / {UNDEFINED}"
    difference = "" if foreign and key[1] in _COUNTS else f" ({round(ours - paper, 1) + 0.0:+.1f})"
    return f"{paper:.1f} / {ours:.1f}{difference}"


def _runs(row: PaperRow, ours: OurNumbers | None) -> str:
    if not row.runs:
        return f"no defense {row.defense!r} is installed"
    if ours is None:
        return "none yet"
    seeds = counted(len(ours.seeds), "seed")
    return seeds if len(row.runs) == 1 else f"{seeds}, {ours.targets} of {len(row.runs)} targets"


def _closing(missing: Sequence[Cell], seeds: int) -> str:
    """The commands that make what is missing."""
    from bench.paper.published import RUNS

    if not missing:
        return f"Every run that can be made has a record of {counted(seeds, 'seed')}; the paper has {RUNS} (--seeds)."
    lines = "\n".join(f"    {cell.command}" for cell in missing)
    how = "The same command with --run makes all that is missing; one by one:"
    return f"No record yet of {counted(len(missing), 'run')}. {how}\n\n{lines}"
