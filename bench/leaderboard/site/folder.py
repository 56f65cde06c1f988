"""The site on disk: written whole, old pages taken away, and compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bench.errors import BenchError
from bench.store import write_bytes

INDEX, MARK = "index.html", b'<header id="bench-leaderboard">'
_OURS = re.compile(r"(runs/[A-Za-z0-9_+-]+\.(html|json)|reported/[A-Za-z0-9_+-]*\.csv)")


def write(folder: Path, pages: Mapping[str, bytes]) -> None:
    """Write the pages, the index last, and delete the pages of a site written there before that are none any more.

    Raises BenchError where the folder holds something else than a site: nothing of it is touched.
    """
    _check_ours(folder)
    for name in sorted(pages, key=lambda name: name == INDEX):
        path = folder.joinpath(*name.split("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, pages[name])
    for name in _there(folder) - pages.keys():
        folder.joinpath(*name.split("/")).unlink()


def faults(folder: Path, pages: Mapping[str, bytes]) -> list[str]:
    """What differs between the folder and the pages, however lines end: "NAME is stale" ..."""
    found = [f"{name} {_fault(folder.joinpath(*name.split('/')), data)}" for name, data in pages.items()]
    old = [f"{name} is of no record any more" for name in sorted(_there(folder) - pages.keys())]
    return [fault for fault in found if not fault.endswith(" ")] + old


def _fault(path: Path, data: bytes) -> str:
    try:
        there = path.read_bytes().replace(b"\r\n", b"\n")
    except OSError:
        return "is not there"
    return "" if there == data else "is stale"


def _check_ours(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise BenchError(f"cannot write a site to {folder}: it is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not _is_site(folder):
        raise BenchError(f"cannot write a site to {folder}: it holds other files; name a new or empty folder")


def _is_site(folder: Path) -> bool:
    try:
        return MARK in (folder / INDEX).read_bytes()
    except OSError:
        return False


def _there(folder: Path) -> set[str]:
    """The pages of any site in the folder; files that no site has are not counted."""
    files = [path for name in ("runs", "reported") for path in (folder / name).glob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix() for path in files}
    return {name for name in names if _OURS.fullmatch(name)}
