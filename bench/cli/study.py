"""`bench study`: what it prints, and the files it writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from bench.errors import BenchError
from bench.leaderboard.marks import page_at
from bench.paper.studies.catalogue import STUDIES, find
from bench.store import write_bytes

from . import common, options

if TYPE_CHECKING:
    from bench.paper.studies.engine import Row
    from bench.paper.studies.plan import Cell, Plan
    from bench.paper.studies.study import Study
    from bench.plugins.manager import Plugins


def study(
    name: Annotated[str | None, typer.Argument(help="Which study; all are listed without it.")] = None,
    preset: options.Preset = "laptop",
    settings: options.Set = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="0,1,2", help="Run it with each of these seeds.", show_default="the preset's")
    ] = None,
    store: options.StoreRoot = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the tables and the plot.")] = Path(
        "studies"
    ),
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 1 where the .md is not what the .csv beside it gives.")
    ] = False,
    devices: options.Devices = 1,
    accelerator: options.Accelerator = "auto",
) -> None:
    """One of the paper's studies: its runs share what they can; a table (CSV, markdown) and a plot (SVG, PNG)."""
    if check:
        asked = {"--seeds": seeds, "--devices": devices != 1, "--accelerator": accelerator != "auto"}
        given = [option for option, value in asked.items() if value]
        if not check_command(name or "", preset=preset, settings=settings or (), output=output, given=given):
            raise typer.Exit(1)
        return
    if name is None:
        list_command()
        return
    study_command(
        name,
        preset=preset,
        settings=settings or (),
        seeds=seeds,
        store=store,
        output=output,
        devices=devices,
        accelerator=accelerator,
    )


def list_command() -> None:
    """`bench study` alone."""

    for study in STUDIES:
        line = f"  [cyan]{study.name}[/]  {escape(study.about)} [dim]({study.figure})[/]"
        common.out.print(line, highlight=False, soft_wrap=True)


def study_command(
    name: str,
    *,
    preset: str,
    settings: Sequence[str],
    seeds: str | None,
    store: Path | None,
    output: Path,
    devices: int,
    accelerator: str,
) -> None:
    """`bench study NAME`."""
    from bench.paper.studies.plan import Planner
    from bench.pipeline.stage import Machine
    from bench.plugins.manager import Plugins

    study, wanted = find(name), parse_seeds(seeds)
    common.show_log()
    plugins = Plugins.load()
    planner = Planner(
        plugins=plugins,
        store=common.open_store(store),
        machine=Machine(accelerator=accelerator, devices=devices),
        preset=preset,
        settings=settings,
        seeds=wanted,
    )
    plan = planner.plan(study)
    common.warn_of_skipped(plan.dataset)
    planner.store.check_writable()
    _announce(plan)
    rows = _run(plan, plugins, output)
    _finish(plan, rows, output)


def check_command(name: str, *, preset: str, settings: Sequence[str], output: Path, given: Sequence[str] = ()) -> bool:
    """`bench study NAME --check`: whether NAME-PRESET.md is what NAME-PRESET.csv gives; if not, says where.

    given: options that mean something to a run alone. Nothing is run or written. Raises BenchError, also for files that
    are not there, and for a CSV of another study.
    """
    if not name:
        raise BenchError("--check compares the files of one study: name it, as in `bench study masks --check`")

    study = find(name)
    if given:
        raise BenchError(f"--check runs nothing, and the CSV says which seeds: leave out {' and '.join(given)}")
    from bench.config.config import load_config
    from bench.paper.studies.report import difference
    from bench.plugins.manager import Plugins

    plugins = Plugins.load()
    stem = f"{name}-{load_config(plugins, preset).preset}"
    text, page = _text(output / f"{stem}.csv"), _text(output / f"{stem}.md")
    try:
        wrong = difference(page, _page_of(study, text, plugins, preset, settings))
    except BenchError as error:
        raise BenchError(f"{output / stem}.csv: {error}") from error
    if wrong:
        common.log_out.print(f"bench: {output / stem}.md, {wrong}", markup=False, highlight=False, soft_wrap=True)
    return not wrong


