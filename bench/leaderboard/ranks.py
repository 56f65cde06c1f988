"""Which lines of a table are told apart, and what rank that gives them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from .rows import CONTROL, HIGHER, LOST
from .statistics import Difference, paired

if TYPE_CHECKING:
    from .tables import BoardLine

DETECTION_RANK, FULL_RANK = ("AP", "R@1%"), (LOST,)
"""What ranks the lines of a table's two halves; where the first does not tell two apart, the second may."""


class Family:
    """All comparisons of the lines of one table by one number; their intervals hold together."""

    def __init__(self, lines: Sequence[BoardLine], name: str) -> None:
        self._name = name
        pairs = (len(set.intersection(*map(set, _common(*pair, name)))) >= 2 for pair in combinations(lines, 2))
        self._comparisons = max(1, sum(pairs))

    def difference(self, one: BoardLine, other: BoardLine) -> Difference | None:
        """`one` less `other`; None where fewer than two seeds have the number in both, by one threat model."""
        return paired(*_common(one, other, self._name), self._comparisons)

    def better(self, one: BoardLine, other: BoardLine) -> bool | None:
        """Whether `one` is better, None where they are not told apart."""
        found = self.difference(one, other)
        return None if found is None or not found.apart else (found.mean > 0) is HIGHER[self._name]


def _common(one: BoardLine, other: BoardLine, name: str) -> tuple[Mapping[int, float], Mapping[int, float]]:
    """The number by seed, of the seeds that both lines have by one threat model."""
    seeds = [seed for seed, threat in one.threats.items() if other.threats.get(seed) == threat]
    both = [{seed: line.by_seed[seed].get(name, math.nan) for seed in seeds} for line in (one, other)]
    first, second = ({seed: value for seed, value in found.items() if not math.isnan(value)} for found in both)
    return first, second


def ranks(lines: Sequence[BoardLine], names: Sequence[str]) -> dict[BoardLine, int]:
    """Of each line with the first number: 1 + how many lines of its kind and status are told apart from it and better.
    Controls have none: they see the truth."""
    families = [Family(lines, name) for name in names]
    ranked = [line for line in lines if line.kind != CONTROL and not math.isnan(line.number(names[0])[0])]

    def better(one: BoardLine, other: BoardLine) -> bool:
        found = (family.better(one, other) for family in families)
        return next((each for each in found if each is not None), False)

    alike: Callable[[BoardLine], tuple[str, str]] = lambda line: (line.kind, line.status)  # noqa: E731
    return {line: 1 + sum(better(other, line) for other in ranked if alike(other) == alike(line)) for line in ranked}
