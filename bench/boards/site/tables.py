"""What the index page shows: tables with a number for each line, and their plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.boards import BoardLine, Leaderboard, titles
from bench.boards.attacks import AttackBoard, attack_boards
from bench.boards.judged import JudgedBoard
from bench.boards.overview import Overview, overviews
from bench.boards.part import BoardPart
from bench.boards.rows import BASELINE, CONTROL
from bench.boards.tables import REPORTED, anchors
from bench.boards.words import MARKED, RULE, words_of
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
PAPERS = "As papers print them"


def board_values(tables: Sequence[Leaderboard]) -> dict[str, Any]:
    """What templates/board.html is rendered with."""
    tables = [*overviews(tables), *attack_boards(tables), *tables]
    addresses = anchors(tables)
    sections = [_section(anchor, table) for anchor, table in zip(addresses, tables, strict=True)]
    kinds = {row.kind for section in sections for row in section["rows"]}
    credits = [credit for table in tables for line in table.lines for credit in line.credits.values()]
    return {
        "sections": sections,
        "menu": _menu(sections),
        "kinds": {kind: words for kind, words in KINDS.items() if kind in kinds},
        "words": words_of(tables),
        "rule": RULE,
        "marked": MARKED,
        "lines": sum(len(section["rows"]) for section in sections),
        "papers": sorted({(credit.paper, credit.url) for credit in credits if credit.paper}),
    }


def _menu(sections: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The tables by the data that they are of: (words of the data, [(address, the rest of the title) ...])."""
    found: dict[str, list[tuple[str, str]]] = {}
    for section in sections:
        data, _, attack = section["title"].partition("; ")
        if not section["measured"]:
            data, attack = PAPERS, section["title"]
        found.setdefault(data, []).append((section["anchor"], attack or data))
    return list(found.items())


def _section(anchor: str, table: Leaderboard) -> dict[str, Any]:
    group = " ".join(map(str, table.group or ())) + f" {table.title}"
    ordered = table.by_detection()
    rows = [SiteRow(number=place, table=anchor, group=group, line=line) for place, line in enumerate(ordered, 1)]
    by_line = {row.line: row for row in rows}
    plots = _plots(table, rows)
    halves: dict[str, dict[str, Any]] = {}
    seen: set[int] = set()
    for part in table.parts():
        half = halves.setdefault(part.section, {"parts": [], "plots": plots.get(part.section, [])})
        half["parts"].append(
            (part, [[by_line[line] for line in lines] for lines in part.kinds()], _new(part, by_line, seen))
        )
    return {
        "anchor": anchor,
        "title": one_line(table.title),
        "attack": one_line(table.group.attack) if table.group else "",
        "measured": table.group is not None,
        "several": table.several,
        "judges": table.judges if isinstance(table, JudgedBoard) else "",
        "overview": isinstance(table, Overview),
        "attacks": isinstance(table, AttackBoard),
        "ranked": any(part.ranks for part in table.parts()),
        "credit": table.attack,
        "about": one_line(table.about),
        "options": one_line(titles.options(table.group)) if table.group else "",
        "note": one_line(table.note),
        "facts": {name: one_line(text) for name, text in table.facts.items()},
        "status": len({line.status for line in table.lines}) > 1,
        "rows": rows,
        "halves": halves,
    }


def _new(part: BoardPart, rows: Mapping[BoardLine, SiteRow], seen: set[int]) -> set[int]:
    """The numbers of the rows that no part before has, which carry the line's address; adds them to `seen`."""
    found = {rows[line].number for line in part.lines} - seen
    seen |= found
    return found


def _plots(table: Leaderboard, rows: Sequence[SiteRow]) -> dict[str, list[Scatter]]:
    """By half: precision over recall of those that remove images, and accuracy over attack success, where there are
    two."""
    removing = [row for row in rows if row.line.mean.get("removed", 0) > 0 or table.group is None]
    made = {
        "Detection": scatter("detectors", removing, x="recall", y="precision"),
        "Full runs": scatter("encoders", rows, x="ASR triggered", y="ACC"),
    }
    return {half: [plot] for half, plot in made.items() if len(plot.points) > 1}
