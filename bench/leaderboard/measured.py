"""Numbers of a file that some measurement left: JSON, or CSV whose first column names the rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import BenchError, nearest
from bench.store import read_json

from .sample import Sample, of_values

EVERY, SEED = "*", "seed"
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


class Grid(NamedTuple):
    """A CSV as it is written: names of the columns, and rows of as many cells."""

    path: Path
    columns: list[str]
    rows: list[list[str]]

    def place(self, column: str) -> int:
        """Where a column stands. Raises BenchError naming the file and the nearest column."""
        if column not in self.columns:
            raise BenchError(f"{self.path}: no column {column!r}.{nearest(column, self.columns)}")
        return self.columns.index(column)

    def values(self, row: Sequence[str]) -> dict[str, Any]:
        """A row by its columns: numbers where they are written as such."""
        return dict(zip(self.columns, map(_cell, row), strict=True))


def measured(path: Path, key: str, where: str = "") -> Sample:
    """The numbers at a dotted key: names, places in a list (from 0), and "*" for each of what is there ("a*": whose
    name begins with a); a list of numbers gives all of them. What is empty (null) counts for nothing among several.

    A CSV is read as {row: {column: number or text}}, a row by what its first column says where no two say the same,
    else by its place. where: "COLUMN=CELL and COLUMN=CELL" takes the rows of a CSV that say so, by their seeds where
    each has its own, and the key begins with the column. Raises BenchError naming the file and what there is.
    """
    if not key:
        raise BenchError(
            f"which number of {path.name}? Put its key behind the file, as in 'file {path.name}; found.recall'"
        )
    content = _chosen(path, where) if where else _content(path)
    values = dict(_at(content, f"{EVERY}.{key}" if where else key, "", str(path)))
    there = {name: value for name, value in values.items() if value is not None or len(values) == 1}
    found = {name: _number(value, f"{path}: {name}") for name, value in there.items()}
    if not found:
        raise BenchError(f"{path}: there is nothing at {key!r}")
    return of_values(found if len(found) > 1 else {None: next(iter(found.values()))})


def _content(path: Path) -> Any:
    if path.suffix not in (".json", ".csv"):
        raise BenchError(f"{path} cannot be quoted; expected a file that ends in .json or .csv")
    return read_json(path) if path.suffix == ".json" else _rows(path)


def _rows(path: Path) -> dict[str, dict[str, Any]] | list[dict[str, Any]]:
    grid = read_grid(path)
    named = {row[0]: grid.values(row) for row in grid.rows}
    return named if len(named) == len(grid.rows) else [grid.values(row) for row in grid.rows]


def _chosen(path: Path, where: str) -> dict[str, dict[str, Any]]:
    """The rows of a CSV that meet all conditions."""
    if path.suffix != ".csv":
        raise BenchError(f"{path}: rows can be chosen (where ...) of a .csv only")
    grid = read_grid(path)
    rows = grid.rows
    for condition in where.split(" and "):
        column, _, cell = (part.strip() for part in condition.partition("="))
        place = grid.place(column)
        there, rows = {row[place] for row in rows}, [row for row in rows if row[place] == cell]
        if not rows:
            raise BenchError(f"{path}: no row has {condition.strip()!r}; there is {' or '.join(sorted(there))}")
    seeds = [row[grid.place(SEED)] for row in rows] if SEED in grid.columns else []
    names = seeds if all(seeds) and len(set(seeds)) == len(rows) else list(map(str, range(len(rows))))
    return {name: grid.values(row) for name, row in zip(names, rows, strict=True)}


def read_grid(path: Path) -> Grid:
    """A CSV file. Raises BenchError for one that cannot be read, or whose rows differ in length."""
    try:
        lines = [row for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8")), strict=True) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BenchError(f"cannot read {path} as CSV: {error}") from error
    columns, rows = (lines[0], lines[1:]) if lines else ([], [])
    for row in rows:
        if len(row) != len(columns):
            raise BenchError(f"{path}: {','.join(row)[:60]!r} has {len(row)} cells; expected {len(columns)}")
    return Grid(path, columns, rows)


def is_number(text: str) -> bool:
    """Whether a cell is written as a number."""
    return bool(_NUMBER.fullmatch(text.strip()))


def _cell(text: str) -> int | float | str | None:
    """A number where it is written as one; None where nothing is written."""
    if not is_number(text):
        return text or None
    return int(text) if text.strip().lstrip("+-").isdecimal() else float(text)


def _at(value: Any, key: str, so_far: str, file: str) -> Iterator[tuple[str, Any]]:
    """(key, value) of everything that the rest of the key names."""
    if not key:
        yield from _leaves(value, so_far)
        return
    items = _items(value)
    pattern, _, rest = key.partition(".")
    several = [name for name in items if EVERY in pattern and fnmatchcase(name, pattern)]
    if several or pattern == EVERY:
        for name in several:
            yield from _at(items[name], rest, f"{so_far}{name}.", file)
        return
    fits = [name for name in items if key == name or key.startswith(f"{name}.")]  # a name may have dots in it
    if not fits:
        place = f"at {so_far.rstrip('.')!r}" if so_far else "at its top"
        raise BenchError(f"{file}: no {key!r} {place}.{nearest(key.partition('.')[0], items)}")
    name = max(fits, key=len)
    yield from _at(items[name], key[len(name) + 1 :], f"{so_far}{name}.", file)


def _items(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    return {str(place): item for place, item in enumerate(value)} if _is_list(value) else {}


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if _is_list(value):
        yield from ((f"{name}{place}", item) for place, item in enumerate(value))
    else:
        yield name.rstrip("."), value


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _number(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BenchError(f"{place} is {str(value)[:60]!r}; expected a number")
    return value
