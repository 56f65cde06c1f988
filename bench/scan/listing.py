"""The files below a folder that may be images. Nothing is read but directories and file facts."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench.data.decode import SUFFIXES, may_be_image, suffix_of
from bench.data.layout import walk
from bench.errors import BenchError


@dataclass(frozen=True)
class Listing:
    """Files to try below `root`, sorted by name: POSIX paths relative to it, as Python has them (surrogates where a
    name is not UTF-8), and (size, modification, change time in ns) of each. gone: names that are no regular files or
    cannot be looked up -> why. others: suffix -> number of files passed over."""

    root: Path
    names: tuple[str, ...]
    stamps: tuple[tuple[int, int, int], ...]
    gone: dict[str, str]
    others: dict[str, int]

    def given(self, name: str) -> str:
        """The path as a user of the folder would write it: the folder as given, then the name."""
        return os.path.join(str(self.root), *name.split("/"))  # noqa: PTH118 - Path would normalise

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over names and stamps: another where a file was added, removed, renamed or changed."""
        hasher = hashlib.sha256()
        for name, stamp in zip(self.names, self.stamps, strict=True):
            hasher.update(os.fsencode(name) + b"\0" + repr(stamp).encode())
        return hasher.hexdigest()


def find_files(root: Path) -> Listing:
    """The files below `root`, at any depth; hidden files and folders are passed over, links followed, each folder
    once. Raises BenchError where `root` is no folder, cannot be listed or holds nothing that may be an image."""
    if not root.is_dir():
        raise BenchError(f"{root} is {'no folder' if root.exists() else 'not there'}; expected a folder of images")
    try:
        names = sorted(name for name in walk(root) if not name.rpartition("/")[2].startswith("."))
    except OSError as error:
        raise BenchError(f"cannot list {error.filename or root}: {error.strerror}") from None
    wanted = [name for name in names if may_be_image(name)]
    if not wanted:
        raise BenchError(f"{root} holds no image ({len(names)} other files); known are {', '.join(sorted(SUFFIXES))}")
    others = Counter(suffix_of(name) for name in names if not may_be_image(name))
    return _described(root, wanted, dict(others.most_common()))


def _described(root: Path, names: list[str], others: dict[str, int]) -> Listing:
    stamps: dict[str, tuple[int, int, int]] = {}
    gone: dict[str, str] = {}
    for name in names:
        try:
            found = os.stat(root / name)  # noqa: PTH116 - a hundred thousand of them
        except OSError as error:
            gone[name] = error.strerror or str(error)
            continue
        if stat.S_ISREG(found.st_mode):
            stamps[name] = (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        else:
            gone[name] = "no regular file"
    if not stamps:
        name, why = next(iter(gone.items()))
        raise BenchError(f"none of the {len(gone)} files below {root} can be opened; the first is {name}: {why}")
    return Listing(root, tuple(stamps), tuple(stamps.values()), gone, others)
