"""Means over seeds and differences of two lines, with intervals by Student's t distribution.

A mean's interval is its own: 95 %. The intervals of the differences of lines of two kinds (defenses with
defenses, with baselines ...) in one table and metric hold together with 95 %: each of m comparisons is made at a level
of 1 - 0.05 / m (Bonferroni). Differences are of pairs: the same seed, and so
the same threat model. Equal values in every seed have an interval of no width, which of two seeds alone tells nothing
apart: two may agree by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isclose, isnan, nan, sqrt
from statistics import fmean, stdev

ERROR = 0.05
"""The share of intervals (of a mean), or of families of them (of differences), that may miss the truth."""
_Place = tuple[int, object]
_ROUNDING = 1e-9  # values this close are equal: sums round otherwise on other machines


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean of one value a seed, and half the width of its 95 % interval: NaN for one seed, NaN both for none."""
    return (fmean(values), _half(values, ERROR)) if values else (nan, nan)


def over_seeds(by_seed: Mapping[int, Mapping[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and half the interval of each number, by its name, over the seeds that have it (not NaN)."""
    names = dict.fromkeys(name for values in by_seed.values() for name in values)
    found = {
        name: mean_interval([v for each in by_seed.values() if not isnan(v := each.get(name, nan))]) for name in names
    }
    return {name: mean for name, (mean, _) in found.items()}, {name: half for name, (_, half) in found.items()}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One line less another, seed by seed. half: half the width of the interval that holds together with those of all
    `comparisons`. seeds: those that both have."""

    mean: float
    half: float
    seeds: tuple[int, ...]
    comparisons: int

    @property
    def interval(self) -> tuple[float, float]:
        """Its lower and upper end."""
        return self.mean - self.half, self.mean + self.half

    @property
    def equal(self) -> bool:
        """Whether the two are equal in every seed."""
        return self.half == 0 and abs(self.mean) <= _ROUNDING

    @property
    def apart(self) -> bool:
        """Whether the interval leaves out zero, and where it has no width, three seeds or more agree."""
        low, high = self.interval
        known = self.half > 0 or len(self.seeds) > 2
        return known and not self.equal and (low > 0 or high < 0)


def paired(one: Mapping[_Place, float], other: Mapping[_Place, float], comparisons: int) -> Difference | None:
    """`one` less `other`, values by (seed, threat model); None for fewer than two common ones: nothing tells how much
    they vary."""
    common = one.keys() & other.keys()
    if len(common) < 2:
        return None
    values = [one[place] - other[place] for place in common]
    half = _half(values, ERROR / comparisons)
    seeds = tuple(sorted(seed for seed, _ in common))
    return Difference(mean=fmean(values), half=half, seeds=seeds, comparisons=comparisons)


def _half(values: Sequence[float], error: float) -> float:
    """Half the width of the t interval that misses the mean with probability `error`; NaN for one value."""
    if len(values) < 2:
        return nan
    if isclose(min(values), max(values), rel_tol=_ROUNDING, abs_tol=_ROUNDING):
        return 0.0
    from scipy.special import stdtrit

    return float(stdtrit(len(values) - 1, 1 - error / 2)) * stdev(values) / sqrt(len(values))