def _text(file: Path) -> str:

    text = page_at(file)
    if text is None:
        raise BenchError(f"{file} cannot be read: --check compares the .csv and the .md that `bench study` wrote")
    return text


def _page_of(study: Study, text: str, plugins: Plugins, preset: str, settings: Sequence[str]) -> str:
    """The page that the CSV `text` gives."""
    from bench.paper.studies.plan import Planner
    from bench.paper.studies.report import from_csv, seeds_of, to_markdown
    from bench.pipeline.stage import Machine

    planner = Planner(
        plugins=plugins,
        store=common.open_store(None),
        machine=Machine(accelerator="cpu"),
        preset=preset,
        settings=settings,
        seeds=seeds_of(text),
    )
    plan = planner.plan(study)
    return to_markdown(plan, from_csv(plan, text))


def parse_seeds(text: str | None) -> tuple[int, ...]:
    """'0,1,2' -> (0, 1, 2); None -> (). Raises BenchError for anything but different whole numbers, 0 or more."""
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise BenchError(f"--seeds {text!r} cannot be read. Expected whole numbers with commas, as in 0,1,2.")
    seeds = tuple(int(part) for part in parts)
    if len(set(seeds)) < len(seeds):
        raise BenchError(f"--seeds {text!r} names a seed twice: a repeated run says nothing new.")
    return seeds


def _announce(plan: Plan) -> None:
    """What will be done, and about how long it takes."""
    from bench.estimate.estimate import duration
    from bench.paper.studies.engine import forecast
    from bench.paper.studies.report import caveat, setting_words

    say = common.out.print
    say(f"[bold]{escape(plan.study.title)}[/] ({plan.study.figure}): {escape(setting_words(plan))}", soft_wrap=True)
    if caveat(plan):
        say(f"This is {caveat(plan)}.", highlight=False, soft_wrap=True)
    expected = forecast(plan)
    if not expected.stages:
        say("Everything is in the store: nothing will be computed.", highlight=False)
        return
    runs = sum(cell.pipeline is not None for cell in plan.cells)
    say(
        f"Runs: {runs}. Stages to be made for them: {expected.stages}, about {duration(expected.seconds)} on this "
        "machine as it is now, and what the defenses' own networks take.",
        highlight=False,
        soft_wrap=True,
    )


def _run(plan: Plan, plugins: Plugins, output: Path) -> list[Row]:
    """Every row; the tables are written after each, so that a study that is stopped leaves what it has."""
    from bench.paper.studies.engine import run
    from bench.pipeline.events import Terminal

    def tell(number: int, cell: Cell) -> None:
        what = f"[{number + 1}/{len(plan.cells)}] {cell.title}"
        common.out.print(what, markup=False, highlight=False, soft_wrap=True)

    rows: list[Row] = []
    with Terminal(common.out) as terminal:
        plugins.add(terminal)
        for row in run(plan, plugins.notify, tell):
            rows.append(row)
            if row.status:
                common.out.print(f"  {row.status}", style="yellow", markup=False, highlight=False, soft_wrap=True)
            _write_tables(plan, rows, output)
    return rows


def _write_tables(plan: Plan, rows: Sequence[Row], output: Path) -> None:
    from bench.paper.studies.report import to_csv, to_markdown

    write_bytes(_file(plan, output, "csv"), to_csv(plan, rows).encode())
    write_bytes(_file(plan, output, "md"), to_markdown(plan, rows).encode())


def _finish(plan: Plan, rows: Sequence[Row], output: Path) -> None:
    from bench.paper.studies.plot import draw

    if all(row.status for row in rows):
        raise BenchError(f"no run of study {plan.study.name!r} came to an end; {rows[0].status}")
    for kind, data in draw(plan, rows).items():
        write_bytes(_file(plan, output, kind), data)
    common.out.print("")
    for kind in ("md", "csv", "svg", "png"):
        common.out.print(str(_file(plan, output, kind)), markup=False, highlight=False, soft_wrap=True)


def _file(plan: Plan, output: Path, kind: str) -> Path:
    return output / f"{plan.study.name}-{plan.config.preset}.{kind}"
