"""Checksums of an artifact's files: written when it is finished, looked at when it is used or checked.

A size says that a file is whole, not that its bytes are those that were written. Artifacts from before there were
checksums have none; they are used as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

CHECKSUMS = "sha256"
"""The key of meta.json that holds them, by file name."""
QUICK = 32 << 20
"""Files of up to so many bytes are read whenever their artifact is used: a tenth of a second at most."""


def checksums(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """The SHA-256 (hex) of each of the files by its name in `folder`."""
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in files}


def changed(folder: Path, meta: Mapping[str, Any], most: int | None = None) -> str | None:
    """Which file of up to `most` bytes is another than was written, in words; None where none is, or none is known."""
    known = meta.get(CHECKSUMS)
    for name, expected in known.items() if isinstance(known, dict) else ():
        try:
            path = folder / name
            if (most is None or path.stat().st_size <= most) and _sha256(path) != expected:
                return f"its file {name} has changed since it was made"
        except (OSError, ValueError) as error:
            return f"its file {ascii(name)[1:-1]} cannot be read: {error}"
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
