"""The lists that a scan writes: one file a line, columns separated by tabs, made for `cut`, `xargs` and programs.

A path is written as it is, byte for byte. One that holds a tab, a line break or another control character, or that
begins with a double quote, is written as a JSON string in double quotes instead: a line that begins with one is such a
path. `read_path` undoes it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path

from bench.store import write_bytes


def quoted(path: str) -> str:
    """`path` as it is written."""
    odd = path.startswith('"') or any(ord(character) < 32 or character in "\x7f\x85\u2028\u2029" for character in path)
    return json.dumps(path) if odd else path


def read_path(text: str) -> str:
    """The path that `quoted` wrote."""
    return str(json.loads(text)) if text.startswith('"') else text


def write_list(file: Path, rows: Iterable[tuple[str, ...]]) -> None:
    """One line a row: a path, then other columns, which hold no tab or line break. Whole or not at all."""
    lines = ["\t".join((quoted(path), *(" ".join(cell.split()) for cell in rest))) + "\n" for path, *rest in rows]
    write_bytes(file, b"".join(os.fsencode(line) for line in lines))


def number(value: float | None, digits: int = 4) -> str:
    """A score as it is written; nothing where there is none."""
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"
