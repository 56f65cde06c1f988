"""Generated text inside a page that people write, in markdown.

A block lies between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->`. A number, or a small table, lies between
`<!-- n: EXPRESSION -->` (`<!-- table: ... -->`) and `<!-- /n -->`, anywhere in a sentence; a number that is not
measured, between `<!-- given: REASON -->` and `<!-- /given -->`. None of these shows where the page is rendered, and
none counts inside code. docs/pages.md says how to write such a page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.errors import BenchError

NUMBER, TABLE, GIVEN = "n", "table", "given"
_TOKEN = re.compile(
    r"^[ \t>]*(?P<fence>`{3,}|~{3,})[^\n]*\n(?:.*?\n)??[ \t>]*(?P=fence)[`~]*[ \t]*$"  # a block of code
    r"|(?<!`)(?P<tick>`+)(?!`)(?:(?!\n[ \t]*\n).)+?(?<!`)(?P=tick)(?!`)"  # code in a line
    r"|<!--(?P<comment>.*?)-->",
    re.DOTALL | re.MULTILINE,
)
_OPENING = re.compile(rf"\s*(?P<kind>{NUMBER}|{TABLE}|{GIVEN})\s*:(?P<text>.*)", re.DOTALL)
_CLOSING = re.compile(rf"\s*/(?P<kind>{NUMBER}|{TABLE}|{GIVEN})\s*")
_STARTS_LINE = re.compile(r"[ \t>]*(?:(?:[-*+]|\d+[.)])[ \t]+)*")
_BLOCK = re.compile(r"^<!-- (?P<name>[\w-]+): begin -->\n.*?^<!-- (?P=name): end -->$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<=\])\([^()\n]*\)|^\[[^\]\n]+\]:[^\n]*$|\bhttps?://\S+", re.MULTILINE)
_MEASURED = re.compile(r"(?<!\d)(?<!\d[.])\d+[.]\d+(?!\d|[.]\d)(?:\s*%)?|\d+\s*%")  # 0.1.0 is a version


class Mark(NamedTuple):
    """One place: its kind (NUMBER, TABLE or GIVEN), what is asked for, on one line, what stands there now; where that
    begins and ends in the page, and the line of its first mark."""

    kind: str
    text: str
    content: str
    start: int
    end: int
    line: int


def page_at(path: Path) -> str | None:
    """The text of a page, its lines ending in \\n; None where there is none, or none that can be read as UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


# --- blocks -----------------------------------------------------------------------------------------------


def has_place(page: str, name: str) -> bool:
    """Whether the page has the two marks, in this order."""
    begin, end = _marks(name)
    return begin in page and end in page.partition(begin)[2]


def filled_in(page: str, name: str, text: str) -> str:
    """The page with `text` between the marks. Raises BenchError where they are not there."""
    begin, end = _marks(name)
    if not has_place(page, name):
        raise BenchError(f"there is no place for the text: expected the lines {begin.strip()} and {end.strip()}")
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n{text.strip()}\n\n{end}{rest.partition(end)[2]}"


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"


# --- numbers and small tables -----------------------------------------------------------------------------


def marks(page: str) -> list[Mark]:
    """Every place of the page, in order. Raises BenchError, naming the line, for one that is not closed, or where
    markdown would not take the mark for part of its sentence."""
    found: list[Mark] = []
    opened: tuple[re.Match[str], re.Match[str]] | None = None
    for token in _comments(page):
        opening, closing = _OPENING.fullmatch(token["comment"]), _CLOSING.fullmatch(token["comment"])
        mark = opening or closing
        if mark is None:
            continue
        _check_place(page, token, mark["kind"])
        if opened is None and opening:
            opened = token, opening
        elif opened and closing and opened[1]["kind"] == closing["kind"]:
            found.append(_mark(page, *opened, token))
            opened = None
        else:
            raise BenchError(f"line {_line(page, token.start())}: {token[0]} has no partner, or lies inside another")
    if opened:
        raise BenchError(f"line {_line(page, opened[0].start())}: {opened[0][0]} is not closed")
    return found


def _comments(page: str) -> Iterator[re.Match[str]]:
    """Every HTML comment that is not inside code."""
    return (token for token in _TOKEN.finditer(page) if token["comment"] is not None)


def _mark(page: str, token: re.Match[str], opening: re.Match[str], closing: re.Match[str]) -> Mark:
    text, line = " ".join(opening["text"].split()), _line(page, token.start())
    if not text:
        raise BenchError(f"line {line}: {token[0]} does not say what it stands for")
    start, end = token.end(), closing.start()
    return Mark(opening["kind"], text, page[start:end], start, end, line)


def _check_place(page: str, token: re.Match[str], kind: str) -> None:
    """Markdown takes a line that begins with a comment for HTML, all of it."""
    before = page[page.rfind("\n", 0, token.start()) + 1 : token.start()]
    alone = not page[token.end() :].partition("\n")[0].strip()
    begins, where = _STARTS_LINE.fullmatch(before), f"line {_line(page, token.start())}"
    if begins and (kind == NUMBER or not alone):
        raise BenchError(f"{where} begins with {token[0]}: markdown takes such a line for HTML; begin it with a word")
    if kind == TABLE and not begins:
        raise BenchError(f"{where}: {token[0]} must have a line of its own")


def _line(page: str, place: int) -> int:
    return page.count("\n", 0, place) + 1


def replaced(page: str, texts: Mapping[Mark, str]) -> str:
    """The page with other texts at those of its marks."""
    for mark in sorted(texts, key=lambda mark: mark.start, reverse=True):
        page = page[: mark.start] + texts[mark] + page[mark.end :]
    return page


# --- numbers without a mark -------------------------------------------------------------------------------


def unmarked(page: str) -> list[str]:
    """Each number with a decimal point or a percent sign that has no mark, as "line 3: 13.7 %".

    Numbers in code, in the target of a link and in a generated block are not looked at. Raises BenchError as `marks`.
    """
    hidden = [*_BLOCK.finditer(page), *_TOKEN.finditer(page)]
    spans = [each.span() for each in hidden] + [(mark.start, mark.end) for mark in marks(page)]
    text = page
    for start, end in spans:
        text = text[:start] + re.sub(r"[^\n]", "x", text[start:end]) + text[end:]
    text = _LINK.sub(lambda link: "x" * len(link[0]), text)
    return [f"line {_line(text, number.start())}: {number[0]}" for number in _MEASURED.finditer(text)]
