"""The files that may be images: below a folder, in an archive or in a list. Nothing of them is read yet but facts."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from bench.data.decode import SUFFIXES, may_be_image, suffix_of
from bench.data.layout import walk
from bench.errors import BenchError, counted
from bench.store.files import MOST_TEXT

from .archives import is_archive, members
from .lists import read_list


@dataclass(frozen=True)
class Listing:
    """Files to try below `root`, sorted by name: POSIX paths relative to it, as Python has them (surrogates where a
    name is not UTF-8), and (size, modification, change time in ns) of each. gone: names that are no regular files or
    cannot be looked up -> why. others: suffix -> number of files passed over. again: links in the folder that lead to a
    file or folder of it once more; they are passed over.

    kind: "folder"; "archive": `root` is the archive, names are its members', with its own times; "list": names are
    paths as they were given. source: what was given, in words."""

    root: Path
    names: tuple[str, ...]
    stamps: tuple[tuple[int, int, int], ...]
    gone: dict[str, str]
    others: dict[str, int]
    again: int = 0
    kind: Literal["folder", "archive", "list"] = "folder"
    source: str = ""

    @property
    def title(self) -> str:
        """A name for it: the folder's or the file's, with its suffix: photos/ and photos.zip are two."""
        if self.kind == "folder":
            return self.root.resolve().name
        return PurePosixPath(self.source).name.replace(" ", "-")

    @property
    def tried(self) -> int:
        """How many files there are to try, those included that are gone."""
        return len(self.names) + len(self.gone)

    @property
    def unpacked(self) -> int:
        """Bytes that its files take on the disk while they are read, besides where they lie now."""
        return sum(size for size, *_ in self.stamps) if self.kind == "archive" else 0

    def given(self, name: str) -> str:
        """The path as its user would write it: the folder as given, then the name; the name alone of a member of an
        archive or a path of a list."""
        if self.kind != "folder":
            return name
        return os.path.join(str(self.root), *name.split("/"))  # noqa: PTH118 - Path would normalise

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over names and stamps: another where a file was added, removed, renamed or changed."""
        hasher = hashlib.sha256()
        for name, stamp in zip(self.names, self.stamps, strict=True):
            hasher.update(os.fsencode(name) + b"\0" + repr(stamp).encode())
        return hasher.hexdigest()


EXPECTED = "expected a folder of images, a .zip or .tar of them, or a text file with one path a line"


def find(source: str) -> Listing:
    """The files of what a user names: a folder, an archive, a list of paths, or "-" for such a list on standard input.
    Raises BenchError where there are none."""
    if source == "-":
        return find_listed(sys.stdin.buffer.read(MOST_TEXT + 1), "standard input")
    if not source:  # a variable of a script that is not set; pathlib takes it for the working folder
        raise BenchError(f"'' is no path; {EXPECTED}")
    path = Path(source).expanduser()
    if path.is_dir():
        return find_files(path)
    if not path.exists():
        raise BenchError(f"{path} is not there; {EXPECTED}")
    try:
        if path.is_file() and is_archive(path):  # a pipe could not be read a second time
            return find_members(path)
        if suffix_of(path.name) in SUFFIXES:
            raise BenchError(f"{path} is one image; {EXPECTED}")
        if path.is_fifo() and not path.is_relative_to("/dev") and not path.is_relative_to("/proc"):
            raise BenchError(f"{path} is a pipe, to which nobody may ever write; a list can come by standard input: -")
        with path.open("rb") as file:
            head = file.read(4096)
            return find_listed(head if b"\0" in head else head + file.read(MOST_TEXT), str(path))
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror or error}") from None


def find_members(path: Path) -> Listing:
    """The files in an archive, hidden ones left out; links and other odd members are gone. Raises BenchError."""
    found = [member for member in members(path) if not _is_hidden(member.name)]
    wanted, others = _wanted([member.name for member in found], str(path))
    times, taken = path.stat(), {member.name: member for member in found}
    gone = {name: taken[name].fault for name in wanted if taken[name].fault}
    names = tuple(name for name in wanted if name not in gone)
    if not names:
        raise BenchError(f"{path} holds no image that may be taken; the first, {wanted[0]}, is {gone[wanted[0]]}")
    stamps = tuple((taken[name].size, times.st_mtime_ns, times.st_ctime_ns) for name in names)
    return Listing(path, names, stamps, gone, others, kind="archive", source=str(path))


