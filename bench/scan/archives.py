"""Images in a .zip or a .tar (also .tar.gz, .tar.bz2, .tar.xz) from somebody else.

Members are written under numbers, never under their names, so nothing in an archive can choose where it lands; links
and devices are never made. How many there are and how large they are is checked before anything is written.
"""

from __future__ import annotations

import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from bench.errors import BenchError

MOST_MEMBERS = 1_000_000
MOST_HEADER = 1 << 20
"""Bytes of what a tar says of one file beside its name and size: all of it is read into memory."""
MOST_GROWTH, FREE_GROWTH = 200, 1 << 30
"""An archive may unpack to so many times its own size, and to so many bytes whatever its size: images hardly shrink."""
MOST_LIST = 128 * MOST_MEMBERS
"""Bytes of the list of members in a zip."""
NAMES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, struct.error, EOFError),
    *(OSError, NotImplementedError, RuntimeError, ValueError, OverflowError),
)


@dataclass(frozen=True)
class Member:
    """A file in an archive: its name, its size in bytes, and why it is not taken ('': it is)."""

    name: str
    size: int
    fault: str = ""


_Entry = tuple[Member | None, IO[bytes] | None]
"""None for a folder; the bytes of a file that may be taken."""


def is_archive(path: Path) -> bool:
    """Whether it is one, or by its name should be."""
    return path.name.lower().endswith(NAMES) or zipfile.is_zipfile(path) or _is_tar(path)


class _Header(tarfile.TarInfo):
    """The head of a file in a tar, or of a long name or other notes on the next file. Each archive has a class of its
    own, which counts the bytes of notes since the last file."""

    noted = 0

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        """As tarfile's, which then reads all notes, however long. Raises BenchError where they are too long."""
        found = super().frombuf(buf, encoding, errors)
        cls.noted += found.size if found.type in _NOTES else 0
        if cls.noted > MOST_HEADER or (found.type == tarfile.GNUTYPE_SPARSE and buf[482]):
            raise BenchError("it says too much of one of its files, more than any archive of images does")
        return found

    def _proc_gnusparse_10(self, next: tarfile.TarInfo, *_: object) -> None:
        next.sparse = []  # type: ignore[assignment]  # a file with holes is not taken, its list of them not read


def _header() -> type[_Header]:
    class Header(_Header):
        pass

    return Header


_NOTES = frozenset(
    {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
)


def _is_tar(path: Path) -> bool:
    try:
        with tarfile.open(path, tarinfo=_header()):
            return True
    except BenchError:
        return True
    except _DAMAGED:
        return False


def members(path: Path) -> list[Member]:
    """The files in it, in its order; the last of several with one name. Raises BenchError where it is broken,
    encrypted, or unpacks to more than an archive of images does."""
    found: dict[str, Member] = {}
    total, most = 0, FREE_GROWTH + MOST_GROWTH * path.stat().st_size
    with _open(path) as entries:
        for number, (member, _) in enumerate(entries, 1):
            total += member.size if member else 0
            if number > MOST_MEMBERS or total > most:
                what = f"{MOST_MEMBERS:,} files" if number > MOST_MEMBERS else f"{most >> 20:,} MiB"
                raise BenchError(f"{path} holds more than {what}; if it can be trusted, unpack it and name the folder")
            if member:
                found.pop(member.name, None)
                found[member.name] = member
    return list(found.values())


def unpack(path: Path, names: list[str], folder: Path) -> list[str]:
    """Write the members of these `names` into `folder`, as 0000000, 0000001 ... by their place; those file names.

    Raises BenchError where one is damaged.
    """
    shutil.rmtree(folder, ignore_errors=True)  # of a killed scan
    folder.mkdir(parents=True)
    places = {name: f"{place:07d}" for place, name in enumerate(names)}
    with _open(path) as entries:
        for member, source in entries:
            if member and member.name in places and source is not None:
                with (folder / places[member.name]).open("wb") as file:
                    shutil.copyfileobj(source, file)
    return list(places.values())


@contextmanager
def _open(path: Path) -> Iterator[Iterator[_Entry]]:
    """Its files one after the other, each with its bytes where they may be taken. Raises BenchError."""
    try:
        if zipfile.is_zipfile(path) or path.suffix.lower() == ".zip":  # a zip that was cut off is still named as one
            _check_list(path)
            with zipfile.ZipFile(path) as archive:
                yield _of_zip(archive, path)
        else:
            with tarfile.open(path, tarinfo=(header := _header())) as tar:
                yield _of_tar(tar, header)
    except BenchError as error:
        raise BenchError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from None
    except _DAMAGED as error:
        why = str(error) or type(error).__name__
        raise BenchError(f"{path} is no archive that can be read, or is broken: {ascii(why)[1:-1][:200]}") from None


def _check_list(path: Path) -> None:
    """Raises BenchError for a zip whose list of members is too long to be read whole, as zipfile does."""
    with path.open("rb") as file:
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # looks for the end, reads nothing else
    if end and end[zipfile._ECD_SIZE] > MOST_LIST:  # type: ignore[attr-defined]
        raise BenchError(f"it lists files in more than {MOST_LIST >> 20} MiB, more than any archive of images does")


def _of_zip(archive: zipfile.ZipFile, path: Path) -> Iterator[_Entry]:
    for entry in archive.infolist():
        if entry.filename.endswith("/"):
            yield None, None
            continue
        if entry.flag_bits & 1:
            raise BenchError(f"{path} is encrypted; unpack it with its password and name the folder")
        link = stat.S_ISLNK(entry.external_attr >> 16)
        member = Member(entry.filename, entry.file_size, "a link" if link else _outside(entry.filename))
        if member.fault:
            yield member, None
        else:
            with archive.open(entry) as source:
                yield member, source


def _of_tar(archive: tarfile.TarFile, header: type[_Header]) -> Iterator[_Entry]:
    for entry in archive:
        archive.members, archive.pax_headers = [], {}  # type: ignore[attr-defined]  # of a million nothing is kept
        header.noted = 0
        if entry.isdir():
            yield None, None
            continue
        kind = "a link" if entry.issym() or entry.islnk() else "" if entry.isreg() and not entry.issparse() else "odd"
        fault = "no regular file" if kind == "odd" else kind or _outside(entry.name)
        yield Member(entry.name, entry.size, fault), None if fault else archive.extractfile(entry)


def _outside(name: str) -> str:
    """Why a name cannot be that of a file in a folder; '' where it can. A list of such names would mislead others."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.name:
        return "it has no name"
    return "its name leads out of the archive" if path.is_absolute() or ".." in path.parts else ""
