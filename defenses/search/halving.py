"""Successive halving of the flip test, for search="fast": all candidates see a few images, the best of them more.

The flip set lies in an order that says nothing, so its first images are a random part of it. The search takes every
candidate's score on these; after it, in rung after rung, the best quarter goes on to RISE times as many, and the
candidates that the ranking's top is made of to all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil

import numpy as np
from numpy.typing import NDArray

RISE = 3  # times as many images of the flip set from one rung to the next
STAY = 4  # one in so many candidates goes on to it
DOUBT = 4

Count = Callable[[NDArray[np.int64], int, int], NDArray[np.int64]]
"""count(candidates, start, stop) -> their poison scores on the images start to stop of the flip set alone."""


def rungs(first: int, whole: int, candidates: int, least: int) -> Iterator[tuple[int, int]]:
    """After the `first` images, which all see: (images of the flip set seen by then, candidates that go on to them), up
    to the `whole` flip set; never fewer than `least` candidates."""
    seen, stay = first, candidates
    while seen < whole:
        seen, stay = min(whole, RISE * seen), max(min(least, candidates), ceil(stay / STAY))
        yield seen, stay


def seen_on_average(first: int, whole: int, candidates: int, least: int) -> float:
    """How many images of the flip set a candidate is pasted on."""
    seen = total = min(first, whole)
    total *= candidates
    for stop, stay in rungs(first, whole, candidates, least):
        total, seen = total + stay * (stop - seen), stop
    return total / max(1, candidates)


def halved(scores: NDArray[np.int64], first: int, whole: int, least: int, count: Count) -> NDArray[np.int64]:
    """Poison scores (n,) on the scale of the `whole` flip set, from those on its `first` images.

    A candidate given up has its rate on the images it saw for a score, as if DOUBT more had not changed, and at most
    the least score of those that went on: chance must not lift it above those that were tested on more.
    """
    scores, going, seen = scores.copy(), np.arange(len(scores)), first
    given_up: list[tuple[NDArray[np.int64], int]] = []
    for stop, stay in rungs(first, whole, len(scores), least):
        order = going[np.argsort(-scores[going], kind="stable")]
        given_up.append((order[stay:], seen))
        going = np.sort(order[:stay])
        scores[going] += count(going, seen, stop)
        seen = stop
    lowest = scores[going].min()
    for rows, saw in reversed(given_up):
        if len(rows):
            scores[rows] = np.minimum(np.round(scores[rows] * whole / (saw + DOUBT)), lowest)
            lowest = scores[rows].min()
    return scores
