"""Numbers that a paper prints, from a CSV: a table of their own, never beside what was measured.

Columns: paper, table, dataset, attack, setting (which of its attacks), note (what the numbers are of), defense,
split (clean, poisoned, train), metric, value.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.store import read_text

from .lines import BoardLine, SeedResult
from .rows import CONTROL, DEFENSE, FOUND, NONE, RATES
from .tables import REPORTED, K, Leaderboard

COLUMNS = ("paper", "table", "dataset", "attack", "setting", "note", "defense", "split", "metric", "value")
_APART = "Not measured here; other images, triggers and seeds than in the tables above."
_NAMES = {key: name for name, key in RATES.items()} | {("train", key): name for name, key in FOUND.items()}


def reported(path: Path, source: str) -> list[Leaderboard]:
    """The tables of a CSV, one for each paper, dataset, attack, setting and note. Raises BenchError naming the line."""
    grouped: dict[tuple[str, ...], dict[str, dict[str, float]]] = {}
    tables: dict[tuple[str, ...], list[str]] = {}
    for number, row in enumerate(_rows(path), 2):
        name, value = _value(row, f"{path}, line {number}")
        key = tuple(row[column] for column in ("attack", "dataset", "setting", "paper", "note"))
        grouped.setdefault(key, {}).setdefault(row["defense"], {})[name] = value
        if row["table"] not in tables.setdefault(key, []):
            tables[key].append(row["table"])
    return [_table(key, lines, tables[key], source) for key, lines in grouped.items()]


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"cannot read {path}: {error}") from error
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise BenchError(f"{path}, line {reader.line_num}: {error}") from error
    if tuple(reader.fieldnames or ()) != COLUMNS or any(None in (*row, *row.values()) for row in rows):
        raise BenchError(f"{path} is no table of reported numbers; expected the columns {', '.join(COLUMNS)}")
    return rows


def _value(row: Mapping[str, str], place: str) -> tuple[str, float]:
    name = _NAMES.get((row["split"], row["metric"]))
    if name is None:
        known = ", ".join("/".join(key) for key in _NAMES)
        raise BenchError(f"{place}: {row['split']}/{row['metric']} is no metric of a table. Known: {known}.")
    try:
        value = float(row["value"])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BenchError(f"{place}: the value is {row['value']!r}; expected a number")
    return name, value


def _table(
    key: tuple[str, ...], lines: Mapping[str, Mapping[str, float]], tables: list[str], source: str
) -> Leaderboard:
    attack, dataset, setting, paper, note = key
    about: dict[str, Any] = {"status": REPORTED, "results": (SeedResult(None, source),)}
    kinds = {NONE: CONTROL}
    found = [BoardLine(defense=name, kind=kinds.get(name, DEFENSE), mean=mean, **about) for name, mean in lines.items()]
    return Leaderboard(
        title=f"{attack} on {dataset}, {setting}, as the {paper} reports it",
        note=f"{' and '.join(tables)}, {note}. {_APART}",
        group=None,
        k=K,
        lines=tuple(sorted(found, key=lambda line: line.kind == CONTROL)),
    )
