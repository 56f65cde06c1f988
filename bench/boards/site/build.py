"""From record files to the text of every page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from bench.boards import Leaderboard, tables
from bench.boards.reported import reported
from bench.errors import BenchError
from bench.records import record as records
from bench.records.redact import one_line, without_paths
from bench.report.controls import Beside, Neighbours
from bench.report.html import render
from bench.report.page import run_page, title_of
from bench.store import digest

from .tables import board_values

if TYPE_CHECKING:
    from bench.report.artifacts import Artifacts

LICENCE = "vendor/tablesort-5.7.1.LICENCE"
SCRIPTS = ("vendor/tablesort-5.7.1.js", "board.js")
_STYLE = re.compile(rb"<style>(.*?)</style>", re.DOTALL)
_STYLE_HASH = b"STYLE-HASH"


Stored = Callable[[Path], "tuple[Artifacts, bytes] | None"]
"""What the stages of the record in a file stored, for its page, and a CSV of its images; None where they are gone."""


def site(files: Sequence[Path], repository: str = "", stored: Stored | None = None) -> dict[str, bytes]:
    """The site of record files (.json) and reported numbers (.csv): path in the site, with "/" -> content.

    repository: its address, for links to it. stored: None for pages made of the records alone. Raises BenchError
    naming a file that cannot be used.
    """
    own = [file for file in files if file.suffix != ".csv"]
    runs, named = _runs(own)
    papers = {f"reported/{records.plain_name(file.stem)}.csv": file for file in files if file.suffix == ".csv"}
    if len(papers) + len(own) < len(files):
        raise BenchError(f"two of the files of reported numbers would have one name: {', '.join(papers)}")
    found = tables(runs.values(), [f"{name}.html" for name in runs], named)
    found += [table for name, file in papers.items() for table in reported(file, name)]
    pages, neighbours = {"index.html": _index(found, runs, repository)}, Neighbours(runs.values())
    for (name, run), file in zip(runs.items(), named, strict=True):
        pages |= _run(name, run, neighbours.of(run), stored(Path(file)) if stored else None)
    return pages | {name: file.read_bytes().replace(b"\r\n", b"\n") for name, file in papers.items()}


def _run(name: str, run: records.Record, beside: Beside, stored: tuple[Artifacts, bytes] | None) -> dict[str, bytes]:
    """Its page, its record, and with what its stages stored the CSV of its images."""
    short = Path(name).name
    pages = {f"{name}.json": (json.dumps(run, sort_keys=True, indent=2) + "\n").encode()}
    if stored is None:
        return pages | {f"{name}.html": _sealed(run_page(run, beside, record_file=f"{short}.json"))}
    artifacts, images = stored
    page = run_page(run, beside, artifacts, f"{short}.json", f"{short}.csv")
    return pages | {f"{name}.html": page, f"{name}.csv": images}


def _runs(files: Sequence[Path]) -> tuple[dict[str, records.Record], list[str]]:
    """The records by the path of their page, without its ending, equal ones as one; and a file of each."""
    found = [(without_paths(records.load(file)), str(file)) for file in files]
    pages = {f"runs/{records.plain_title(run)}-{digest(run)[:10]}": (run, file) for run, file in found}
    return {name: run for name, (run, _) in pages.items()}, [file for _, file in pages.values()]


def _index(found: Sequence[Leaderboard], runs: Mapping[str, records.Record], repository: str) -> bytes:
    script = "\n".join(_asset(name).replace("\r\n", "\n") for name in SCRIPTS)
    page = render(
        "board.html",
        script=script,
        script_hash=_hash(script.encode()),
        licence=one_line(_asset(LICENCE)),
        runs={f"{name}.html": title_of(run) for name, run in runs.items()},
        repository=repository,
        version=", ".join(sorted({one_line(run["bench"]) for run in runs.values()})),
        **board_values(found),
    )
    return _sealed(page)


def _asset(name: str) -> str:
    return resources.files("bench.report").joinpath("templates", *name.split("/")).read_text(encoding="utf-8")


def _sealed(page: bytes) -> bytes:
    """The page, its policy naming the hash of its style: the first one, which stands before any text of a record."""
    style = _STYLE.search(page)
    if style is None or page.count(_STYLE_HASH, 0, style.start()) != 1:
        raise BenchError("the template of a page has no style, or no place for its hash")
    return page.replace(_STYLE_HASH, _hash(style[1]).encode(), 1)


def _hash(data: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(data).digest()).decode()}'"
