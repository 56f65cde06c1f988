"""The marks of a page (see marks.py), compared with the tables and files that their numbers come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.leaderboard.marks import GIVEN, NUMBER, Mark, marks

from . import quote
from .tables import Leaderboard


def stale(page: str, tables: Sequence[Leaderboard], folder: Path) -> dict[Mark, str]:
    """What should stand at each mark at which something else stands; line breaks do not count.

    folder: where the page lies. Raises BenchError, naming the line, for a mark that selects nothing, or two things.
    """
    found = {mark: _text(mark, tables, folder) for mark in marks(page) if mark.kind != GIVEN}
    return {mark: text for mark, text in found.items() if not _same(mark, text)}


def told(mark: Mark, text: str) -> str:
    """What is wrong at a stale mark, on one line."""
    if mark.kind == NUMBER:
        return f"line {mark.line}: {' '.join(mark.content.split())!r} should be {text!r} ({mark.text})"
    old, new = mark.content.split("\n"), text.split("\n")
    row = next((row for row in new if row not in old), "fewer rows")
    return f"line {mark.line}: the table is stale, it should have: {row} ({mark.text})"


def _text(mark: Mark, tables: Sequence[Leaderboard], folder: Path) -> str:
    try:
        if mark.kind == NUMBER:
            return quote.number(mark.text, tables, folder)
        return f"\n\n{quote.table(mark.text, tables, folder)}\n\n"
    except BenchError as error:
        raise BenchError(f"line {mark.line}: {mark.text!r}: {error}") from error


def _same(mark: Mark, text: str) -> bool:
    return mark.content.split() == text.split() if mark.kind == NUMBER else mark.content == text
