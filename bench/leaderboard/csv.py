"""All tables in one CSV: a row per line, every number unrounded, every k."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from .escaping import csv_cell
from .rows import FOUND, GAP, PLACED, RATES, SECONDS, Group
from .tables import BoardLine, Leaderboard

NOTE = "note"


def flat(tables: Sequence[Leaderboard]) -> str:
    """Columns: those of Group, defense, control, settings, status, seeds (how many), seed_list, "<metric>" (mean) and
    "<metric> sd", records, note. Empty: undefined."""
    metrics = [*RATES, GAP, *FOUND, *_placed(tables), SECONDS]
    both = [column for name in metrics for column in (name, f"{name} sd")]
    facts = ["defense", "control", "settings", "status", "seeds", "seed_list"]
    file = io.StringIO()
    writer = csv.DictWriter(file, [*Group._fields, *facts, *both, "records", NOTE], lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for line in table.lines:
            writer.writerow({**_group(table), **_facts(line), **_numbers(line, metrics)})
    return file.getvalue()


def _placed(tables: Sequence[Leaderboard]) -> list[str]:
    found = {name for table in tables for line in table.lines for name in line.mean if name[0].isdigit()}
    ks = sorted({int(name.partition(".")[0]) for name in found})
    return [f"{k}.{name}" for k in ks for name in PLACED.values()]


def _group(table: Leaderboard) -> dict[str, str]:
    if table.group is None:
        return {NOTE: csv_cell(f"{table.title}. {table.note}")}
    return {name: csv_cell(str(value)) for name, value in table.group._asdict().items()}


def _facts(line: BoardLine) -> dict[str, str]:
    seeds = sorted({result.seed for result in line.results if result.seed is not None})
    sources = sorted({result.source for result in line.results if result.source})
    return {
        "defense": csv_cell(line.defense),
        "control": str(line.control).lower(),
        "settings": csv_cell(line.settings),
        "status": line.status,
        "seeds": str(line.seeds or ""),
        "seed_list": " ".join(map(str, seeds)),
        "records": csv_cell(" ".join(sources)),
    }


def _numbers(line: BoardLine, metrics: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in metrics:
        pair = zip((name, f"{name} sd"), line.number(name), strict=True)
        found |= {column: "" if math.isnan(value) else repr(float(value)) for column, value in pair}
    return found
