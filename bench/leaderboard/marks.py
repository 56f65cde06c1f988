"""The place for generated text inside a page that somebody writes, in markdown: all else on the page is kept.

The text lies between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->`, which do not show where the page is
rendered.
"""

from __future__ import annotations

from pathlib import Path

from bench.errors import BenchError


def page_at(path: Path) -> str | None:
    """The text of a page, its lines ending in \\n; None if there is none, or none that can be read as UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def has_place(page: str, name: str) -> bool:
    """Whether the page has the two marks, in this order."""
    begin, end = _marks(name)
    return begin in page and end in page.partition(begin)[2]


def filled_in(page: str, name: str, text: str) -> str:
    """The page with `text` between the marks. Raises BenchError if they are not there."""
    begin, end = _marks(name)
    if not has_place(page, name):
        raise BenchError(f"there is no place for the text: expected the lines {begin.strip()} and {end.strip()}")
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n{text.strip()}\n\n{end}{rest.partition(end)[2]}"


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
