"""`bench leaderboard`: records as tables, pages or a site."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import BenchError, counted

from . import common, options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bench.boards.site import Stored
    from bench.report.artifacts import Artifacts

SUSPECTS = 12
"""How many suspicious images a run's page shows, as `bench report` does."""
SITE = "html"
"""The format that is a folder of pages; boards.FORMATS has those of one file."""
OF_SUFFIX = {".md": "markdown", ".csv": "csv", ".tex": "latex", ".html": SITE, ".htm": SITE}


def leaderboard(
    records: Annotated[
        list[Path] | None,
        typer.Argument(help="Files of records or reported numbers, or folders of them.", show_default="the store's"),
    ] = None,
    output: Annotated[
        Path | None,
        options.written("Write to this file (html: folder), with links.", "--output", "-o"),
    ] = None,
    details: Annotated[
        Path | None,
        options.written("Markdown: a folder for the tables of single attacks; --output gets those of all attacks."),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="markdown, csv, latex, or html: a site of pages.")] = "markdown",
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 where --output is stale.")] = False,
    reports: Annotated[
        bool, typer.Option("--reports", help="In a site: images, scores and a CSV of each run that the store has.")
    ] = False,
    repository: Annotated[
        str, typer.Option(metavar="URL", help="In a site: where the repository is.", show_default="the package's")
    ] = "",
    only: Annotated[str, typer.Option(help="Only tables with this in title or settings.", show_default="all")] = "",
    store: options.StoreRoot = None,
) -> None:
    """Make tables of records: one for each dataset, attack and preset.

    A markdown file with the lines <!-- leaderboard: begin --> and <!-- leaderboard: end --> keeps what is around them.
    """
    from bench import boards

    if form != SITE and (reports or repository):
        raise BenchError("--reports and --repository are of a site: add --format html --output FOLDER")
    render = None if form == SITE else boards.renderer(form, also=[SITE])
    _check_details(details, output, form, only)
    _check_output(output, form)
    inside = None if details is None else details / "page.md"
    _check_can_write([] if check else [output if render or output is None else output / "index.html", inside])
    if check and output is None:
        raise BenchError("--check compares a file with its records: name it with --output FILE")
    files = files_in(records or [common.open_store(store).root / "records"])
    if not files:
        raise BenchError("there is no record yet. `bench run` makes one; or name record files or folders.")
    if render is None:
        if only:
            raise BenchError("--only chooses tables of one file; a site has them all")
        if output is None:
            raise BenchError("--format html writes a folder of pages: name it with --output FOLDER")
        from bench.boards import site

        pages = site.site(files, _repository(repository), _stored(store) if reports else None)
        _site(pages, len(files), output, check)
        return
    every = boards.read(files, output.parent if output else None)
    wanted = [table for table in every if only in f"{table.title}; {table.about}"]
    if not wanted:
        titles = ", ".join(repr(table.title) for table in every)
        raise BenchError(f"no table has {only!r} in its title; there are {titles}")
    text = boards.short(wanted, details.name) if details else render(wanted)
    if output is None:
        sys.stdout.write(text)
        return
    if details:
        _details(details, boards.details(wanted, output.name), len(files), check)
    _file(output, _in_page(output, text, check) if form == "markdown" else text, len(files), check)


def _check_can_write(files: Iterable[Path | None]) -> None:
    from bench.store import check_can_write

    for file in files:
        if file is not None:
            check_can_write(file)


def _check_details(details: Path | None, output: Path | None, form: str, only: str) -> None:
    """Raises BenchError where `details` cannot be linked to by its name from a markdown page at `output`."""
    if details is None:
        return
    beside = output is not None and details.resolve().parent == output.resolve().parent
    if form != "markdown" or not beside or details.is_file() or details.resolve() == (output or details).resolve():
        raise BenchError("--details is a folder beside the markdown file of --output FILE, for one page a setting")
    if only:
        raise BenchError("--only chooses tables of one file; the pages of --details are of all")


