"""Rows that are made in parts and joined in order: by one process, or (shards.py) by several."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Arrays, ProgressCallback, RowFunction, RowMapper
from bench.errors import BenchError


def alone(part: RowFunction) -> RowMapper:
    """A team of one: `part` makes all rows, in this process."""

    def map_rows(what: Any, count: int, group: int, tell: ProgressCallback) -> Arrays:
        return part(what, 0, count, Counter(tell))

    return map_rows


class Counter:
    """Adds up rows done and tells the sum."""

    def __init__(self, tell: ProgressCallback) -> None:
        self._tell, self._sum = tell, 0

    def __call__(self, rows: int) -> None:
        self._sum += rows
        self._tell(self._sum)


def spans(count: int, group: int, shares: int) -> list[tuple[int, int]]:
    """range(count) as at most `shares` parts (start, stop), none empty, each start a multiple of `group`, the groups
    shared out evenly."""
    groups = -(-count // group)
    edges = [min(count, groups * share // shares * group) for share in range(shares + 1)]
    return [(start, stop) for start, stop in itertools.pairwise(edges) if start < stop]


class Rows:
    """Arrays of `count` rows, filled part by part: room for all is made once, and no part lies beside it."""

    def __init__(self, count: int) -> None:
        self.arrays: Arrays = {}
        self._count = count

    def put(self, start: int, stop: int, part: Arrays) -> None:
        """Rows start to stop. Raises BenchError for arrays of another shape, or other names than before."""
        if self.arrays and part.keys() != self.arrays.keys():
            raise BenchError(f"rows {start} to {stop} have {sorted(part)}, expected {sorted(self.arrays)}")
        for name, rows in part.items():
            room = self._room(name, rows)
            if rows.shape != (stop - start, *room.shape[1:]):
                raise BenchError(
                    f"rows {start} to {stop} of {name!r} have the shape {rows.shape}, expected "
                    f"{(stop - start, *room.shape[1:])}"
                )
            room[start:stop] = rows

    def _room(self, name: str, rows: NDArray[Any]) -> NDArray[Any]:
        """The array of all rows, of a dtype that holds these, too (text may be longer than before)."""
        room = self.arrays.get(name)
        if room is None:
            room = np.empty((self._count, *rows.shape[1:]), rows.dtype)
        self.arrays[name] = room.astype(np.promote_types(room.dtype, rows.dtype), copy=False)
        return self.arrays[name]
