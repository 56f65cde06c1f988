"""A table for any width of terminal: where its columns do not fit, each row is a few lines of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_BETWEEN = 3  # " │ "


@dataclass(frozen=True, kw_only=True)
class FittingTable:
    """Headings, rows of as many texts, and the headings of the columns that end at the right, as numbers do.

    A number is never broken, a text only between words. Where that cannot be, a row is written as its first cell and
    a line "heading: cell" for each other one that is not empty.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Collection[str] = ()
    title: str | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        needed = [self._needed(place) for place in range(len(self.headings))]
        if sum(needed) + _BETWEEN * (len(needed) - 1) <= options.max_width:
            yield self._table(needed)
        else:
            yield from self._lines()

    def _needed(self, place: int) -> int:
        """The least width of a column: of its longest number, or word."""
        heading = self.headings[place]
        whole = heading in self.right
        texts = [row[place] for row in self.rows]
        words = [*heading.split(), *(texts if whole else [word for text in texts for word in text.split()])]
        return max(map(len, words), default=1)

    def _table(self, needed: Sequence[int]) -> Table:
        table = Table(title=self.title, title_justify="left", show_edge=False, pad_edge=False)
        for heading, width in zip(self.headings, needed, strict=True):
            table.add_column(escape(heading), justify="right" if heading in self.right else "left", min_width=width)
        for row in self.rows:
            table.add_row(*map(escape, row))
        return table

    def _lines(self) -> Iterator[RenderableType]:
        if self.title:
            yield Text(self.title)
        for row in self.rows:
            yield Text(f"{self.headings[0]}: {row[0]}" if self.headings[0] else row[0], style="bold")
            for heading, cell in zip(self.headings[1:], row[1:], strict=True):
                if cell:
                    yield Padding(Text(f"{heading}: {cell}"), (0, 0, 0, 2), expand=False)
