"""Rows that are made in parts and joined in order: by one process, or (shards.py) by several."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .types import Arrays, Part, Team, Tell


def alone(part: Part) -> Team:
    """A team of one: `part` makes all rows, in this process."""

    def team(what: Any, count: int, group: int, tell: Tell) -> Arrays:
        return part(what, 0, count, Counter(tell))

    return team


class Counter:
    """Adds up rows done and tells the sum."""

    def __init__(self, tell: Tell) -> None:
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


def join(parts: Sequence[Arrays]) -> Arrays:
    """The rows of all parts, one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
