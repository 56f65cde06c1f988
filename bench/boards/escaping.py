"""Texts of records (names, settings) are somebody's: in each format they stay text."""

from __future__ import annotations

import re
from urllib.parse import quote

from bench.records.redact import one_line

_MARKUP = re.compile(r"[&<>|`*\[\]\\~$@^]|:(?! )|(?<![a-z0-9])_|_(?![a-z0-9])|(?<=www)\.", re.IGNORECASE)
_LATEX = {char: f"\\{char}" for char in "&%$#_{}"}
_LATEX |= {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
_LATEX |= {"<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}", '"': "\\textquotedbl{}"}
_LATEX |= {"±": "$\\pm$", "–": "--"}  # noqa: RUF001 - the en dash of an undefined cell


def escape(text: str) -> str:
    """`text` on one line with nothing in it that markdown or HTML would take for more than text."""
    return _MARKUP.sub(_entity, one_line(text)) or "(no name)"


def _entity(found: re.Match[str]) -> str:
    return f"&#{ord(found[0])};"


def latex(text: str) -> str:
    """`text` on one line with nothing in it that LaTeX would take for a command."""
    return "".join(_LATEX.get(char, char) for char in one_line(text))


def url(path: str) -> str:
    """A relative path with "/" as a link's target: nothing in it can name a scheme or end the link."""
    return quote(path, safe="/")
