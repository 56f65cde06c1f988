"""Tables for every width of terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench.report.fitting import FittingTable

TABLE = FittingTable(
    headings=("stage", "size", "used by"),
    rows=[("find the poison", "12 KiB", "[htba] x"), ("b", "1 B", "")],
    right=("size",),
)


def shown(width):
    console = Console(file=io.StringIO(), width=width)
    console.print(TABLE)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_where_it_fits_it_is_a_table():
    assert shown(40)[2:] == ["find the poison │ 12 KiB │ [htba] x", "b               │    1 B │"]


def test_texts_are_folded_between_words_and_numbers_not_at_all():
    """The least: "poison" 6, "12 KiB" 6, "[htba]" 6, and twice 3 between them."""
    lines = shown(24)
    assert any("│ 12 KiB │" in line for line in lines)
    assert {word for line in lines for word in line.replace("│", " ").split()} >= {"find", "poison", "[htba]"}


def test_where_it_does_not_fit_each_row_is_a_few_lines():
    assert shown(23) == ["stage: find the poison", "  size: 12 KiB", "  used by: [htba] x", "stage: b", "  size: 1 B"]


@pytest.mark.parametrize("width", [12, 23])
def test_no_line_is_wider(width):
    assert max(map(len, shown(width))) <= width
