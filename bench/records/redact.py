"""Making texts of records fit to be shown and sent: without this machine's folders, and each on one line."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_START = r"""(?:^|(?<=["'=,;|\[({\s])|(?<=:)(?!//))"""
_ROOT = r"(?:file:(?=[/\\])|~[\w.-]*(?=[/\\])|[A-Za-z]:(?=[/\\])|\.{1,2}(?=[/\\])|(?=[/\\]))"
_ABSOLUTE = re.compile(_START + _ROOT + r"""[/\\]+[^\s/\\"'][^"',;|\])}\n]*""")
_RELATIVE = re.compile(r"""[^"'=,;|\[\](){}\n]*[/\\][^"',;|\[\](){}\n]*""")
_FORMULA = ("=", "+", "-", "@")
_OF_PATHS = re.compile(r"(root|dir|path|file|folder|checkpoint|list|trigger|preset|mask|picture)s?$")


def one_line(text: str) -> str:
    """`text` on one line: control and format characters, and every kind of space, become a space."""
    return "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text).strip()


def csv_cell(text: str) -> str:
    """`text` on one line; what a spreadsheet would compute gets an apostrophe in front."""
    line = one_line(text)
    return f"'{line}" if line.startswith(_FORMULA) else line


def without_paths(value: Any, key: str = "") -> Any:
    """A copy of JSON-able `value` in which each path is only its last part.

    Paths are texts, or parts of them, that begin as an absolute path does (`/`, `~`, `C:\\`, `./`), and whatever has
    a slash in an option that names a file ("root", "class_list" ...), also in the form "dataset.root=data/x".
    """
    if isinstance(value, dict):
        return {name: without_paths(item, name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(item, key) for item in value]
    return _text(value, key) if isinstance(value, str) else value


def _text(text: str, key: str) -> str:
    text = _ABSOLUTE.sub(_last, text)
    option, found, _ = text.partition("=")
    named = option.strip() if found and re.fullmatch(r"\s*[\w.-]+\s*", option) else key
    return _RELATIVE.sub(_last, text) if _OF_PATHS.search(named) else text


def _last(found: re.Match[str]) -> str:
    return re.split(r"[/\\]", found[0].rstrip("/\\ "))[-1]
