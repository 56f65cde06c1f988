"""One line of a table as the site shows it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.boards import NONE, BoardLine
from bench.boards.credits import Credit
from bench.boards.escaping import url
from bench.boards.part import BoardPart
from bench.boards.rows import DEFENSE
from bench.records.record import SUBMITTED
from bench.records.redact import one_line


@dataclass(frozen=True, kw_only=True)
class SiteRow:
    """A line of a table as the page shows it, its texts plain.

    number: its place in the summary's order, which the plots show. table: the anchor of its table. group: what its
    table holds, for the filter.
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
        """With the settings that are part of it."""
        name = one_line(self.line.defense) or "(no name)"
        return f"{name} ({self.settings})" if self.settings else name

    @property
    def settings(self) -> str:
        """What its table says behind the name: the attack where there are several, and the settings."""
        return one_line("; ".join(filter(None, [self.line.attack, self.line.settings])))

    @property
    def plugins(self) -> list[tuple[str, Credit]]:
        """(name, where it comes from) of each plugin that the name names."""
        return [(one_line(name) or "(no name)", credit) for name, credit in self.line.plugins()]

    def seeds(self, part: BoardPart) -> str:
        """How many it has in a part."""
        return part.seeds(self.line) or "not known"

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
        return self.line.status if self.line.kind == DEFENSE or self.line.defense == NONE else self.line.kind

    @property
    def mark(self) -> str:
        """How the plots draw it, as classes: by its kind, hollow where it was sent in."""
        shape = NONE if self.line.defense == NONE else self.line.kind
        return f"{shape} hollow" if self.line.status == SUBMITTED else shape

    def value(self, name: str) -> float | str:
        """What a column is sorted by: the number of that name, "" where it is undefined."""
        value, _ = self.line.number(name)
        return "" if math.isnan(value) else float(value)
