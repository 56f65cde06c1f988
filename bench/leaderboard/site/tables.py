"""What the index page shows: tables with a number for each line, and their plots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.leaderboard import NONE, BoardLine, Leaderboard
from bench.leaderboard.escaping import url
from bench.leaderboard.markdown import WORDS
from bench.leaderboard.tables import REPORTED
from bench.records.record import MEASURED, SUBMITTED
from bench.records.redact import one_line

from .plots import Scatter, scatter

KINDS = {
    MEASURED: "measured",
    SUBMITTED: "submitted",
    REPORTED: "paper-reported",
    "control": "controls",
}
"""What can be hidden -> its words."""


@dataclass(frozen=True, kw_only=True)
class SiteRow:
    """A line of a table as the page shows it, its texts plain.

    number: its place, which the plots show. table: the anchor of its table. group: what its table holds, for the
    filter.
    """

    number: int
    table: str
    group: str
    line: BoardLine

    @property
    def anchor(self) -> str:
        """Its address in the page."""
        return f"{self.table}-{self.number}"

    @property
    def name(self) -> str:
        return one_line(self.line.defense) or "(no name)"

    @property
    def settings(self) -> str:
        return one_line(self.line.settings)

    @property
    def seeds(self) -> str:
        return str(self.line.seeds or "not known")

    @property
    def links(self) -> list[tuple[str, str]]:
        """(words, address) of each record."""
        results = [result for result in self.line.results if result.source]
        return [("source" if each.seed is None else str(each.seed), url(each.source)) for each in results]

    @property
    def find(self) -> str:
        """What the filter looks in, small letters."""
        return one_line(f"{self.line.label} {self.line.status} {self.group}").lower()

    @property
    def kind(self) -> str:
        """One of KINDS."""
        return "control" if self.line.control else self.line.status

    @property
    def mark(self) -> str:
        """How the plots draw it: "none", or its kind."""
        return NONE if self.name == NONE else self.kind

    def value(self, name: str) -> float | str:
        """What a column is sorted by: the number of that name, "" where it is undefined."""
        value, _ = self.line.number(name)
        return "" if math.isnan(value) else float(value)


def board_values(tables: Sequence[Leaderboard]) -> dict[str, Any]:
    """What templates/board.html is rendered with."""
    sections = [_section(number, table) for number, table in enumerate(tables, 1)]
    kinds = {row.kind for section in sections for row in section["rows"]}
    return {
        "sections": sections,
        "kinds": {kind: words for kind, words in KINDS.items() if kind in kinds},
        "words": WORDS,
        "lines": sum(len(section["rows"]) for section in sections),
    }


def _section(number: int, table: Leaderboard) -> dict[str, Any]:
    group = " ".join(map(str, table.group or (table.title,)))
    rows = [
        SiteRow(number=place, table=f"t{number}", group=group, line=line) for place, line in enumerate(table.lines, 1)
    ]
    parts = [(part.title, part.columns, [row for row in rows if row.line in part.lines]) for part in table.parts()]
    return {
        "anchor": f"t{number}",
        "title": one_line(table.title),
        "note": one_line(table.note),
        "rows": rows,
        "parts": parts,
        "plots": _plots(table, rows),
    }


def _plots(table: Leaderboard, rows: Sequence[SiteRow]) -> list[Scatter]:
    """Accuracy over attack success, and precision over recall of those that remove images, where there are two."""
    removing = [row for row in rows if row.line.mean.get("removed", 0) > 0 or table.group is None]
    made = [
        scatter("encoders", rows, x="ASR triggered", y="ACC"),
        scatter("detectors", removing, x="recall", y="precision"),
    ]
    return [plot for plot in made if len(plot.points) > 1]
