"""Lists that any program can read, whatever the names are."""

from __future__ import annotations

import os

from hypothesis import given, strategies as st

from bench.scan.lists import number, quoted, read_path, write_list


def test_ordinary_paths_are_written_as_they_are(tmp_path):
    write_list(tmp_path / "kept.txt", [("a b/ü.png", "0.5000", ""), ("c\\d'e.png", "", "12")])
    assert (tmp_path / "kept.txt").read_bytes() == "a b/ü.png\t0.5000\t\nc\\d'e.png\t\t12\n".encode()


def test_tabs_and_line_breaks_do_not_break_lines(tmp_path):
    write_list(tmp_path / "kept.txt", [("a\tb.png", "1"), ("a\nb.png", "2"), ('"q.png', "3")])
    assert (tmp_path / "kept.txt").read_text() == '"a\\tb.png"\t1\n"a\\nb.png"\t2\n"\\"q.png"\t3\n'


def test_names_that_are_not_utf8_come_out_byte_for_byte(tmp_path):
    write_list(tmp_path / "kept.txt", [(os.fsdecode(b"caf\xe9.png"), "1")])
    assert (tmp_path / "kept.txt").read_bytes() == b"caf\xe9.png\t1\n"


def test_a_reason_cannot_add_a_column_or_a_line(tmp_path):
    write_list(tmp_path / "bad.txt", [("a", "why\tnot\nreally")])
    assert (tmp_path / "bad.txt").read_text() == "a\twhy not really\n"


@given(st.text(alphabet=st.characters(exclude_categories=()), min_size=1).filter(lambda text: "\0" not in text))
def test_every_name_comes_back_from_its_line(name):
    text = quoted(name)
    assert len(text.splitlines()) == 1
    assert "\t" not in text
    assert read_path(text) == name


def test_numbers():
    assert [number(0.5), number(float("nan")), number(None), number(12.0, 0)] == ["0.5000", "", "", "12"]