def _check_output(output: Path | None, form: str) -> None:
    """Raises BenchError where the file's name says another format."""
    said = None if output is None else OF_SUFFIX.get(output.suffix.lower())
    if said not in (None, form):
        raise BenchError(f"--output {output} with --format {form}: add --format {said}, or name another file")


def _details(folder: Path, pages: Mapping[str, str], count: int, check: bool) -> None:
    """Write the pages; with `check` see whether they are there and no others."""
    for name, text in pages.items():
        _file(folder / name, _in_page(folder / name, text, check), count, check)
    for old in sorted({page.name for page in folder.glob("*.md")} - pages.keys()):
        common.warn(f"bench: {folder / old}: no table is on this page any more; delete it")
        if check:
            raise typer.Exit(1)


def _in_page(output: Path, text: str, check: bool) -> str:
    """The page at `output` with the tables in their place; the tables alone where there is no page yet, or tables
    written before. Raises BenchError for any other page."""
    from bench.boards.markdown import BEGIN, END, LEGEND, in_page
    from bench.store import read_text

    try:
        page = read_text(output) if output.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{output} cannot be read as UTF-8 text, so it is not written over: {error}") from error
    filled = in_page(page, text)
    if filled is None and page.strip() and LEGEND not in page and not check:
        raise BenchError(
            f"{output} is a page that holds something else, so it is not written over: put the lines {BEGIN} and {END} "
            "where the tables belong, or name another file"
        )
    return text if filled is None else filled


def _file(output: Path, text: str, count: int, check: bool) -> None:
    """Write a file made of `count` records; with `check` only see whether it holds `text`, however its lines end."""
    from bench.store import write_bytes

    if check:
        there = output.is_file()
        if not there or output.read_bytes().replace(b"\r\n", b"\n") != text.encode():
            what = "is stale" if there else "is not there"
            common.warn(f"bench: {output} {what}: the same command without --check writes it")
            raise typer.Exit(1)
    else:
        write_bytes(output, text.encode())
        common.say(f"{counted(count, 'record')} -> {output}")


def _site(pages: Mapping[str, bytes], count: int, folder: Path, check: bool) -> None:
    """The format html: a folder of pages made of `count` records."""
    from bench.boards import site

    if not check:
        site.write(folder, pages)
        common.say(f"{counted(count, 'record')} -> {folder / 'index.html'}")
    elif found := site.faults(folder, pages):
        for fault in [*found[:5], *([f"and {len(found) - 5} more"] if len(found) > 5 else [])]:
            common.warn(f"bench: {folder}: {fault}")
        raise typer.Exit(1)


def _repository(address: str) -> str:
    """The address as a link's target, else that which the installed package names, "" for none. Raises BenchError for
    what is no address."""
    from importlib.metadata import PackageNotFoundError, metadata

    from bench.boards.credits import OWN, web_address

    if address:
        found = web_address(address)
        if not found:
            raise BenchError(f"--repository {address}: expected an address such as https://example.org/name/repository")
        return found
    try:
        named = metadata(OWN).get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    urls = dict(text.partition(", ")[::2] for text in named)
    return web_address(urls.get("Repository", ""))


def _stored(store: Path | None) -> Stored:
    """Finds what the stages of a record stored; says of which record they are gone."""

    def found(file: Path) -> tuple[Artifacts, bytes] | None:
        from bench.report.artifacts import artifacts_of
        from bench.report.per_image import per_image
        from bench.session.opening import reopened

        try:
            pipeline, _ = reopened(file, store)
            return artifacts_of(pipeline, (), SUSPECTS), per_image(pipeline)
        except BenchError as error:
            more = "; `bench report RECORD --plugin FILE` makes it of a plugin that is not installed"
            why = f"{error}{more if str(error).startswith('unknown ') else ''}"
            common.warn(f"bench: {file}: its page has only what the record says: {why}")
            return None

    return found


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
