"""Lists that any program can read, whatever the names are."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, strategies as st

from bench.scan.lists import number, quoted, read_list, read_path, write_list


@pytest.mark.parametrize(
    ("rows", "written"),
    [
        ([("a b/ü.png", "0.5000", ""), ("c\\d'e.png", "", "12")], "a b/ü.png\t0.5000\t\nc\\d'e.png\t\t12\n".encode()),
        ([("a\tb.png", "1"), ("a\nb.png", "2"), ('"q.png', "3")], b'"a\\tb.png"\t1\n"a\\nb.png"\t2\n"\\"q.png"\t3\n'),
        ([("#1.png", "1")], b'"#1.png"\t1\n'),  # no comment
        ([(os.fsdecode(b"caf\xe9.png"), "1")], b"caf\xe9.png\t1\n"),  # not UTF-8: byte for byte
        ([("a", "why\tnot\nreally")], b"a\twhy not really\n"),  # a reason cannot add a column or a line
    ],
)
def test_ordinary_paths_are_written_as_they_are_and_others_break_no_line(tmp_path, rows, written):
    write_list(tmp_path / "list.txt", "What it is", rows)
    assert (tmp_path / "list.txt").read_bytes() == b"# What it is\n" + written
    assert read_list((tmp_path / "list.txt").read_bytes(), "list.txt") == [path for path, *_ in rows]


@given(st.text(alphabet=st.characters(exclude_categories=()), min_size=1).filter(lambda text: "\0" not in text))
def test_every_name_comes_back_from_its_line(name):
    text = quoted(name)
    assert len(text.splitlines()) == 1
    assert "\t" not in text
    assert read_path(text) == name


def test_a_byte_order_mark_is_no_part_of_the_first_path():
    assert read_list("\ufeffa.png\r\nb.png\r\n".encode(), "list.txt") == ["a.png", "b.png"]


def test_numbers():
    assert [number(0.5), number(float("nan")), number(None), number(12.0, 0)] == ["0.5000", "", "", "12"]
