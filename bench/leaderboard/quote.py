"""What a mark in a page says -> the number, or the small table, that stands there (docs/pages.md has the grammar)."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from tabulate import tabulate

from bench.errors import BenchError, nearest

from .escaping import escape
from .measured import is_number, measured, read_grid
from .rows import PLACED, UNDEFINED
from .sample import Form, Sample, difference, form_of, of_line, of_values, shown
from .tables import BoardLine, Leaderboard, hours

FILE, WHERE, MINUS, ALL = "file ", "where ", " minus ", "all"
_SEEDS, HOURS = "seeds", "hours"
_AROUND = "(),"  # words of a title
_OF_TABLE = ("fingerprint", "metric_version")


def number(expression: str, tables: Sequence[Leaderboard], folder: Path) -> str:
    """The text of "TABLE; DEFENSE; COLUMN; FORM", of "file PATH; KEY; FORM", or of two of these with " minus " between
    them. folder: what PATH is relative to. Raises BenchError where nothing is selected, or more than one thing."""
    parts = expression.split(MINUS)
    if len(parts) > 2:
        raise BenchError(f"a difference has two sides; got {len(parts)}")
    sides = [_side(part, tables, folder) for part in parts]
    return shown(*sides[0]) if len(sides) == 1 else difference(*sides[0], *sides[1])


def table(expression: str, tables: Sequence[Leaderboard], folder: Path) -> str:
    """Markdown of "TABLE; DEFENSE, DEFENSE (or all); COLUMN, COLUMN; FORM", or of
    "file PATH; COLUMN, COLUMN (or all); ROWS". Raises BenchError."""
    if expression.startswith(FILE):
        path, wanted, *rows = _parts(expression.removeprefix(FILE), "PATH; COLUMN, COLUMN")
        return _of_file(folder / path, wanted, rows)
    which, defenses, columns, *form = _parts(expression, "TABLE; DEFENSE, DEFENSE; COLUMN, COLUMN")
    found, lines = _lines(which, tables)
    if defenses != ALL:
        lines = [_line(found, lines, name.strip()) for name in defenses.split(",")]
    names, how = [name.strip() for name in columns.split(",")], form_of(form)
    body = [[escape(line.label), *(_cell(found, line, name, how) for name in names)] for line in lines]
    align = ("left", *["right"] * len(names))
    return str(tabulate(body, ["defense", *names], tablefmt="pipe", disable_numparse=True, colalign=align))


def _of_file(path: Path, wanted: str, patterns: Sequence[str]) -> str:
    """The cells of a CSV as they are written; patterns: of the first cells of the rows, none for all rows."""
    grid = read_grid(path)
    names = grid.columns if wanted == ALL else [name.strip() for name in wanted.split(",")]
    places = [grid.place(name) for name in names]
    rows = [row for row in grid.rows if any(fnmatchcase(row[0], pattern) for pattern in patterns or ["*"])]
    if not rows:
        raise BenchError(f"{path}: no row {' or '.join(patterns)!r}" if grid.rows else f"{path} holds no row")
    body = [[row[place] for place in places] for row in rows]
    align = ["right" if all(is_number(cell) for cell in cells if cell) else "left" for cells in zip(*body, strict=True)]
    cells = [[escape(cell) if cell.strip() else "" for cell in row] for row in body]
    heads = [escape(name) for name in names]
    return str(tabulate(cells, heads, tablefmt="pipe", disable_numparse=True, colalign=align))


def _parts(expression: str, expected: str) -> list[str]:
    parts = [part.strip() for part in expression.split(";")]
    if len(parts) < expected.count(";") + 1:
        raise BenchError(f"expected {expected!r}")
    return parts


def _side(expression: str, tables: Sequence[Leaderboard], folder: Path) -> tuple[Sample, Form]:
    expression = expression.strip()
    if expression.startswith(FILE):
        path, key, *form = _parts(expression.removeprefix(FILE), "PATH; KEY")
        if not key.startswith(WHERE):
            return measured(folder / path, key), form_of(form)
        path, where, key, *form = _parts(expression.removeprefix(FILE), "PATH; where COLUMN=CELL; KEY")
        return measured(folder / path, key, where.removeprefix(WHERE)), form_of(form)
    which, defense, column, *form = _parts(expression, "TABLE; DEFENSE; COLUMN")
    if (defense, column) == (ALL, HOURS):
        return of_values({None: hours(_of_all(which, tables))}), form_of(form)
    found, lines = _lines(which, tables)
    line = _line(found, lines, defense)
    sample = _sample(found, line, column)
    if sample is None:
        there = [name for name in _columns(found) if _sample(found, line, name) is not None]
        raise BenchError(f"{line.label!r} has no {column!r} in {found.title!r}; it has {', '.join(there)}")
    return sample, form_of(form)


# --- one table, one line, one column ----------------------------------------------------------------------


def _lines(text: str, tables: Sequence[Leaderboard]) -> tuple[Leaderboard, list[BoardLine]]:
    """The one table that has all words in its title, and its lines that meet all conditions "name=value"."""
    words, conditions = _said(text)
    titled = [table for table in tables if words <= _words(table)]
    if not titled:
        raise BenchError(f"no table has all of {text!r} in its title.{_nearest_word(words, tables)} {_there(tables)}")
    fits = {place: _meeting(table, conditions) for place, table in enumerate(titled)}
    kept = [place for place, lines in fits.items() if lines]
    if not kept:
        raise BenchError(f"no line of {_titles(titled)} meets {text!r}.{_known(titled, conditions)}")
    if len(kept) > 1:
        raise BenchError(f"{text!r} is more than one table: {_titles([titled[place] for place in kept])}")
    return titled[kept[0]], fits[kept[0]]


def _of_all(text: str, tables: Sequence[Leaderboard]) -> list[BoardLine]:
    """The measured lines of every table that has all words in its title and meets all conditions; "all": of all."""
    words, conditions = _said(text)
    found = [line for table in tables if words - {ALL} <= _words(table) for line in _meeting(table, conditions)]
    if not any(line.stages for line in found):
        raise BenchError(f"no table with measured rows has all of {text!r} in its title. {_there(tables)}")
    return found


def _words(table: Leaderboard) -> set[str]:
    return {word.strip(_AROUND) for word in table.title.lower().split()}


def _nearest_word(words: set[str], tables: Sequence[Leaderboard]) -> str:
    """What may have been meant by a word that no title has."""
    known: set[str] = set().union(*map(_words, tables))
    close = [nearest(word, known) for word in sorted(words - known)]
    return next((hint for hint in close if hint.startswith(" Did")), "")


def _said(text: str) -> tuple[set[str], dict[str, str]]:
    """The words of a title, small, and the conditions."""
    try:
        said = [word.strip(_AROUND) for word in shlex.split(text)]
    except ValueError as error:
        raise BenchError(f"{text!r} cannot be read: {error}") from error
    if not said:
        raise BenchError("which table? Put words of its title first")
    pairs = [word.partition("=") for word in said if "=" in word]
    return {word.lower() for word in said if "=" not in word}, {name: value for name, _, value in pairs}


def _meeting(table: Leaderboard, conditions: Mapping[str, str]) -> list[BoardLine]:
    facts = {} if table.group is None else table.group._asdict()
    for name in _OF_TABLE:
        if name in conditions and not str(facts.get(name, "")).startswith(conditions[name]):
            return []
    asked = {name: value for name, value in conditions.items() if name not in _OF_TABLE}
    return [line for line in table.lines if asked.items() <= {**line.config, "status": line.status}.items()]


def _known(tables: Sequence[Leaderboard], conditions: Mapping[str, str]) -> str:
    """What can be said of the first condition that no line meets."""
    facts = [{**line.config, "status": line.status} for table in tables for line in table.lines]
    for name, value in conditions.items():
        if name not in _OF_TABLE:
            values = {each[name] for each in facts if name in each}
            if not values:
                return nearest(name, [*_OF_TABLE, *(key for each in facts for key in each)])
            if value not in values:
                return f" {name} is {' or '.join(sorted(values))}."
    prints = {
        f"{table.group.fingerprint[:12]} (metric version {table.group.metric_version})"
        for table in tables
        if table.group
    }
    return f" Fingerprints: {', '.join(sorted(prints))}." if prints else ""


def _there(tables: Sequence[Leaderboard]) -> str:
    return f"There are {_titles(tables)}." if tables else "There is no table."


def _titles(tables: Sequence[Leaderboard]) -> str:
    return ", ".join(f"{table.title!r}{_print(table)}" for table in tables)


def _print(table: Leaderboard) -> str:
    return f" (fingerprint={table.group.fingerprint[:12]})" if table.group else ""


def _line(table: Leaderboard, lines: Sequence[BoardLine], defense: str) -> BoardLine:
    named = [line for line in lines if line.defense == defense]
    if not named:
        raise BenchError(f"no line {defense!r} in {table.title!r}.{nearest(defense, {line.defense for line in lines})}")
    if len(named) > 1:
        labels = ", ".join(f"{line.label} [status={line.status}]" for line in named)
        raise BenchError(
            f"{defense!r} is more than one line of {table.title!r}: {labels}. Put a setting, as name=value, behind the "
            "words of the table"
        )
    return named[0]


def _columns(table: Leaderboard) -> dict[str, str]:
    """Every column that a line of the table can have: title -> name in `BoardLine.mean`."""
    titles = {name: title for title, name in PLACED.items()}
    found = {_SEEDS: _SEEDS}
    for name in dict.fromkeys(name for line in table.lines for name in line.mean):
        k, _, measure = name.partition(".")
        found[titles[measure].format(k=k) if k.isdecimal() else name] = name
    return found


def _sample(table: Leaderboard, line: BoardLine, title: str) -> Sample | None:
    """None where the number is undefined. Raises BenchError for a column that no line has."""
    columns = _columns(table)
    exact = {known.lower(): name for known, name in columns.items()}
    name = exact.get(title.lower())
    if name is None:
        raise BenchError(f"no column {title!r} in {table.title!r}.{nearest(title, columns)}")
    if name == _SEEDS:
        return of_values({None: line.seeds}) if line.seeds else None
    return None if math.isnan(line.mean.get(name, math.nan)) else of_line(line, name)


def _cell(table: Leaderboard, line: BoardLine, title: str, form: Form) -> str:
    sample = _sample(table, line, title)
    return UNDEFINED if sample is None else shown(sample, form)
