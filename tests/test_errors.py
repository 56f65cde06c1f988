"""Words that messages share."""

from __future__ import annotations

import pytest

from bench import counted
from bench.errors import in_one_line


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (1, ("file",), "1 file"),
        (0, ("file",), "0 files"),
        (2000, ("file",), "2,000 files"),
        (1, ("class", "classes"), "1 class"),
        (3, ("class", "classes"), "3 classes"),
    ],
)
def test_a_count_and_its_noun(count, words, text):
    assert counted(count, *words) == text


def test_an_error_that_cannot_say_what_it_is_is_named():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    assert (in_one_line(Mute()), in_one_line(ValueError("x"))) == ("Mute", "ValueError: x")
