"""The lists that a scan writes: one file a line, columns separated by tabs, made for `cut`, `xargs` and programs.

The first line is a comment that begins with #: what the list is and what its columns are. A path is written as it is,
byte for byte. One that holds a tab, a line break or another control character, or that begins with a double quote or
a #, is written as a JSON string in double quotes instead: a line that begins with one is such a path. `read_path`
undoes it, and `read_list` reads such a list, or any list of paths.
"""

from __future__ import annotations

import json
import math
import os
from codecs import BOM_UTF8
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

from bench.errors import BenchError, counted
from bench.store import write_bytes
from bench.store.files import MOST_TEXT

NAMED = 5
"""So many unreadable files are named where all would be too many."""


def quoted(path: str) -> str:
    """`path` as it is written."""
    odd = path.startswith(('"', "#")) or any(
        ord(character) < 32 or character in "\x7f\x85\u2028\u2029" for character in path
    )
    return json.dumps(path) if odd else path


def read_path(text: str) -> str:
    """The path that `quoted` wrote. Raises ValueError for what cannot be one."""
    path = str(json.loads(text)) if text.startswith('"') else text
    if b"\0" in os.fsencode(path):
        raise ValueError
    return path


def read_list(data: bytes, name: str) -> list[str]:
    """The paths of a list: one a line, alone or in the first of several columns, each path once; empty lines and those
    that begin with # are passed over. Raises BenchError naming the list, `name`, and the line."""
    if len(data) > MOST_TEXT:
        raise BenchError(f"{name} is larger than {MOST_TEXT >> 20} MiB; a folder of so many images can be named itself")
    found: dict[str, None] = {}
    for number, line in enumerate(BytesIO(data.removeprefix(BOM_UTF8)), 1):
        text = os.fsdecode(line.removesuffix(b"\n").removesuffix(b"\r").partition(b"\t")[0])
        if "\0" in text:
            raise BenchError(f"{name} is no folder, no archive and no text: expected one path a line")
        if not text.strip() or text.startswith("#"):
            continue
        try:
            found[read_path(text)] = None
        except ValueError:
            raise BenchError(f"{name}, line {number}: {text[:80]} begins with a quote but is no path in JSON") from None
    return list(found)


def write_list(file: Path, title: str, rows: Iterable[tuple[str, ...]]) -> None:
    """A comment, then one line a row: a path, then other columns, which hold no tab or line break. Whole or not at
    all."""
    lines = [f"# {title}\n"]
    lines += ["\t".join((quoted(path), *(" ".join(cell.split()) for cell in rest))) + "\n" for path, *rest in rows]
    write_bytes(file, b"".join(os.fsencode(line) for line in lines))


def tally(files: int, unreadable: int, images: int) -> str:
    """What was found, in the same words everywhere: "122 files, 1 unreadable, 120 different images"."""
    return f"{counted(files, 'file')}, {unreadable:,} unreadable, {counted(images, 'different image')}"


def shortened(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The first NAMED of them as "path: why", to be printed, and how many more there are."""
    more = [f"and {len(rows) - NAMED:,} more"] if len(rows) > NAMED else []
    named = [(os.fsencode(quoted(path)).decode("utf-8", "backslashreplace"), why) for path, *why in rows[:NAMED]]
    return [f"{path}: {' '.join(why)}" for path, why in named] + more


def number(value: float | None, digits: int = 4) -> str:
    """A score as it is written; nothing where there is none."""
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"
