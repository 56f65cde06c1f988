"""`bench leaderboard`: records as tables, pages or a site."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import BenchError

from . import common, options

if TYPE_CHECKING:
    from bench.leaderboard import Table

SITE = "html"
"""The format that is a folder of pages; leaderboard.FORMATS has those of one file."""


def leaderboard(
    records: Annotated[
        list[Path] | None,
        typer.Argument(help="Files of records or reported numbers, or folders of them.", show_default="the store's"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file (html: folder), with links.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="markdown, csv, latex, or html: a site of pages.")] = "markdown",
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 where --output is stale.")] = False,
    only: Annotated[str, typer.Option(help="Only tables with this in their title.", show_default="all")] = "",
    store: options.StoreRoot = None,
) -> None:
    """Records as tables: one for each dataset, attack and preset.

    A markdown file with the lines <!-- leaderboard: begin --> and <!-- leaderboard: end --> keeps what is around them.
    So does one with numbers of records in its sentences: <!-- n: laptop; none; ACC -->79.9<!-- /n --> (docs/pages.md).
    """
    if not leaderboard_command(records or [], output, store, form, check, only):
        raise typer.Exit(1)


def leaderboard_command(
    paths: list[Path], output: Path | None, store: Path | None, form: str, check: bool, only: str = ""
) -> bool:
    """`bench leaderboard`. With `check` nothing is written; False where the file is not what would be written.

    only: part of the titles of the tables wanted; a number in a page may come from any. Of a page that has a place
    for a leaderboard, or numbers that come from the records (see marks.py), all else is kept.
    """
    from bench import leaderboard
    from bench.store import write_bytes

    render = None if form == SITE else leaderboard.renderer(form, also=[SITE])
    if check and output is None:
        raise BenchError("--check compares a file with its records: name it with --output FILE")
    files = files_in(paths or [common.open_store(store).root / "records"])
    if not files:
        raise BenchError("there is no record yet. `bench run` makes one; or name record files or folders.")
    if render is None and only:
        raise BenchError("--only chooses tables of one file; a site has them all")
    if render is None:
        return _site(files, output, check)
    every = leaderboard.read(files, output.parent if output else None)
    wanted = [table for table in every if only in table.title]
    if not wanted:
        titles = ", ".join(repr(table.title) for table in every)
        raise BenchError(f"no table has {only!r} in its title; there are {titles}")
    text = render(wanted)
    if output is None:
        sys.stdout.write(text)
        return True
    text, said = _around(output, text, every, check) if form == "markdown" else (text, [])
    if check:
        return _fresh(output, text, said)
    write_bytes(output, text.encode())
    common.out.print(f"{len(files)} records -> {output}", highlight=False, soft_wrap=True, markup=False)
    return True


def _around(output: Path, text: str, every: Sequence[Table], check: bool) -> tuple[str, list[str]]:
    """The page there with every mark filled in, and what is wrong with its numbers; the leaderboard itself where
    there is no page yet, or an older leaderboard. Raises BenchError for any other page."""
    from bench.leaderboard import page as pages
    from bench.leaderboard.markdown import LEGEND
    from bench.leaderboard.marks import filled_in, has_place, marks, page_at, replaced

    page = page_at(output)
    if page is None and output.is_file() and not check:
        raise BenchError(f"{output} cannot be read as UTF-8 text, so it is not written over: remove it, or mend it")
    try:
        numbered = bool(marks(page or ""))
        stale = pages.stale(page or "", every, output.parent)
    except BenchError as error:
        raise BenchError(f"{output}, {error}") from error
    if page is None or not (numbered or has_place(page, "leaderboard")):
        if not check and page and page.strip() and LEGEND not in page:
            begin, end = (f"<!-- leaderboard: {which} -->" for which in ("begin", "end"))
            raise BenchError(
                f"{output} is a page of somebody's, so it is not written over: put the lines {begin} and {end} where "
                "the tables belong, or name another file"
            )
        return text, []
    filled = replaced(page, stale)
    if has_place(page, "leaderboard"):
        filled = filled_in(filled, "leaderboard", text)
    return filled, [pages.told(mark, new) for mark, new in stale.items()]


def _site(files: list[Path], folder: Path | None, check: bool) -> bool:
    """The format html: a folder of pages."""
    from bench.leaderboard import site

    if folder is None:
        raise BenchError("--format html writes a folder of pages: name it with --output FOLDER")
    pages = site.site(files)
    if check:
        found = site.faults(folder, pages)
        for fault in [*found[:5], *([f"and {len(found) - 5} more"] if len(found) > 5 else [])]:
            common.log_out.print(f"bench: {folder}: {fault}", markup=False, highlight=False, soft_wrap=True)
        return not found
    site.write(folder, pages)
    common.out.print(f"{len(files)} records -> {folder / 'index.html'}", highlight=False, soft_wrap=True, markup=False)
    return True


def _fresh(output: Path, text: str, said: Sequence[str]) -> bool:
    """Whether the file holds `text`, whichever way its lines end; else says so, with what else is `said`."""
    from bench.leaderboard.marks import page_at

    if page_at(output) == text:
        return True
    what = "is stale" if output.is_file() else "is not there"
    for line in [f"{output}, {each}" for each in said] + [
        f"{output} {what}: the same command without --check writes it"
    ]:
        common.log_out.print(f"bench: {line}", markup=False, highlight=False, soft_wrap=True)
    return False


def files_in(paths: list[Path]) -> list[Path]:
    """The files named, and those of the folders named: records (.json) and reported numbers (.csv)."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted([*path.glob("*.json"), *path.glob("*.csv")])
        elif path.is_file():
            found.append(path)
        elif path.name != "records":
            raise BenchError(f"no record file or folder {str(path)!r}")
    return found
