"""Which image files are sound, and the SHA-256 of their bytes: found by decoding each once, then remembered.

A ledger is a JSON file per class in the user's cache folder (or below $BENCH_CACHE). What it says of a file
holds as long as the file's size, modification time and change time are the same, so that opening a million
checked images costs a million calls of stat() instead of reading them. Losing it costs time, nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from bench.store.cache import cache_folder

from .images import in_threads

SETTLED_NS = 2_000_000_000
"""A file changed less than this before its reading is not remembered: the next change may bear that time."""


class Checked(NamedTuple):
    """What was found: the hex SHA-256 of the file's bytes, and why it cannot be decoded ('' where it can)."""

    digest: str
    fault: str


class _Stamp(NamedTuple):
    size: int
    mtime_ns: int
    ctime_ns: int


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
            _save(self._file, self._known)

    def check(self, names: Sequence[str]) -> list[Checked]:
        """What was found of each of `names` (POSIX paths below the root), in order, by a few threads."""
        found: list[Checked | None] = [None] * len(names)

        def fill(part: slice) -> None:
            found[part] = [self._check(name) for name in names[part]]

        in_threads(fill, len(names))
        return [one for one in found if one is not None]

    def _check(self, name: str) -> Checked:
        path = self._root / name
        now = time.time_ns()
        try:
            stamp = _stamp(path)
            known = self._known.get(name)
            if known is not None and known[:3] == list(stamp):
                return Checked(*known[3:])
            data = path.read_bytes()
        except OSError as error:  # no rights, gone, a broken link: not remembered, it may be mended
            return Checked("", error.strerror or str(error))
        result = check_bytes(data)
        if max(stamp.mtime_ns, stamp.ctime_ns) + SETTLED_NS < now:
            self._known[name] = [*stamp, *result]
            self._changed = True
        return result


def check_bytes(data: bytes) -> Checked:
    """Hash `data` and decode it whole."""
    from .decode import Unreadable, open_rgb

    digest = hashlib.sha256(data).hexdigest()
    try:
        open_rgb(BytesIO(data))
    except Unreadable as error:
        return Checked(digest, str(error))
    return Checked(digest, "")


def _stamp(path: Path) -> _Stamp:
    stat = path.stat()
    return _Stamp(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _law() -> list[Any]:
    """What a verdict depends on besides the file: our decoding and Pillow's."""
    import PIL

    from .decode import LAW

    return [LAW, PIL.__version__]


def _load(file: Path) -> dict[str, list[Any]]:
    """The entries of a ledger; none where it is not there, is broken, or was made by another decoder."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict) or content.get("law") != _law():
        return {}
    files = content.get("files")
    return {k: v for k, v in files.items() if len(v) == 5} if isinstance(files, dict) else {}


def _save(file: Path, known: dict[str, list[Any]]) -> None:
    """Write a ledger whole or not at all: a full or read-only disk leaves none, which costs only time."""
    temporary = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.stem, suffix=".tmp")
        with open(handle, "w", encoding="ascii") as stream:  # noqa: PTH123 - a file descriptor
            json.dump({"law": _law(), "files": known}, stream)
        Path(temporary).replace(file)
    except OSError:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
