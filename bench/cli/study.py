"""`bench study`: the paper's studies, their tables and their plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from bench.errors import BenchError

from . import common, options

if TYPE_CHECKING:
    import pandas as pd

    from bench.matrix.cell import Cell
    from bench.paper.studies.runs import StudyRuns


def study(
    name: Annotated[str | None, typer.Argument(help="Which study; all are listed without it.")] = None,
    preset: options.Preset = "laptop",
    settings: options.Set = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="0,1,2", help="Run it with each of these seeds.", show_default="the preset's")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Stages at a time.")] = 1,
    store: options.StoreRoot = None,
    output: Annotated[
        Path,
        options.written("Folder for the tables and the plot.", "--output", "-o"),
    ] = Path("studies"),
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 1 where the .md is not what the .csv beside it gives.")
    ] = False,
    devices: options.Devices = 1,
    accelerator: options.Accelerator = "auto",
) -> None:
    """Run a study, of the paper or ours, which gives a table (CSV, markdown) and a plot (SVG, PNG)."""
    from bench.paper.studies.study import find, studies

    if check:
        chosen = {
            "--set": settings,
            "--seeds": seeds,
            "--devices": devices != 1,
            "--accelerator": accelerator != "auto",
        }
        _check(name, preset, output, [option for option, value in chosen.items() if value])
    elif name is None:
        for each in studies():
            line = f"  [cyan]{each.name}[/]  {escape(each.about)} [dim]({each.figure or 'ours'})[/]"
            common.out.print(line, **common.PLAIN)
    else:
        from bench.matrix.cell import RunContext
        from bench.paper.studies.runs import StudyRuns
        from bench.pipeline.stage import Machine
        from bench.store import check_can_write

        found, wanted = find(name), options.parse_seeds(seeds)
        check_can_write(output / "table")
        common.show_log()
        context = RunContext(common.open_store(store), Machine(accelerator=accelerator, devices=devices))
        _make(StudyRuns(found, context, preset, settings or (), wanted), jobs, output)


def _make(runs: StudyRuns, jobs: int, output: Path) -> None:
    """Make the runs that are not in the store, then the files. A study that is stopped leaves the tables it has."""
    from bench.matrix.run import run_cells
    from bench.paper.studies.plot import draw
    from bench.store import write_bytes

    common.warn_of_skipped(runs.dataset)
    _announce(runs)
    files = {kind: output / f"{runs.study.name}-{runs.preset}.{kind}" for kind in ("md", "csv", "svg", "png")}
    failures: dict[Cell, str] = {}
    try:
        result = run_cells(runs.context, runs.cells, jobs=jobs, needed=runs.study.needed, console=common.out)
        failures = {cell: fault.message for cell, fault in result.failures.items()}
    finally:
        table = _write_tables(runs, failures, files)
    if table is None or (table["status"] != "").all():
        reason = "" if table is None else table["status"].iloc[0]
        raise BenchError(f"no run of study {runs.study.name!r} came to an end; {reason}")
    for kind, data in draw(runs.study, table).items():
        write_bytes(files[kind], data)
    common.say("\n".join(["", *map(str, files.values())]))


def _announce(runs: StudyRuns) -> None:
    """What will be done, and about how long it takes."""
    import pandas as pd

    from bench.estimate.estimate import duration
    from bench.paper.studies.table import caveat, setting_words

    table = pd.DataFrame([run.facts for run in runs.runs])
    title = f"[bold]{escape(runs.study.title)}[/] ({runs.study.figure or 'ours'})"
    common.out.print(f"{title}: {escape(setting_words(table))}", soft_wrap=True)
    if caveat(table):
        common.say(f"This is {caveat(table)}.")
    for run in runs.runs:
        if run.skipped:
            what = ", ".join(str(run.facts[name]) for name in ("line", "step") if run.facts[name])
            common.out.print(f"skipped: {escape(what)}: {escape(run.skipped)}", style="yellow", **common.PLAIN)
    stages, seconds = runs.left_to_do()
    if stages:
        how = f"Stages to be made for them: {stages}, about {duration(seconds)} on this machine as it is now."
    else:
        how = "Everything is in the store: nothing will be computed."
    common.say(f"Runs: {len(runs.cells)}. {how}")


def _write_tables(runs: StudyRuns, failures: Mapping[Cell, str], files: Mapping[str, Path]) -> pd.DataFrame | None:
    """Write and return what there is; None where no run has come to an end yet."""
    from bench.paper.studies.table import read_csv, to_markdown
    from bench.store import write_bytes

    text = runs.to_csv(failures)
    if text.count("\n") < 2:
        return None
    table = read_csv(text)
    write_bytes(files["csv"], text.encode())
    write_bytes(files["md"], to_markdown(runs.study, table, len(runs.runs) - len(table)).encode())
    return table


def _check(name: str | None, preset: str, output: Path, given: list[str]) -> None:
    """Whether NAME-PRESET.md is what NAME-PRESET.csv gives; if not, prints the difference and exits with 1.

    given: options that mean something to a run alone. Nothing is run or written.
    """
    import difflib

    from bench.config.config import load_config
    from bench.paper.studies.study import find
    from bench.paper.studies.table import read_csv, to_markdown
    from bench.plugins.manager import Plugins

    if not name:
        raise BenchError("--check compares the files of one study: name it, as in `bench study masks --check`")
    if given:
        raise BenchError(f"--check runs nothing, and the CSV says what was run: leave out {' and '.join(given)}")
    found, stem = find(name), f"{name}-{load_config(Plugins.load(), preset).preset}"
    try:
        text, page = ((output / f"{stem}.{kind}").read_text(encoding="utf-8") for kind in ("csv", "md"))
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{error}: --check compares the .csv and the .md that `bench study` wrote") from error
    try:
        wanted = to_markdown(found, read_csv(text))
    except BenchError as error:
        raise BenchError(f"{output / stem}.csv: {error}") from error
    if page != wanted:
        difference = difflib.unified_diff(page.splitlines(), wanted.splitlines(), f"{stem}.md", "expected", "", "", 0)
        common.warn("\n".join(line.rstrip("\n") for line in difference))
        raise typer.Exit(1)
