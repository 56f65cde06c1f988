"""The poison manifest: per image, whether it is poisoned and how. The only truth about a poisoned set.

On disk: JSON lines, one row per image in the order of the images, each with id, poisoned, trigger, target,
box and seed; the last four are null where the image is clean, and box also where the trigger is not at one
place. A row whose trigger has a strength has it as a seventh key.
"""

from __future__ import annotations

import functools
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Box, Poison
from bench.errors import BenchError, nearest
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
        _check_indices(self.poisons, len(self.ids))

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def poisoned(self) -> NDArray[np.bool_]:
        """(N,) bool: is the image poisoned?"""
        return _frozen(self._column("index") >= 0)

    @functools.cached_property
    def trigger(self) -> NDArray[np.int64]:
        """(N,) int64: number of the trigger, -1 where clean."""
        return _frozen(self._column("trigger"))

    @functools.cached_property
    def target(self) -> NDArray[np.int64]:
        """(N,) int64: target class, -1 where clean."""
        return _frozen(self._column("target"))

    @functools.cached_property
    def boxes(self) -> NDArray[np.int64]:
        """(N, 4) int64: (top, left, height, width) of the trigger in pixels, -1 where clean or not at one
        place.
        """
        boxes = np.full((len(self), 4), -1, np.int64)
        for poison in self.poisons:
            if poison.box is not None:
                boxes[poison.index] = poison.box
        return _frozen(boxes)

    def _column(self, name: str) -> NDArray[np.int64]:
        column = np.full(len(self), -1, np.int64)
        for poison in self.poisons:
            column[poison.index] = getattr(poison, name)
        return column

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
        ids = Names(_ids(lines, poisons, source))
        try:
            return cls(ids, poisons)
        except BenchError as error:
            raise BenchError(f"{source}: {error}") from None

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
    first, second = _twice(ids)
    if first != second:
        raise BenchError(f"images {first} and {second} have the same id {ids[first]!r}; ids must be unique")
    return ids if isinstance(ids, Names) else Names(ids)


def _twice(ids: Sequence[str]) -> tuple[int, int]:
    """Where an id comes first, and where again; (0, 0) where none does. A set of all ids would be a copy of them."""
    hashes = np.fromiter(map(hash, ids), np.int64, len(ids))
    if len(np.unique(hashes)) == len(hashes):
        return 0, 0
    seen: dict[str, int] = {}
    return next(((seen[name], at) for at, name in enumerate(ids) if seen.setdefault(name, at) != at), (0, 0))


def _check_indices(poisons: Sequence[Poison], count: int) -> None:
    """Sorted poisons: every index within range and given once."""
    before = -1
    for poison in poisons:
        if poison.index >= count:
            raise BenchError(f"poisoned image {poison.index} is not among the {count} images (0 to {count - 1})")
        if poison.index == before:
            raise BenchError(f"image {poison.index} is poisoned twice; expected one trigger in an image")
        before = poison.index


def _plain(poison: Poison) -> Poison:
    """The same truth in plain non-negative ints (generators give NumPy's), else BenchError."""
    who = f"poisoned image {poison.index!r}"
    numbers = {name: _count(getattr(poison, name), f"{name} of {who}") for name in ("trigger", "target", "seed")}
    index = _count(poison.index, f"index of {who}")
    strength = _plain_strength(poison.strength, f"strength of {who}")
    return Poison(index=index, box=_plain_box(poison.box, f"box of {who}"), strength=strength, **numbers)


def _plain_strength(value: object, what: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not math.isfinite(value):
        raise BenchError(f"{what} is {value!r}; expected a finite number, or None")
    return float(value)


def _plain_box(box: object, what: str) -> Box | None:
    if box is None:
        return None
    expected = "expected (top, left, height, width) in pixels, or None"
    if not isinstance(box, tuple | list) or len(box) != 4:
        raise BenchError(f"{what} is {box!r}; {expected}")
    top, left, height, width = (_count(value, f"{what}, {box!r}, has a value that") for value in box)
    if not (height and width):
        raise BenchError(f"{what} is {box!r}, which is empty; {expected}")
    return top, left, height, width


def _count(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise BenchError(f"{what} is {value!r}; expected an int from 0")
    return int(value)


def _line(name: str, poison: Poison | None) -> str:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"id": name, "poisoned": poison is not None}
    if poison is not None:
        box = None if poison.box is None else list(poison.box)
        row |= {"trigger": poison.trigger, "target": poison.target, "box": box, "seed": poison.seed}
        row |= {} if poison.strength is None else {STRENGTH: poison.strength}
    return json.dumps(row, separators=(",", ":")) + "\n"


def _ids(lines: Iterable[bytes], poisons: list[Poison], source: str) -> Iterator[str]:
    """The id of each row; its poison, if any, is added to `poisons`."""
    for index, line in enumerate(lines):
        try:
            name, poison = _parse(line.rstrip(b"\r\n"), index)
        except BenchError as error:
            raise BenchError(f"{source}, line {index + 1}: {error}") from None
        if poison is not None:
            poisons.append(poison)
        yield name


def _parse(line: bytes, index: int) -> tuple[str, Poison | None]:
    """One row. Values are checked when the manifest is made; here, that the row says one thing."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BenchError(f"not JSON ({error})") from None
    if not isinstance(row, dict):
        raise BenchError(f"got {type(row).__name__}, expected an object with {', '.join(COLUMNS)}")
    _check_columns(row)
    name, poisoned, trigger, target, box, seed = (row[column] for column in COLUMNS)
    strength = row.get(STRENGTH)
    if not isinstance(name, str):
        raise BenchError(f"id is {name!r}; expected a string")
    if not isinstance(poisoned, bool):
        raise BenchError(f"poisoned is {poisoned!r}; expected true or false")
    if not poisoned:
        if (trigger, target, box, seed, strength) != (None,) * 5:
            raise BenchError("a clean image has a trigger, target, box, seed or strength; expected null in each")
        return name, None
    poison = Poison(index=index, trigger=trigger, target=target, box=box, seed=seed, strength=strength)
    return name, _plain(poison)


def _check_columns(row: dict[str, Any]) -> None:
    for column in row:
        if column not in (*COLUMNS, STRENGTH):
            raise BenchError(f"unknown key {column!r}.{nearest(column, (*COLUMNS, STRENGTH))}")
    missing = [column for column in COLUMNS if column not in row]
    if missing:
        raise BenchError(f"missing {', '.join(missing)}")
