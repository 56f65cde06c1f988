"""Generated text inside a page that people write."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.marks import filled_in, has_place

PAGE = "before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n"


def test_what_is_around_the_place_is_kept():
    assert filled_in(PAGE, "a", "new\n") == "before\n<!-- a: begin -->\n\nnew\n\n<!-- a: end -->\nafter\n"


def test_filling_in_again_changes_nothing():
    once = filled_in(PAGE, "a", "new")
    assert filled_in(once, "a", "new") == once


BEGIN, END = "<!-- a: begin -->\n", "<!-- a: end -->\n"


@pytest.mark.parametrize("page", ["", BEGIN, END + BEGIN, PAGE.replace("a:", "b:")])
def test_a_page_without_a_place_is_refused(page):
    assert not has_place(page, "a")
    with pytest.raises(BenchError, match="there is no place"):
        filled_in(page, "a", "new")
