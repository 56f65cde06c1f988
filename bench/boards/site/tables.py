"""What the index page shows: tables with a number for each line, and their plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.boards import Leaderboard
from bench.boards.markdown import WORDS
from bench.boards.rows import BASELINE, CONTROL
from bench.boards.tables import REPORTED
from bench.records.record import MEASURED, SUBMITTED
from bench.records.redact import one_line

from .plots import Scatter, scatter
from .row import SiteRow

KINDS = {
    MEASURED: "measured",
    SUBMITTED: "submitted",
    REPORTED: "paper-reported",
    BASELINE: "baselines",
    CONTROL: "controls",
}
"""What can be hidden -> its words."""


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
    by_line = {row.line: row for row in rows}
    parts = [(part, [[by_line[line] for line in lines] for lines in part.kinds()]) for part in table.parts()]
    return {
        "anchor": f"t{number}",
        "title": one_line(table.title),
        "note": one_line(table.note),
        "rows": rows,
        "parts": parts,
        "first": _first([[row for same in kinds for row in same] for _, kinds in parts]),
        "plots": _plots(table, rows),
    }


def _first(parts: Sequence[Sequence[SiteRow]]) -> list[list[SiteRow]]:
    """Of each part, the rows that no part before it has: these carry the line's address."""
    seen: set[int] = set()
    found = []
    for rows in parts:
        found.append([row for row in rows if row.number not in seen])
        seen.update(row.number for row in rows)
    return found


def _plots(table: Leaderboard, rows: Sequence[SiteRow]) -> list[Scatter]:
    """Accuracy over attack success, and precision over recall of those that remove images, where there are two."""
    removing = [row for row in rows if row.line.mean.get("removed", 0) > 0 or table.group is None]
    made = [
        scatter("encoders", rows, x="ASR triggered", y="ACC"),
        scatter("detectors", removing, x="recall", y="precision"),
    ]
    return [plot for plot in made if len(plot.points) > 1]
