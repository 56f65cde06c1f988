"""Generated text inside a page that people write."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.leaderboard.marks import filled_in, has_place, page_at

PAGE = "before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n"
BEGIN, END = "<!-- a: begin -->\n", "<!-- a: end -->\n"


def test_what_is_around_the_place_is_kept_and_filling_in_again_changes_nothing():
    once = filled_in(PAGE, "a", "new\n")
    assert once == "before\n<!-- a: begin -->\n\nnew\n\n<!-- a: end -->\nafter\n"
    assert filled_in(once, "a", "new") == once


@pytest.mark.parametrize("page", ["", BEGIN, END + BEGIN, PAGE.replace("a:", "b:")])
def test_a_page_without_a_place_is_refused(page):
    assert not has_place(page, "a")
    with pytest.raises(BenchError, match="there is no place"):
        filled_in(page, "a", "new")


def test_a_page_that_cannot_be_read(tmp_path):
    page = tmp_path / "page.md"
    assert page_at(page) is None
    assert page_at(tmp_path) is None
    page.write_bytes(b"gr\xf6\xdfe")
    assert page_at(page) is None
    page.write_bytes("größe\r\n".encode())
    assert page_at(page) == "größe\n"
