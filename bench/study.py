"""`bench study`: what it prints, and the files it writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from . import commands
from .errors import BenchError
from .store import write_bytes
from .studies.catalogue import STUDIES, find

if TYPE_CHECKING:
    from .plugins.manager import Plugins
    from .studies.engine import Row
    from .studies.plan import Cell, Plan


def list_command() -> None:
    """`bench study` alone."""
    for study in STUDIES:
        line = f"  [cyan]{study.name}[/]  {escape(study.about)} [dim]({study.figure})[/]"
        commands.out.print(line, highlight=False, soft_wrap=True)


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
    study, wanted = find(name), parse_seeds(seeds)
    from .plugins.manager import Plugins
    from .stages import Machine
    from .studies.plan import Planner

    commands.show_log()
    plugins = Plugins.load()
    planner = Planner(
        plugins=plugins,
        store=commands.open_store(store),
        machine=Machine(accelerator=accelerator, devices=devices),
        preset=preset,
        settings=settings,
        seeds=wanted,
    )
    plan = planner.plan(study)
    commands.tell_skipped(plan.dataset)
    planner.store.check_writable()
    _announce(plan)
    rows = _run(plan, plugins, output)
    _finish(plan, rows, output)


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
    from .estimate import duration
    from .studies.engine import forecast
    from .studies.report import caveat, setting_words

    say = commands.out.print
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
    from .listen import Everyone, Terminal, Trackers
    from .studies.engine import run

    def tell(number: int, cell: Cell) -> None:
        what = f"[{number + 1}/{len(plan.cells)}] {cell.title}"
        commands.out.print(what, markup=False, highlight=False, soft_wrap=True)

    rows: list[Row] = []
    with Terminal(commands.out) as terminal:
        for row in run(plan, Everyone([terminal, Trackers(plugins)]), tell):
            rows.append(row)
            if row.status:
                commands.out.print(f"  {row.status}", style="yellow", markup=False, highlight=False, soft_wrap=True)
            _write_tables(plan, rows, output)
    return rows


def _write_tables(plan: Plan, rows: Sequence[Row], output: Path) -> None:
    from .studies.report import to_csv, to_markdown

    write_bytes(_file(plan, output, "csv"), to_csv(plan, rows).encode())
    write_bytes(_file(plan, output, "md"), to_markdown(plan, rows).encode())


def _finish(plan: Plan, rows: Sequence[Row], output: Path) -> None:
    from .studies.plot import draw

    if all(row.status for row in rows):
        raise BenchError(f"no run of study {plan.study.name!r} came to an end; {rows[0].status}")
    for kind, data in draw(plan, rows).items():
        write_bytes(_file(plan, output, kind), data)
    commands.out.print("")
    for kind in ("md", "csv", "svg", "png"):
        commands.out.print(str(_file(plan, output, kind)), markup=False, highlight=False, soft_wrap=True)


def _file(plan: Plan, output: Path, kind: str) -> Path:
    return output / f"{plan.study.name}-{plan.config.preset}.{kind}"
