"""Errors that a user can fix: one message each, no traceback, exit code 2; and words that messages share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """Something the user gave cannot be used. The message says what was got, what was expected, and what to do."""


class UndeclaredNeed(BenchError):
    """A defense requested something of its view that it does not list in `needs`."""


def printable(text: str) -> str:
    """`text` with what could speak to a terminal escaped."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def in_one_line(error: BaseException) -> str:
    """An exception in one line; a plugin's own error may fail to say what it is."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return str(type.__dict__["__name__"].__get__(type(error)))


def nearest(name: str, known: Iterable[str]) -> str:
    """A closing sentence that names the nearest of `known`, or all of them; '' when `known` is empty."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known: {', '.join(names)}." if names else ""


def counted(count: int, one: str, several: str = "") -> str:
    """'1 image', '2,000 images'. several: where it is not `one` with an s, as in '3 classes' or '3 files are'."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"
