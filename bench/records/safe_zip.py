"""A zip of plain files from somebody else: read in memory, by exact names, within limits; nothing is unpacked to disk.

Writing gives equal bytes for equal files. Arrays are .npy without objects; reading one never unpickles and never
reserves memory for more than the file holds.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.store import read_bytes

MAX_FILE = 128 * 2**20
MAX_MEMBERS = 4096
MAX_DEPTH = 64
_ENTRY = b"PK\x01\x02"  # opens each entry of a zip's list of files
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)


def pack(members: Mapping[str, bytes]) -> bytes:
    """A zip of `members`; equal members give equal bytes (with one version of zlib)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name)  # its date is fixed (1980), its system is not
            entry.create_system, entry.compress_type = 3, zipfile.ZIP_DEFLATED
            archive.writestr(entry, members[name])
    return buffer.getvalue()


def array_bytes(array: NDArray[Any], dtype: str) -> bytes:
    """`array` as a .npy of `dtype` ("<i8" ...), C order, without objects."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array, np.dtype(dtype)), (1, 0), allow_pickle=False)
    return buffer.getvalue()


def array_from(data: bytes, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """The .npy in `data`, which must be of just this dtype and shape. Raises BenchError naming `name`."""
    file, expected = io.BytesIO(data), np.dtype(dtype)
    try:
        version = np.lib.format.read_magic(file)
        got = np.lib.format.read_array_header_1_0(file, max_header_size=1024) if version == (1, 0) else None
    except Exception:  # its parser answers garbage with a TokenError, a RecursionError ...
        raise BenchError(f"{name} is no .npy file") from None
    if got is None:
        raise BenchError(f"{name} is a .npy of version {version}; expected (1, 0)")
    _demand(got == (shape, False, expected), f"{name} is {_described(got)}; expected {expected} {shape}")
    rest = data[file.tell() :]
    _demand(len(rest) == expected.itemsize * int(np.prod(shape)), f"{name} is cut short or too long")
    if expected == np.bool_:
        _demand(set(rest) <= {0, 1}, f"{name} holds bytes that are neither false nor true")
    return np.frombuffer(rest, expected).reshape(shape).copy()


def _described(header: tuple[Any, bool, Any]) -> str:
    return ascii(f"{header[2]} {header[0]}{' in Fortran order' if header[1] else ''}")[1:-1][:200]


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BenchError(otherwise)


def json_from(data: bytes, name: str) -> Any:
    """The JSON in `data`; NaN, infinities, a key given twice and deep nesting are refused. Raises BenchError naming
    `name`."""
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{name} is not JSON ({ascii(str(error))[:200]})") from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for each in level if isinstance(each, dict | list) for item in _items(each)]
    _demand(not level, f"{name} is nested more than {MAX_DEPTH} deep")
    return value


def _items(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


class Archive:
    """A zip whose files are read by name. Raises BenchError where it is none, is too large, or is odd."""

    def __init__(self, data: bytes) -> None:
        _demand(data.count(_ENTRY) <= MAX_MEMBERS, f"it lists more than {MAX_MEMBERS} files")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except _DAMAGED as error:
            raise BenchError(f"it is no zip file ({ascii(str(error))[:200]})") from None
        names = [entry.filename for entry in self._zip.infolist()]
        self.names = frozenset(names)
        twice = [name for name, count in Counter(names).items() if count > 1]
        _demand(not twice, f"it holds two files {ascii(twice[:1])[1:-1]}")

    def read(self, name: str, most: int) -> bytes:
        """The file `name`, of at most `most` bytes: no more than that is ever unpacked."""
        entry = self._zip.NameToInfo.get(name)
        if entry is None:
            raise BenchError(f"{name} is missing")
        _demand(entry.compress_type in _METHODS and not entry.flag_bits & 1, f"{name} is encrypted or oddly packed")
        _demand(entry.file_size <= most, f"{name} is of {entry.file_size} bytes; at most {most} are expected")
        try:
            with self._zip.open(entry) as file:
                data = file.read(most + 1)
                whole = len(data) <= most and not file.read(1)
        except _DAMAGED as error:
            raise BenchError(f"{name} is damaged ({ascii(str(error))[:200]})") from None
        _demand(whole, f"{name} unpacks to more than {most} bytes")
        return data


def read_file(path: Path) -> bytes:
    """A regular file of at most MAX_FILE bytes: reading a pipe or a device may never end."""
    try:
        return read_bytes(path, MAX_FILE)
    except OSError as error:
        raise BenchError(f"cannot read it: {error.strerror}") from error
