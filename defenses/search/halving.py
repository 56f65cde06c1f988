"""Successive halving of the flip test, for search="fast": all candidates see a few images, the best of them more.

The flip set lies in an order that says nothing, so its first images are a random part of it. Who goes on is decided by
the pull: how far a candidate moves the images toward the other side of the border between two clusters, whether they
cross it or not. A few images say much more by it than by how many cross. The ranking's top is decided by counts, as
the search is defined: its candidates see all of the flip set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SEEN = (4, 12, 36)
"""How many images of the flip set a candidate has seen after the search, and after each rung but the last."""
STAY = 4  # one in so many candidates goes on to the next rung ...
LEAST, LAST = 3, 1.5  # ... but so many times top_k at least, and of the last rung, on all images, exactly
DOUBT = 4


class Outcome(NamedTuple):
    """Of n candidates: their poison scores, (n,) int64, and their pulls, (n,) float64, summed over what they saw."""

    flips: NDArray[np.int64]
    pulls: NDArray[np.float64]


Test = Callable[[NDArray[np.int64], int, int], Outcome]
"""test(candidates, start, stop), on the images start to stop of the flip set alone."""


def rungs(whole: int, candidates: int, top_k: int) -> Iterator[tuple[int, int]]:
    """After what all see: (images of the flip set seen by then, candidates that go on to them), up to the `whole`."""
    stay = candidates
    for seen in SEEN[1:]:
        if seen < whole:
            stay = max(min(LEAST * top_k, candidates), ceil(stay / STAY))
            yield seen, stay
    if whole > SEEN[0]:
        yield whole, min(ceil(LAST * top_k), candidates)


def seen_on_average(whole: int, candidates: int, top_k: int) -> float:
    """How many images of the flip set a candidate is pasted on."""
    seen = min(SEEN[0], whole)
    total = seen * candidates
    for stop, stay in rungs(whole, candidates, top_k):
        total, seen = total + stay * (stop - seen), stop
    return total / max(1, candidates)


def halved(first: Outcome, whole: int, top_k: int, test: Test) -> NDArray[np.float64]:
    """Poison scores (n,) of n candidates on the scale of the `whole` flip set, from what the `first` images say.

    Candidates given up are below all that went on, and among themselves in the order in which they were given up: by
    rungs, then by pulls. Their score is the rate of flips on what they saw, as if DOUBT images more had not changed, or
    less where the order asks for it; a part of 1 keeps equals apart.
    """
    flips, pulls = (values.copy() for values in first)
    going, seen = np.arange(len(flips)), min(SEEN[0], whole)
    behind: list[NDArray[np.int64]] = []
    rates = np.zeros(len(flips))
    for stop, stay in rungs(whole, len(flips), top_k):
        order = going[np.argsort(-pulls[going], kind="stable")]
        behind.insert(0, order[stay:])
        rates[order[stay:]] = flips[order[stay:]] * whole / (seen + DOUBT)
        going = np.sort(order[:stay])
        more = test(going, seen, stop)
        flips[going], pulls[going], seen = flips[going] + more.flips, pulls[going] + more.pulls, stop
    scores = flips.astype(np.float64)
    given_up = np.concatenate([*behind, going[:0]])
    most = np.minimum.accumulate([scores[going].min(), *rates[given_up]])[1:]
    scores[given_up] = most - np.arange(1, len(given_up) + 1) / (len(given_up) + 1)
    return scores
