"""Which image files are sound, and the SHA-256 of their bytes: found by decoding each once, then remembered.

A ledger is a JSON file per class in the user's cache folder (or below $BENCH_CACHE). An entry
holds as long as the file's size, modification time and change time are the same, so that opening a million
checked images costs a million calls of stat() instead of reading them. Losing it costs time, nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import BenchError
from bench.store import cache_folder, write_bytes

from .images import in_threads

SETTLED_NS = 2_000_000_000
"""A file changed less than this before its reading is not remembered: the next change may have the same time."""


class Checked(NamedTuple):
    """What was found: the hex SHA-256 of the file's bytes, why it cannot be decoded ('' where it can), and whether it
    has 16 bits a value (decode.depth_of)."""

    digest: str
    fault: str
    depth: str = ""


class Ledger:
    """What is known of the files of one class below `root`, of all splits.

    A context manager: on leaving, also by an error or Ctrl-C, what was found is written down.
    """

    def __init__(self, root: Path, class_name: str) -> None:
        self._root = root.resolve()
        name = hashlib.sha256(os.fsencode(self._root) + b"\0" + os.fsencode(class_name)).hexdigest()[:32]
        home = cache_folder()
        self._file = None if home is None else home / "checked-files" / f"{name}.json"
        self._known: dict[str, list[Any]] = _load(self._file) if self._file else {}
        self._changed = False

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        if self._changed and self._file:
            content = json.dumps({"law": _law(), "files": self._known})
            with contextlib.suppress(OSError, BenchError):  # a full or read-only disk: it only costs time
                write_bytes(self._file, content.encode())

    def check(self, names: Sequence[str]) -> list[Checked]:
        """What was found of each of `names` (POSIX paths below the root), in order, by a few threads."""
        found: list[Checked | None] = [None] * len(names)

        def fill(part: slice) -> None:
            found[part] = [self._check(name) for name in names[part]]

        in_threads(fill, len(names))
        return [one for one in found if one is not None]

    def _check(self, name: str) -> Checked:
        from .decode import MOST_BYTES, Unreadable, read_file

        path, now = self._root / name, time.time_ns()
        try:
            found = path.stat()
            stamp = [found.st_size, found.st_mtime_ns, found.st_ctime_ns]
            known = self._known.get(name)
            if known is not None and known[:3] == stamp and found.st_size <= MOST_BYTES:
                return Checked(*known[3:])
            data = read_file(path)
        except (OSError, Unreadable) as error:  # no rights, gone, a pipe: not remembered, it may be mended
            return Checked("", getattr(error, "strerror", None) or str(error))
        result = check_bytes(data)
        if max(stamp[1:]) + SETTLED_NS < now:
            self._known[name] = [*stamp, *result]
            self._changed = True
        return result


def check_bytes(data: bytes) -> Checked:
    """Hash `data` and decode all of it."""
    from .decode import Unreadable, depth_of, open_rgb

    digest = hashlib.sha256(data).hexdigest()
    try:
        depth = depth_of(open_rgb(BytesIO(data)))
    except Unreadable as error:
        return Checked(digest, str(error))
    return Checked(digest, "", depth)


def _law() -> list[Any]:
    """What a verdict depends on besides the file: our decoding and Pillow's."""
    import PIL

    from .decode import LAW

    return [LAW, PIL.__version__]


def _load(file: Path) -> dict[str, list[Any]]:
    """The entries of a ledger; none where it is not there, is broken, or was made by another decoder."""
    try:
        content = json.loads(file.read_bytes())
        return {name: entry for name, entry in content["files"].items() if content["law"] == _law() and len(entry) == 6}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
