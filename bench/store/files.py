"""Atomic files: bytes, JSON, named arrays (npz). After a failure the old file is untouched; nothing is pickled."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import stat
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from bench.api import Arrays
from bench.errors import BenchError

from .hashing import check_json

MOST_TEXT = 256 << 20
"""Bytes of a file that a person or a command wrote (a record, a setting, a list of images, a plugin), at most."""
_FULL = "the disk (or quota) is full: free some space (`bench store prune` helps) and start again"
_ADVICE = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "the file is larger than is allowed here: raise the file size limit (ulimit -f)",
    errno.EROFS: "it lies on a read-only file system: choose a folder that can be written",
    errno.EACCES: "permission denied: choose a folder that you may write, or have its owner allow it",
    errno.EPERM: "operation not permitted: choose a folder that you may write",
    errno.ENOTDIR: "part of the path is a file, not a folder: choose another folder",
    errno.EEXIST: "part of the path is a file, not a folder: choose another folder",
    errno.ENAMETOOLONG: "the path is longer than this file system allows: choose a shorter one",
    errno.ELOOP: "links in the path lead round in a circle: choose another folder",
}
_ANYWHERE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BELOW = {errno.EROFS, errno.EACCES, errno.EPERM}


@contextlib.contextmanager
def writing(path: Path, *, only_below: bool = False) -> Iterator[None]:
    """Turn an OSError that a user can do something about (full disk, read-only, no permission) into a BenchError.

    `only_below`: leave permission errors about files outside `path` alone: they come from somebody's reading.
    """
    try:
        yield
    except Exception as error:
        number = _number(error)
        if number not in _ADVICE or (only_below and number not in _ANYWHERE and not _is_below(error, path)):
            raise
        raise BenchError(f"cannot write {path}: {_ADVICE[number]}") from error


def _number(error: Exception) -> int:
    """The system's error number, 0 where there is none; safetensors hides it in its own error's text."""
    if isinstance(error, OSError):
        return error.errno or 0
    hidden = re.search(r"os error (\d+)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(hidden[1]) if hidden else 0


def _is_below(error: Exception, root: Path) -> bool:
    """Whether it is about a permission to write a file below `root`."""
    name = getattr(error, "filename", None)
    return _number(error) in _BELOW and isinstance(name, str | os.PathLike) and Path(name).is_relative_to(root)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and takes `path`'s place in one step.

    After an error nothing is left, and what was at `path` is untouched. A link stays one, and leads to the new file.
    Raises BenchError as `writing` does.
    """
    with writing(path):  # pathlib raises where it may not look into a folder
        _check_replaceable(path)
        place = Path(os.path.realpath(path)) if path.is_symlink() else path
        temporary = place.with_name(f".{place.name}.{os.getpid()}-{threading.get_ident()}.tmp")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            sync(temporary)
            temporary.replace(place)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def _check_replaceable(path: Path) -> None:
    """Raise BenchError for a device, a pipe or the like: a file would take its place, for the whole system. So it would
    for /dev/stdout, a link that may lead to a file."""
    if path.is_symlink() and Path(os.path.realpath(path)).is_symlink():
        raise BenchError(f"cannot write {path}: links lead round in a circle")
    systems = path.is_symlink() and any(path.absolute().is_relative_to(each) for each in ("/dev", "/proc"))
    if systems or (path.exists() and not path.is_file() and not path.is_dir()):
        raise BenchError(f"cannot write {path}: it is no regular file, and must not be replaced by one")


def sync(path: Path) -> None:
    """Flush a file, or (where the system can) a folder's list of names, to the disk."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_can_write(path: Path) -> None:
    """Raise BenchError where no file could be written to `path`: found out before the work, not after it."""
    with writing(path):
        _check_can_write(path)


def _check_can_write(path: Path) -> None:
    if path.is_dir():
        raise BenchError(f"cannot write {path}: it is a folder")
    _check_replaceable(path)
    there = next(each for each in (path.absolute(), *path.absolute().parents) if os.path.lexists(each))
    if not there.exists() and there != path.absolute():
        raise BenchError(f"cannot write {path}: {there} is a link that leads nowhere")
    there = there if there.exists() else there.parent
    if there != path.absolute() and not there.is_dir():
        raise BenchError(f"cannot write {path}: {there} is no folder")
    if not os.access(there, os.W_OK):
        raise BenchError(f"cannot write {path}: permission denied on {there}")
    if there.is_dir():
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:  # as in /proc, where nobody may create a file
            raise BenchError(f"cannot write {path}: no file can be created in {there} ({error.strerror})") from None


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON, atomically: sorted keys, two spaces of indent, a closing newline, no NaN."""
    check_json(value, path.name)
    text = json.dumps(value, sort_keys=True, indent=2, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_bytes(path: Path, most: int = MOST_TEXT) -> bytes:
    """All of a regular file of up to `most` bytes: a pipe or a device could have no end. Raises OSError."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))
    if found.st_size > most:
        raise OSError(errno.EFBIG, f"larger than {most >> 20} MiB", str(path))
    return path.read_bytes()


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """The same as text, its lines ending in \\n. Raises OSError, UnicodeDecodeError."""
    return io.TextIOWrapper(io.BytesIO(read_bytes(path)), encoding=encoding).read()


def read_json(path: Path) -> Any:
    """The JSON in `path`. Raises BenchError where it is missing, unreadable or not JSON (NaN is not)."""
    try:
        return json.loads(read_bytes(path), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise BenchError(f"cannot read {path} as JSON: {error}") from error


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays as an uncompressed npz, atomically; equal arrays give equal bytes.

    Raises BenchError for an object array: it would need pickle.
    """
    for name, array in arrays.items():
        known = isinstance(array, np.ndarray | np.generic)
        if not isinstance(name, str) or not known or array.dtype.hasobject:
            kind = array.dtype if known else type(array).__name__
            raise BenchError(f"array {name!r} of {path.name} is {kind}; expected a named NumPy array without objects")
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy")  # ZipInfo's date is fixed (1980), its system is not
            entry.create_system = 3
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(arrays[name], order="C"), allow_pickle=False)


def read_arrays(path: Path) -> Arrays:
    """The arrays of an npz. Raises BenchError where it is missing, damaged or holds objects."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise BenchError(f"cannot read the arrays in {path}: {error}") from error


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
