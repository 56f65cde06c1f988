"""`bench compare`: two lines of a leaderboard, and whether they can be told apart."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import BenchError

from . import common, options
from .leaderboard import files_in

if TYPE_CHECKING:
    from bench.boards.compare import Comparison


def compare(
    one: Annotated[str, typer.Argument(metavar="A", help="A line by its name in the table, as poisoncam.")],
    other: Annotated[
        str | None, typer.Argument(metavar="[B]", help="Another line.", show_default="each of the others")
    ] = None,
    records: Annotated[
        list[Path] | None, typer.Argument(help="Files of records, or folders of them.", show_default="the store's")
    ] = None,
    attack: Annotated[
        str, typer.Option(help="Of several tables that with this attack; all: over all attacks.", show_default="any")
    ] = "",
    dataset: Annotated[str, typer.Option(help="... with this dataset.", show_default="any")] = "",
    preset: Annotated[str, typer.Option(help="... with this preset.", show_default="any")] = "",
    ssl: Annotated[str, typer.Option(help="... with this SSL method.", show_default="any")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
    store: options.StoreRoot = None,
) -> None:
    """Compare two lines of one table, metric by metric: means, difference, interval, and whether they are told apart.

    Differences are of pairs: equal seeds on equal threat models. The intervals of all pairs of defenses of the
    table hold together with 95 % for each metric (Bonferroni), and so do those of every other two kinds of
    lines. What stands in B's place and is a file or a folder is a record.
    """
    from bench import boards
    from bench.boards.compare import chosen, comparisons
    from bench.session.frames import facts

    paths = list(records or ())
    if other is not None and Path(other).exists():
        paths, other = [Path(other), *paths], None
    if other == one:
        raise BenchError(f"{one} is compared with itself: name another line as B, or none for all the others")
    files = [file for file in files_in(paths or [common.open_store(store).root / "records"]) if file.suffix == ".json"]
    if not files:
        raise BenchError("there is no record yet. `bench run` makes one; or name record files or folders.")
    names = [one, *([other] if other else [])]
    table, lines = chosen(boards.read(files), names, attack=attack, dataset=dataset, preset=preset, ssl=ssl)
    others = lines[1:] or [line for line in table.lines if line is not lines[0]]
    found = [comparisons(table, lines[0], each) for each in others]
    if as_json:
        sys.stdout.write(json.dumps([facts(table.title, each) for part in found for each in part], indent=2) + "\n")
        return
    common.say(table.title)
    for part in found:
        _print(part)
    common.say(f"\n{common.LEGEND}")


def _print(part: Sequence[Comparison]) -> None:
    """The comparisons of two lines, as a table."""
    if not part:
        return
    common.say(f"\nA: {part[0].one.label}, B: {part[0].other.label}")
    rows = [(each.metric, *(f"{mean:.1f}" for mean in each.means), *_difference(each), each.verdict) for each in part]
    headings = ("metric", "A", "B", "A - B", "interval", "verdict")
    common.print_table(headings, rows, right=headings[1:5])


def _difference(each: Comparison) -> tuple[str, str]:
    found = each.difference
    if found is None:
        return "", ""
    mean, low, high = (f"{round(value, 1) + 0.0:+.1f}" for value in (found.mean, *found.interval))
    return mean, "" if found.half == 0 else f"{low} to {high}"
