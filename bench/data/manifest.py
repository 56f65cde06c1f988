"""The poison manifest: per image, whether it is poisoned and how. The only truth about a poisoned set.

On disk: JSON lines, one row per image in the order of the images, each with id, poisoned, trigger, target,
box and seed; the last four are null where the image is clean, and box also where the trigger is not at one
place. A row whose trigger has a strength has it as a seventh key.
"""

from __future__ import annotations

import functools
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Poison
from bench.errors import BenchError, counted, nearest
from bench.store import replacing

from .names import Names

COLUMNS = ("id", "poisoned", "trigger", "target", "box", "seed")
STRENGTH = "strength"  # only in rows that have one: manifests of other attacks keep their bytes


@dataclass(frozen=True)
class Manifest:
    """Ids of all N images, and a Poison for each poisoned one (sorted here by index). Arrays are read-only.

    Of 1.3 million images the ids take some 30 MB; the file is written and read line by line.

    Raises BenchError for an id that comes twice, an index outside [0, N) or given twice, and negative
    numbers.
    """

    ids: Sequence[str]
    poisons: Sequence[Poison]

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", _names(self.ids))
        plain = sorted(map(_plain, self.poisons), key=lambda poison: poison.index)
        object.__setattr__(self, "poisons", tuple(plain))
        if plain and plain[-1].index >= len(self):
            last = f"(0 to {len(self) - 1})"
            raise BenchError(f"poisoned image {plain[-1].index} is not among the {counted(len(self), 'image')} {last}")
        for one, other in itertools.pairwise(plain):
            if one.index == other.index:
                raise BenchError(f"image {one.index} is poisoned twice; expected one trigger in an image")

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def poisoned(self) -> NDArray[np.bool_]:
        """(N,) bool: is the image poisoned?"""
        return _frozen(self.trigger >= 0)

    @functools.cached_property
    def trigger(self) -> NDArray[np.int64]:
        """(N,) int64: number of the trigger, -1 where clean."""
        return self._column("trigger")

    @functools.cached_property
    def target(self) -> NDArray[np.int64]:
        """(N,) int64: target class, -1 where clean."""
        return self._column("target")

    @functools.cached_property
    def boxes(self) -> NDArray[np.int64]:
        """(N, 4) int64: (top, left, height, width) of the trigger in pixels, -1 where clean or not at one
        place.
        """
        return self._column("box", 4)

    def _column(self, name: str, *shape: int) -> NDArray[np.int64]:
        column = np.full((len(self), *shape), -1, np.int64)
        for poison in self.poisons:
            value = getattr(poison, name)
            column[poison.index] = -1 if value is None else value
        return _frozen(column)

    def lines(self) -> Iterator[bytes]:
        """The JSON lines, ASCII, one by one; equal manifests give equal bytes."""
        by_index = {poison.index: poison for poison in self.poisons}
        return (_line(name, by_index.get(index)).encode() for index, name in enumerate(self.ids))

    def to_bytes(self) -> bytes:
        """All `lines`."""
        return b"".join(self.lines())

    @classmethod
    def from_bytes(cls, data: bytes, source: str = "manifest") -> Manifest:
        """Read JSON lines. Raises BenchError naming `source`, the line, what was got and expected."""
        return cls._read(io.BytesIO(data), source)

    @classmethod
    def _read(cls, lines: Iterable[bytes], source: str) -> Manifest:
        poisons: list[Poison] = []
        place = source

        def ids() -> Iterator[str]:
            nonlocal place
            for index, line in enumerate(lines):
                place = f"{source}, line {index + 1}"
                name, poison = _parse(line.rstrip(b"\r\n"), index)
                if poison is not None:
                    poisons.append(poison)
                yield name
            place = source

        try:
            return cls(Names(ids()), poisons)
        except BenchError as error:
            raise BenchError(f"{place}: {error}") from None

    def save(self, path: Path) -> None:
        """Write the JSON lines to `path`, atomically."""
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.writelines(self.lines())

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read `path`. Raises BenchError where it cannot be read or is no manifest."""
        try:
            with path.open("rb") as file:
                return cls._read(file, str(path))
        except OSError as error:
            raise BenchError(f"cannot read the manifest {path}: {error.strerror}") from error


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def _names(ids: Sequence[str]) -> Names:
    """The ids, all different strings, else BenchError."""
    wrong = next((index for index, name in enumerate(ids) if not isinstance(name, str)), None)
    if wrong is not None:
        raise BenchError(f"the id of image {wrong} is {ids[wrong]!r}; expected a string")
    hashes = np.fromiter(map(hash, ids), np.int64, len(ids))
    if len(np.unique(hashes)) < len(hashes):  # a set of all ids would be a copy of them: made only where two may agree
        seen: dict[str, int] = {}
        for index, name in enumerate(ids):
            first = seen.setdefault(name, index)
            if first != index:
                raise BenchError(f"images {first} and {index} have the same id {name!r}; ids must be unique")
    return ids if isinstance(ids, Names) else Names(ids)


def _plain(poison: Poison) -> Poison:
    """The same truth in plain non-negative ints (generators give NumPy's), else BenchError."""
    who, box, strength = f"poisoned image {poison.index!r}", poison.box, poison.strength
    names = ("index", "trigger", "target", "seed")
    numbers = {name: _count(getattr(poison, name), f"{name} of {who}") for name in names}
    if box is not None:
        if not isinstance(box, tuple | list) or len(box) != 4 or not (box[2] and box[3]):
            expected = "(top, left, height, width) in pixels, not empty, or None"
            raise BenchError(f"box of {who} is {box!r}; expected {expected}")
        top, left, height, width = (_count(value, f"box of {who}, {box!r}, has a value that") for value in box)
        box = (top, left, height, width)
    if strength is not None:
        if isinstance(strength, bool) or not isinstance(strength, int | float | np.number) or not np.isfinite(strength):
            raise BenchError(f"strength of {who} is {strength!r}; expected a finite number, or None")
        strength = float(strength)
    return Poison(**numbers, box=box, strength=strength)


def _count(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise BenchError(f"{what} is {value!r}; expected an int from 0")
    return int(value)


def _line(name: str, poison: Poison | None) -> str:
    row: dict[str, Any] = {"id": name, "poisoned": poison is not None}
    row |= {column: getattr(poison, column, None) for column in COLUMNS[2:]}  # null where there is none
    if poison and poison.strength is not None:
        row[STRENGTH] = poison.strength
    return json.dumps(row, separators=(",", ":")) + "\n"


def _parse(line: bytes, index: int) -> tuple[str, Poison | None]:
    """One row. Values are checked when the manifest is made; here, that the row says one thing."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BenchError(f"not JSON ({error})") from None
    if not isinstance(row, dict):
        raise BenchError(f"got {type(row).__name__}, expected an object with {', '.join(COLUMNS)}")
    known = (*COLUMNS, STRENGTH)
    unknown, missing = [name for name in row if name not in known], [name for name in COLUMNS if name not in row]
    if unknown:
        raise BenchError(f"unknown key {unknown[0]!r}.{nearest(unknown[0], known)}")
    if missing:
        raise BenchError(f"missing {', '.join(missing)}")
    if not isinstance(row["id"], str):
        raise BenchError(f"id is {row['id']!r}; expected a string")
    if not isinstance(row["poisoned"], bool):
        raise BenchError(f"poisoned is {row['poisoned']!r}; expected true or false")
    truth: dict[str, Any] = {name: row.get(name) for name in known[2:]}
    if row["poisoned"]:
        return row["id"], _plain(Poison(index=index, **truth))
    if any(value is not None for value in truth.values()):
        raise BenchError("a clean image has a trigger, target, box, seed or strength; expected null in each")
    return row["id"], None
