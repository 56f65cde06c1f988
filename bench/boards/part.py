"""A part of a table: some of its columns, narrow enough for a page, and the lines that have numbers for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from .best import ALIKE, BEST, Marks
from .lines import BoardLine, SeedResult
from .rows import RATES, SECONDS, UNDEFINED, higher_is_better

ATTACK = "attack"
_ARROWS = {True: " \u2191", False: " \u2193", None: ""}


class BoardPart(NamedTuple):
    """Some columns of a leaderboard, title -> name in `BoardLine.mean`, the lines to show them for, kind by kind, and
    the ranks of some of these (none: no column of ranks); note: a remark, or ""; marks: which numbers are best.

    easy: it has no ranks because the colours alone solve too many of its attacks.

    section and what: of which half of the table it is, and what it shows; together its title. lines_are: what its lines
    are of, in a word; with attacks no number is good or bad. neutral: names of numbers that are neither anywhere.
    """

    section: str
    what: str
    columns: Mapping[str, str]
    lines: Sequence[BoardLine]
    ranks: Mapping[BoardLine, int]
    note: str = ""
    marks: Marks = {}
    lines_are: str = "defense"
    easy: bool = False
    neutral: Collection[str] = ()

    @property
    def title(self) -> str:
        """In one line."""
        return f"{self.section}: {self.what}"

    @property
    def headings(self) -> dict[str, str]:
        """Title of a column with an arrow to where its better numbers lie, up or down -> its name."""
        arrows = {} if self.lines_are == ATTACK else _ARROWS
        better = {name: None if name in self.neutral else higher_is_better(name) for name in self.columns.values()}
        return {title + arrows.get(better[name], ""): name for title, name in self.columns.items()}

    def best(self, line: BoardLine, name: str) -> bool:
        """Whether no line has a better mean (best.py)."""
        return self.marks.get((line, name)) == BEST

    def alike(self, line: BoardLine, name: str) -> bool:
        """Whether the mean is not told apart from the best one."""
        return self.marks.get((line, name)) == ALIKE

    def rank(self, line: BoardLine) -> str:
        """As it is printed."""
        return str(self.ranks.get(line, UNDEFINED))

    def kinds(self) -> list[list[BoardLine]]:
        """The lines, in a list for each kind that there is."""
        return [list(same) for _, same in groupby(self.lines, key=lambda line: line.kind)]

    def seeds(self, line: BoardLine) -> str:
        """How many seeds are behind a line's numbers; "5 (3)": three of them behind those of the full runs; "" where
        that is not known."""
        counts = {
            name: len({each.seed for each in line.results_for([name])} - {None}) for name in self.columns.values()
        }
        most = max(counts.values(), default=0)
        full = max((count for name, count in counts.items() if name in RATES), default=0)
        return f"{most} ({full})" if 0 < full < most else str(most or "")

    def results(self, line: BoardLine) -> list[SeedResult]:
        """Those behind a line's numbers."""
        return line.results_for(name for name in self.columns.values() if name != SECONDS)
