"""The site on disk: written whole, old pages taken away, and compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bench.errors import BenchError
from bench.store import write_bytes

INDEX, MARK = "index.html", b'<header id="bench-leaderboard">'
_OURS = re.compile(r"(runs/[A-Za-z0-9_+-]+\.(html|json|csv)|reported/[A-Za-z0-9_+-]*\.csv)")


def write(folder: Path, pages: Mapping[str, bytes]) -> None:
    """Write the pages, the index last, and delete the pages of a site written there before that are none any more.

    Raises BenchError where the folder holds something else than a site: nothing of it is touched.
    """
    _check_ours(folder)
    if not (folder / INDEX).exists():  # so that a writing that is stopped can be begun again
        write_bytes(folder / INDEX, MARK + b"not written whole yet: the same command goes on</header>\n")
    for name in sorted(pages, key=lambda name: name == INDEX):
        path = folder.joinpath(*name.split("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, pages[name])
    for name in _there(folder) - pages.keys():
        folder.joinpath(*name.split("/")).unlink()


def faults(folder: Path, pages: Mapping[str, bytes]) -> list[str]:
    """What differs between the folder and the pages, however lines end: "NAME is stale" ..."""
    there = {name: _content(folder.joinpath(*name.split("/"))) for name in pages}
    wrong = [name for name, data in pages.items() if there[name] != data]
    found = [f"{name} is {'not there' if there[name] is None else 'stale'}" for name in wrong]
    return found + [f"{name} is of no record any more" for name in sorted(_there(folder) - pages.keys())]


def _content(path: Path) -> bytes | None:
    """None where there is no file."""
    try:
        return path.read_bytes().replace(b"\r\n", b"\n")
    except OSError:
        return None


def _check_ours(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise BenchError(f"cannot write a site to {folder}: it is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and MARK not in (_content(folder / INDEX) or b""):
        raise BenchError(f"cannot write a site to {folder}: it holds other files; name a new or empty folder")


def _there(folder: Path) -> set[str]:
    """The pages of any site in the folder; files that no site has are not counted."""
    files = [path for name in ("runs", "reported") for path in (folder / name).glob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix() for path in files}
    return {name for name in names if _OURS.fullmatch(name)}