def _is_hidden(name: str) -> bool:
    """As in a folder: hidden files, and what lies in folders that systems leave about (__MACOSX)."""
    *folders, last = PurePosixPath(name).parts or ("",)
    return last.startswith(".") or any(each.startswith((".", "__")) and each != ".." for each in folders)


def find_listed(data: bytes, name: str) -> Listing:
    """The files that a list names, whatever their suffixes, relative to where the user is. Raises BenchError."""
    paths = sorted(read_list(data, name))
    if not paths:
        raise BenchError(f"{name} names no file; expected one path a line")
    return _described(Listing(Path(), (), (), {}, {}, kind="list", source=name), paths)


def find_files(root: Path) -> Listing:
    """The files below `root`, at any depth; hidden files and folders are passed over, links followed, each folder and
    file once. Raises BenchError where `root` is no folder, cannot be listed or holds nothing that may be an image."""
    if not root.is_dir():
        raise BenchError(f"{root} is {'no folder' if root.exists() else 'not there'}; expected a folder of images")
    again: list[str] = []
    try:
        names = [name for name in walk(root, again=again) if not name.rpartition("/")[2].startswith(".")]
    except OSError as error:
        raise BenchError(f"cannot list {error.filename or root}: {error.strerror}") from None
    wanted, others = _wanted(names, str(root))
    own = _without_links_back(root, wanted)
    count = len(again) + len(wanted) - len(own)
    return _described(Listing(root, (), (), {}, others, again=count, source=str(root)), own)


def _without_links_back(root: Path, names: list[str]) -> list[str]:
    """`names` without links to files that are among them."""
    links = {name for name in names if os.path.islink(root / name)}  # noqa: PTH114 - a hundred thousand of them
    if not links:
        return names
    known = {os.path.realpath(root / name) for name in names if name not in links}
    found = []
    for name in names:
        place = os.path.realpath(root / name) if name in links else ""
        if place not in known:
            found.append(name)
            known |= {place} - {""}
    return found


def _wanted(names: Iterable[str], source: str) -> tuple[list[str], dict[str, int]]:
    """Of these the names that may be images, sorted; suffix -> number of the others. Raises BenchError for none."""
    every = list(names)
    wanted = sorted(name for name in every if may_be_image(name))
    others = Counter(suffix_of(name) for name in every if not may_be_image(name))
    if not wanted:
        known = ", ".join(sorted(SUFFIXES))
        raise BenchError(f"{source} holds no image ({counted(others.total(), 'other file')}); known are {known}")
    return wanted, dict(others.most_common())


def _described(listing: Listing, names: list[str]) -> Listing:
    """`listing` with the files of these names. Raises BenchError where there are none."""
    root, source = listing.root, listing.source
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
        if listing.kind == "list":
            raise BenchError(_no_list(source, name, len(gone), why))
        raise BenchError(
            f"none of the {counted(len(gone), 'file')} below {root} can be opened; the first is {name}: {why}"
        )
    return replace(listing, names=tuple(stamps), stamps=tuple(stamps.values()), gone=gone)


def _no_list(source: str, first: str, count: int, why: str) -> str:
    """What to say of a list of which no line names a file: what else the file may be, or where its paths may begin."""
    lines = counted(count, "different line")
    text = f"{source} is no list of paths of images: none of its {lines} names a file; as {ascii(first)[:80]}: {why}"
    beside = Path(source).parent
    if source != "standard input" and (beside / first).is_file():
        return f"{text}. Paths are relative to where you are, and this is one of {beside}: start from there"
    if (head := first.partition(",")[0]) != first and Path(head).is_file():
        return f"{text}. {head} is there: columns are separated by tabs, not by commas"
    return f"{text}. {EXPECTED[0].upper()}{EXPECTED[1:]}, relative to where you are"
