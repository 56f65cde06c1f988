"""Generated text inside a page that people write."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings, strategies as st
from markdown_it import MarkdownIt

from bench.errors import BenchError
from bench.leaderboard.marks import filled_in, has_place, marks, page_at, replaced, unmarked

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


def test_a_page_that_cannot_be_read(tmp_path):
    page = tmp_path / "page.md"
    assert page_at(page) is None
    assert page_at(tmp_path) is None
    page.write_bytes(b"gr\xf6\xdfe")
    assert page_at(page) is None
    page.write_bytes("größe\r\n".encode())
    assert page_at(page) == "größe\n"


# --- numbers ----------------------------------------------------------------------------------------------

SENTENCE = (
    "It fell from <!-- n: a; b -->92 ± 5<!-- /n --> to <!--n:c--><!-- /n -->,\nas <!-- given: x -->3 %<!-- /given -->."
)


def test_the_marks_of_a_page():
    first, second, third = marks(SENTENCE)
    assert (first.kind, first.text, first.content, first.line) == ("n", "a; b", "92 ± 5", 1)
    assert (second.text, second.content, third.kind, third.line) == ("c", "", "given", 2)
    assert replaced(SENTENCE, {second: "14", first: "9"}).startswith(
        "It fell from <!-- n: a; b -->9<!-- /n --> to <!--n:c-->14<!-- /n -->,\nas"
    )


def test_a_mark_may_go_over_a_line_break():
    (mark,) = marks("It is <!-- n: laptop; none;\n  ACC -->79.9 ±\n1.7<!-- /n --> here")
    assert (mark.text, mark.content) == ("laptop; none; ACC", "79.9 ±\n1.7")


def test_a_mark_does_not_show_and_leaves_the_sentence_one_paragraph():
    html = MarkdownIt().render(SENTENCE)
    assert re.sub(r"<!--.*?-->", "", html) == "<p>It fell from 92 ± 5 to ,\nas 3 %.</p>\n"


NUMBERED = "<!-- n: a -->1<!-- /n -->"


@pytest.mark.parametrize(
    "code",
    [
        f"`{NUMBERED}`",
        f"`` a ` {NUMBERED} ``",
        f"```markdown\nx {NUMBERED}\n```",
        f"- item\n\n  ```\n  x {NUMBERED}\n\n  ```",
        f"~~~~\n```\nx {NUMBERED}\n~~~~",
        "`<!-- n: a -->`",
    ],
)
def test_a_mark_in_code_is_code(code):
    page = f"before\n\n{code}\n\nand {NUMBERED}"
    assert [mark.text for mark in marks(page)] == ["a"]
    assert marks(page)[0].start == page.rindex("1<!-- /n")


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("a\nb <!-- n: x -->1", "line 2: <!-- n: x --> is not closed"),
        ("a <!-- /n -->", "line 1: <!-- /n --> has no partner"),
        ("a <!-- n: x -->1<!-- /given -->", "has no partner"),
        ("a <!-- n: x --><!-- n: y -->1<!-- /n --><!-- /n -->", "line 1: <!-- n: y --> has no partner, or lies inside"),
        ("a <!-- n: -->1<!-- /n -->", "does not say what it stands for"),
        ("a <!-- given: -->1<!-- /given -->", "does not say what it stands for"),
        ("a\n<!-- n: x -->1<!-- /n -->", "line 2 begins with <!-- n: x -->: markdown takes such a line for HTML"),
        ("a <!-- n: x -->1\n<!-- /n -->", "line 2 begins with <!-- /n -->"),
        ("- <!-- n: x -->1<!-- /n -->", "line 1 begins with"),
        ("> 2. <!-- n: x -->1<!-- /n -->", "line 1 begins with"),
        ("<!-- given: x -->1<!-- /given --> a", "line 1 begins with"),
        ("a <!-- table: x -->\n<!-- /table -->", "line 1: <!-- table: x --> must have a line of its own"),
    ],
)
def test_marks_that_would_not_work(page, said):
    with pytest.raises(BenchError, match=re.escape(said)):
        marks(page)


@pytest.mark.parametrize("start", ["<!-- n: x -->1<!-- /n -->", "- <!-- n: x -->1<!-- /n -->", "> <!-- n: x -->1"])
def test_markdown_does_take_such_a_line_for_html(start):
    assert "<em>" not in MarkdownIt().render(f"{start} and *more*\n")
    assert "<em>" in MarkdownIt().render(f"{start.replace('<', 'so <', 1)} and *more*\n")


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.sampled_from(["x ", "\n", "`", "```\n", "~~~\n", "<!--", "-->", "<!-- n: a -->", "<!-- /n -->", "1.5"]))
)
def test_replacing_marks_by_what_stands_there_changes_nothing(parts):
    page = "".join(parts)
    try:
        found = marks(page)
    except BenchError:
        return
    assert replaced(page, {mark: mark.content for mark in found}) == page
    assert all(page[mark.start : mark.end] == mark.content for mark in found)


# --- numbers without a mark -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("It has 13.7 here,\nand 5 % or 2.5% there", ["line 1: 13.7", "line 2: 5 %", "line 2: 2.5%"]),
        ("CIFAR-10, 32 px, 5,000 images, seed 0", []),
        ("so <!-- n: a -->13.7 ± 2.0<!-- /n --> % and <!-- given: set -->0.3<!-- /given -->", []),
        ("`--rate 0.5` and\n```\n72.0 %\n```\nthen 1.5", ["line 5: 1.5"]),
        ("[a 1.5](docs/v2.5.md) <https://x.org/1.5> https://x.org/2.5\n\n[r]: https://x.org/3.5", ["line 1: 1.5"]),
        ("<!-- a: begin -->\n| 1.5 |\n<!-- a: end -->\n2.5", ["line 4: 2.5"]),
        ("<!-- 1.5 -->", []),
        ("Version 0.1.0, at 10.0.0.1, takes 1.5. Or 0.1...0.25", ["line 1: 1.5", "line 1: 0.1", "line 1: 0.25"]),
        ("| a | 1.5 |\n", ["line 1: 1.5"]),
        ("<!-- given: the paper -->\n\n| a | 1.5 |\n\n<!-- /given -->\n", []),
    ],
)
def test_numbers_without_a_mark(page, found):
    assert unmarked(page) == found
