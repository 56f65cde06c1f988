"""One line of a table as the site shows it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.boards import NONE, BoardLine
from bench.boards.escaping import url
from bench.boards.rows import BASELINE
from bench.boards.tables import BoardPart
from bench.records.redact import one_line


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

    def seeds(self, part: BoardPart) -> str:
        """How many it has in a part."""
        return str(len({result.seed for result in part.results(self.line)} - {None}) or "not known")

    def links(self, part: BoardPart) -> list[tuple[str, str]]:
        """(words, address) of each record behind its numbers in a part."""
        results = [result for result in part.results(self.line) if result.source]
        return [("source" if each.seed is None else str(each.seed), url(each.source)) for each in results]

    @property
    def find(self) -> str:
        """What the filter looks in, small letters."""
        return one_line(f"{self.line.label} {self.line.status} {self.group}").lower()

    @property
    def kind(self) -> str:
        """One of tables.KINDS."""
        own = self.line.control or self.line.kind == BASELINE
        return self.line.kind if own else self.line.status

    @property
    def mark(self) -> str:
        """How the plots draw it: "none", or its kind."""
        return NONE if self.name == NONE else self.kind

    def value(self, name: str) -> float | str:
        """What a column is sorted by: the number of that name, "" where it is undefined."""
        value, _ = self.line.number(name)
        return "" if math.isnan(value) else float(value)
