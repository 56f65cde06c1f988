"""Which defense does best? Tables of records, one per data set, preset, SSL method, attack with its options, and metric
version, with one line per defense and status.

Records that differ in any of these never meet in a table. Those that differ in another setting (a `--set`)
meet in one table but never in one line: the line is named after what differs. Nothing here prints.

row.py, rows.py: records to rows; naming.py: what else than its defense a row is called; statistics.py: means,
differences and their intervals; ranks.py, best.py: which lines are told apart; lines.py, tables.py: rows to tables, in
numbers; judged.py: tables of detectors and encoder tests; overview.py: all attacks of a setting in one table;
attacks.py: what the attacks do without a defense; titles.py: what a table is of, in words; credits.py: where plugins
come from; compare.py: two lines of one table; reported.py: a paper's numbers as tables; one module per format
(markdown.py also puts tables into a page that somebody writes), words.py: what the columns mean; escaping.py: how each
format keeps a text a text; site/: all of it as pages.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bench.errors import BenchError, nearest
from bench.records import record
from bench.records.record import Record

from .csv import flat
from .escaping import escape
from .judged import judged
from .latex import latex
from .lines import BoardLine, SeedResult
from .markdown import details, markdown, short
from .naming import UNDEFINED, leaves
from .reported import reported
from .row import Group
from .rows import NONE, group_of, rows
from .tables import Leaderboard, of_defenses

__all__ = [
    "FORMATS",
    "NONE",
    "UNDEFINED",
    "Group",
    "BoardLine",
    "SeedResult",
    "Leaderboard",
    "details",
    "escape",
    "group_of",
    "leaves",
    "read",
    "renderer",
    "rows",
    "short",
    "tables",
]

Renderer = Callable[[Sequence[Leaderboard]], str]
FORMATS: dict[str, Renderer] = {"markdown": markdown, "csv": flat, "latex": latex}
"""Formats of one file."""


def renderer(name: str, also: Sequence[str] = ()) -> Renderer:
    """The format of that name. Raises BenchError, which may suggest one of `also` too."""
    if name not in FORMATS:
        raise BenchError(f"unknown format {name!r}.{nearest(name, [*FORMATS, *also])}")
    return FORMATS[name]


def tables(records: Iterable[Record], sources: Iterable[str] = (), files: Iterable[str] = ()) -> list[Leaderboard]:
    """Those of defenses (see of_defenses), then those of detectors and encoder tests. Raises BenchError."""
    found, where, named = list(records), list(sources), list(files)
    return [*of_defenses(found, where, named), *judged(found, where, named)]


def read(files: Sequence[Path], beside: Path | None = None) -> list[Leaderboard]:
    """The tables of record files (.json), then those of reported numbers (.csv). Raises BenchError naming a file that
    cannot be used.

    beside: the folder that the tables will lie in; links to the files are relative to it (None: no links).
    """
    printed = [file for file in files if file.suffix == ".csv"]
    runs = [file for file in files if file.suffix != ".csv"]
    found = tables([record.load(file) for file in runs], [_link(file, beside) for file in runs], map(str, runs))
    return found + [table for file in printed for table in reported(file, _link(file, beside))]


def _link(file: Path, beside: Path | None) -> str:
    if beside is None:
        return ""
    try:
        return Path(os.path.relpath(file, beside)).as_posix()
    except ValueError:  # on another drive
        return file.absolute().as_posix()
