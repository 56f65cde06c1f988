"""Rows of arrays that are computed in spans and joined in order: by one process, or (shards.py) by several."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Arrays, ProgressCallback, RowFunction, RowMapper
from bench.errors import BenchError


def alone(function: RowFunction) -> RowMapper:
    """A mapper that computes all rows with `function`, in this process."""

    def map_rows(what: Any, count: int, group: int, progress: ProgressCallback) -> Arrays:
        return function(what, 0, count, Counter(progress))

    return map_rows


class Counter:
    """Adds up rows done and reports the sum."""

    def __init__(self, progress: ProgressCallback) -> None:
        self._progress, self._sum = progress, 0

    def __call__(self, rows: int) -> None:
        self._sum += rows
        self._progress(self._sum)


def spans(count: int, group: int, shares: int) -> list[tuple[int, int]]:
    """range(count) as at most `shares` spans (start, stop), none empty, each start a multiple of `group`, the groups
    divided evenly."""
    groups = -(-count // group)
    edges = [min(count, groups * share // shares * group) for share in range(shares + 1)]
    return [(start, stop) for start, stop in itertools.pairwise(edges) if start < stop]


class Rows:
    """Arrays of `count` rows, filled span by span: room for all is made once, and no span is held beside it."""

    def __init__(self, count: int) -> None:
        self.arrays: Arrays = {}
        self._count = count

    def put(self, start: int, stop: int, rows: Arrays) -> None:
        """Rows start to stop. Raises BenchError for arrays of another shape, or other names than before."""
        if self.arrays and rows.keys() != self.arrays.keys():
            raise BenchError(f"rows {start} to {stop} have {sorted(rows)}, expected {sorted(self.arrays)}")
        for name, array in rows.items():
            room = self._room(name, array)
            expected = (stop - start, *room.shape[1:])
            if array.shape != expected:
                raise BenchError(
                    f"rows {start} to {stop} of {name!r} have the shape {array.shape}, expected {expected}"
                )
            room[start:stop] = array

    def _room(self, name: str, rows: NDArray[Any]) -> NDArray[Any]:
        """The array of all rows, of a dtype that holds these, too (text may be longer than before)."""
        room = self.arrays.get(name)
        if room is None:
            room = np.empty((self._count, *rows.shape[1:]), rows.dtype)
        self.arrays[name] = room.astype(np.promote_types(room.dtype, rows.dtype), copy=False)
        return self.arrays[name]
