"""Which lines of a table are told apart, and what rank that gives them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from .rows import CONTROL, LOST, OVER, detects, higher_is_better
from .statistics import Difference, paired

if TYPE_CHECKING:
    from .lines import BoardLine

DETECTION_RANK, FULL_RANK = ("AP", "R@1%"), (LOST,)
"""What ranks the lines of a table's two halves; where the first does not tell two apart, the second may."""


class Comparisons:
    """The comparisons of the lines of one table by one number.

    Those of two kinds of lines are a family, whose intervals hold together: defenses with each other, defenses with
    baselines, and so on. So a table tells two defenses apart as well as it did before baselines were added to it. What
    a combination detects is its filter's, whose line is compared; that and what detects nothing add to no family."""

    def __init__(self, lines: Sequence[BoardLine], name: str) -> None:
        self._higher, self._values = higher_is_better(name), {line: _values(line, name) for line in lines}
        counted = [line for line in self._values if not (detects(name) and (line.repeats or line.idle))]
        self._sizes = Counter(
            _kinds(one, other) for one, other in combinations(counted, 2) if self.compared(one, other)
        )

    def difference(self, one: BoardLine, other: BoardLine) -> Difference | None:
        """`one` less `other`; None where fewer than two seeds have the number in both, by one threat model."""
        return paired(self._values[one], self._values[other], max(1, self._sizes[_kinds(one, other)]))

    def compared(self, one: BoardLine, other: BoardLine) -> bool:
        """Whether two seeds have the number in both, by one threat model."""
        return len(self._values[one].keys() & self._values[other].keys()) >= 2

    def better(self, one: BoardLine, other: BoardLine) -> bool | None:
        """Whether `one` is better, None where they are not told apart."""
        found = self.difference(one, other)
        return None if found is None or not found.apart else (found.mean > 0) is self._higher


def _kinds(one: BoardLine, other: BoardLine) -> frozenset[str]:
    return frozenset((one.kind, other.kind))


def _values(line: BoardLine, name: str) -> dict[tuple[int, object], float]:
    """The number by seed and threat model, where it is defined."""
    found = {(seed, _threat(line, seed, name)): values.get(name, math.nan) for seed, values in line.by_seed.items()}
    return {place: value for place, value in found.items() if not math.isnan(value)}


def _threat(line: BoardLine, seed: int, name: str) -> object:
    """The threat model behind a number: of a column over attacks that of the column."""
    threat = line.threats.get(seed)
    if not isinstance(threat, Mapping):
        return threat
    return threat.get(name.partition(OVER)[2])


def ranks(lines: Sequence[BoardLine], names: Sequence[str]) -> dict[BoardLine, int]:
    """Of each line with the first number: 1 + how many lines of its kind and status are told apart from it and better,
    but no rank above a line whose means are better. Controls have none: they see the truth. Nor has a line that cannot
    be compared with any other of its kind and status: that none is better says nothing then."""
    compared = [Comparisons(lines, name) for name in names]

    def better(one: BoardLine, other: BoardLine) -> bool:
        found = (each.better(one, other) for each in compared)
        return next((each for each in found if each is not None), False)

    alike: Callable[[BoardLine], tuple[str, str]] = lambda line: (line.kind, line.status)  # noqa: E731
    judged = [line for line in lines if line.kind != CONTROL and not math.isnan(line.number(names[0])[0])]
    ranked = [
        line
        for line in judged
        if any(
            other is not line and alike(other) == alike(line) and compared[0].compared(line, other) for other in judged
        )
    ]
    found: dict[BoardLine, int] = {}
    last: dict[tuple[str, str], int] = {}
    for line in sorted(ranked, key=lambda line: by_means(line, names)):
        rank = 1 + sum(better(other, line) for other in ranked if alike(other) == alike(line))
        found[line] = last[alike(line)] = max(rank, last.get(alike(line), 1))
    return {line: found[line] for line in ranked}


def by_means(line: BoardLine, names: Sequence[str]) -> tuple[float, ...]:
    """What lines are sorted by, the best first; a number that is undefined comes last."""
    means = [line.number(name)[0] * (1 if higher_is_better(name) is False else -1) for name in names]
    return tuple(math.inf if math.isnan(mean) else mean for mean in means)
