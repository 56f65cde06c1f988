"""What the index page shows: tables with a number for each line, and their plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.leaderboard import NONE, BoardLine, Leaderboard
from bench.leaderboard.escaping import plain, url
from bench.leaderboard.markdown import WORDS
from bench.leaderboard.rows import RATES, UNDEFINED
from bench.leaderboard.tables import REPORTED, filled
from bench.records.record import MEASURED, SUBMITTED, Record

from .plots import Plot, scatter
from .runs import title_of

KINDS = {
    MEASURED: "measured",
    SUBMITTED: "submitted",
    REPORTED: "paper-reported",
    "control": "controls",
}
"""What can be hidden -> its words."""
_TARGET, _FOUND = {"x": "ASR triggered", "y": "ACC"}, {"x": "recall", "y": "precision"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A number as it is shown, and as it is sorted (None: undefined)."""

    text: str
    value: float | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of a table, its texts plain. number: its place, which the plots show; anchor: its address in the page.

    links: (words, address) of each record. find: what the filter looks in, small letters. kind: of KINDS.
    """

    number: int
    anchor: str
    name: str
    settings: str
    status: str
    control: bool
    seeds: str
    links: tuple[tuple[str, str], ...]
    find: str
    kind: str
    cells: dict[str, Cell]

    @property
    def mark(self) -> str:
        """How the plots draw it: "none", or its kind."""
        return NONE if self.name == NONE else self.kind


def board_values(tables: Sequence[Leaderboard], runs: Mapping[str, Record]) -> dict[str, Any]:
    """What templates/board.html is rendered with. runs: the records by the address of their page."""
    sections = [_section(number, table, runs) for number, table in enumerate(tables, 1)]
    kinds = {row.kind for section in sections for row in section["rows"]}
    return {
        "sections": sections,
        "kinds": {kind: words for kind, words in KINDS.items() if kind in kinds},
        "words": {word.strip(): meaning for word, meaning in WORDS.items()},
        "lines": sum(len(section["rows"]) for section in sections),
        "runs": {url(href): title_of(run) for href, run in runs.items()},
    }


def _section(number: int, table: Leaderboard, runs: Mapping[str, Record]) -> dict[str, Any]:
    rows = [_row(f"t{number}", place, line, table) for place, line in enumerate(table.lines, 1)]
    shown = {name: name for name in RATES} | filled(table.lines, table.rates)
    rates = {title: name for title, name in table.rates.items() if title in shown}
    found = filled(table.lines, table.found)
    return {
        "anchor": f"t{number}",
        "title": plain(table.title),
        "note": plain(table.note),
        "rows": rows,
        "rates": rates,
        "found": found,
        "searching": [row for row in rows if any(row.cells[name].value is not None for name in found.values())],
        "plots": _plots(table, rows, runs),
    }


def _row(table: str, number: int, line: BoardLine, of: Leaderboard) -> Row:
    group = of.group._asdict().values() if of.group else (of.title,)
    kind = "control" if line.control else line.status
    texts = [line.label, line.status, *map(str, group)]
    return Row(
        number=number,
        anchor=f"{table}-{number}",
        name=plain(line.defense) or "(no name)",
        settings=plain(line.settings),
        status=line.status,
        control=line.control,
        seeds=str(line.seeds or "not told"),
        links=tuple((_words(result.seed), url(result.source)) for result in line.results if result.source),
        find=plain(" ".join(texts)).lower(),
        kind=kind,
        cells={name: _cell(line, name) for name in (*of.rates.values(), *of.found.values())},
    )


def _words(seed: int | None) -> str:
    return "source" if seed is None else str(seed)


def _cell(line: BoardLine, name: str) -> Cell:
    value, text = line.mean.get(name, math.nan), line.cell(name)
    return Cell(text=text, value=None if text == UNDEFINED else float(value))


# --- plots ----------------------------------------------------------------------------------------


def _plots(table: Leaderboard, rows: Sequence[Row], runs: Mapping[str, Record]) -> list[Plot]:
    """Accuracy over attack success, and precision over recall of those that remove images, where two can be told."""
    pairs = list(zip(rows, table.lines, strict=True))
    removing = [(row, line) for row, line in pairs if line.mean.get("removed", 0) > 0 or table.group is None]
    made = [
        scatter("encoders", pairs, runs, **_TARGET),
        scatter("detectors", removing, runs, **_FOUND),
    ]
    return [plot for plot in made if len(plot.points) > 1]
