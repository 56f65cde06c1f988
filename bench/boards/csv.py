"""All tables in one CSV: a row per line, every number unrounded, every k."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from bench.records.redact import csv_cell

from .judged import JudgedBoard
from .lines import BoardLine
from .ranks import FULL_RANK, ranks
from .row import Group
from .rows import COST, FOUND, LOST, PLACED, RATES, SECONDS
from .tables import Leaderboard

NOTE = "note"
RANKED = ("detection_rank", "full_rank")


def flat(tables: Sequence[Leaderboard]) -> str:
    """Columns: those of Group, defense, kind, settings, status, seeds (how many), seed_list, full_seeds (those of runs
    to the end), detection_rank, full_rank, "<metric>" (mean) and "<metric> half" (half the width of its 95 %
    interval), records, note. Empty: undefined."""
    metrics = [*RATES, LOST, *FOUND, *_placed(tables), *_judged(tables), COST, SECONDS]
    both = [column for name in metrics for column in (name, f"{name} half")]
    facts = ["defense", "kind", "settings", "status", "seeds", "seed_list", "full_seeds", *RANKED]
    file = io.StringIO()
    writer = csv.DictWriter(file, [*Group._fields, *facts, *both, "records", NOTE], lineterminator="\n")
    writer.writeheader()
    for table in tables:
        places = dict(zip(RANKED, (table.detection_ranks(), ranks(table.lines, FULL_RANK)), strict=True))
        for line in table.lines:
            ranked = {column: str(found.get(line, "")) for column, found in places.items()}
            writer.writerow({**_group(table, line), **_facts(line), **ranked, **_numbers(line, metrics)})
    return file.getvalue()


def _placed(tables: Sequence[Leaderboard]) -> list[str]:
    found = {name for table in tables for line in table.lines for name in line.mean if name[0].isdigit()}
    ks = sorted({int(name.partition(".")[0]) for name in found})
    return [f"{k}.{name}" for k in ks for name in PLACED.values()]


def _judged(tables: Sequence[Leaderboard]) -> list[str]:
    """The columns of detectors and encoder tests, where there are any."""
    return list(dict.fromkeys(name for table in tables if isinstance(table, JudgedBoard) for name in table.columns))


def _group(table: Leaderboard, line: BoardLine) -> dict[str, str]:
    if table.group is None:
        return {NOTE: csv_cell(f"{table.title}. {table.note}")}
    return {name: csv_cell(str(value)) for name, value in (line.group or table.group)._asdict().items()}


def _facts(line: BoardLine) -> dict[str, str]:
    seeds = " ".join(str(result.seed) for result in line.results if result.seed is not None)
    full = " ".join(str(result.seed) for result in line.results_for(RATES) if result.seed is not None)
    sources = sorted({result.source for result in line.results if result.source})
    return {
        "defense": csv_cell(line.defense),
        "kind": line.kind,
        "settings": csv_cell(line.settings),
        "status": line.status,
        "seeds": str(line.seeds or ""),
        "seed_list": seeds,
        "full_seeds": full,
        "records": csv_cell(" ".join(sources)),
    }


def _numbers(line: BoardLine, metrics: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in metrics:
        pair = zip((name, f"{name} half"), line.number(name), strict=True)
        found |= {column: "" if math.isnan(value) else repr(float(value)) for column, value in pair}
    return found
