"""The iterative search (paper IV-C, PatchSearch): score images of every cluster, drop clusters, repeat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench import Arrays, Seeds, View

from .defaults import planned

ScoreImages = Callable[[NDArray[np.int64], Seeds, Callable[[int], None]], Arrays]
"""(indices (n,), seeds of the round, tell(number done)) -> "scores" (n,), "boxes" (n, 4), and what else is known of the
images, by name."""


@dataclass(frozen=True, eq=False)
class Scored:
    """The n images scored, in the order of scoring: indices (n,) int64, scores (n,), boxes (n, 4) int64; `more`: what
    else is known of them, by name."""

    indices: NDArray[np.int64]
    scores: NDArray[np.int64] | NDArray[np.float64]
    boxes: NDArray[np.int64]
    rounds: int
    more: Arrays = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Search:
    """Score `samples` unseen images of every live cluster, drop the clusters with the lowest scores, repeat.

    Each round drops the share `drop` of the live clusters, rounded down, at least one (scale.live_counts), of
    equals the lower index; the search ends when none is left. A cluster's score is the sum (PoisonCAM) or the
    max (PatchSearch) over its images scored so far. A cluster with no unseen image left scores none and keeps
    its score; an empty one is not live. Each round is a saved step.
    """

    samples: int = 2
    drop: float = 0.25
    cluster_score: str = "sum"

    def __call__(self, view: View, labels: NDArray[np.int64], score: ScoreImages) -> Scored:
        """Run over all images; labels (N,) are their clusters."""
        queue = Queue(labels, view.seeds("search", "order").numpy())
        live = np.unique(labels)
        plan = planned(len(live), self.samples, self.drop)
        totals = np.full(labels.max() + 1, 0.0 if self.cluster_score == "sum" else -np.inf)
        add = np.add if self.cluster_score == "sum" else np.maximum
        found: list[Arrays] = []
        number = done = 0
        while len(live):
            picked = queue.pick(live, number, self.samples)
            if len(picked):
                found.append(_score_round(view, number, picked, score, (done, plan)))
                add.at(totals, labels[picked], found[-1]["scores"])
            live = survivors(live, totals[live], self.drop)
            number, done = number + 1, done + len(picked)
        view.progress("search", plan, plan)
        joined = {name: np.concatenate([arrays[name] for arrays in found]) for name in found[0]}
        indices, scores, boxes = (joined.pop(name) for name in ("indices", "scores", "boxes"))
        return Scored(indices, scores, boxes, number, joined)


def _score_round(
    view: View, number: int, picked: NDArray[np.int64], score: ScoreImages, progress: tuple[int, int]
) -> Arrays:
    before, plan = progress

    def compute() -> Arrays:
        seeds = view.seeds("search", number)
        return {"indices": picked, **score(picked, seeds, lambda done: view.progress("search", before + done, plan))}

    return view.step(f"search-{number:03d}", compute)


class Queue:
    """Every cluster's images in a random order, drawn once: round r takes the r-th handful."""

    def __init__(self, labels: NDArray[np.int64], generator: np.random.Generator) -> None:
        shuffled = generator.permutation(len(labels))
        self._images = shuffled[np.argsort(labels[shuffled], kind="stable")].astype(np.int64)
        self._labels = labels[self._images]

    def pick(self, live: NDArray[np.int64], round_: int, samples: int) -> NDArray[np.int64]:
        """The indices that round `round_` takes of the live clusters: up to `samples` of each."""
        starts = np.searchsorted(self._labels, live, side="left") + round_ * samples
        ends = np.minimum(starts + samples, np.searchsorted(self._labels, live, side="right"))
        spans = [self._images[a:b] for a, b in zip(starts, ends, strict=True)]
        return np.concatenate(spans)


def survivors(live: NDArray[np.int64], scores: NDArray[np.float64], drop: float) -> NDArray[np.int64]:
    """The clusters left of `live` (ascending) when the `drop` share of lowest scores goes, at least one."""
    dropped = max(1, int(drop * len(live)))
    kept: NDArray[np.int64] = np.sort(live[np.argsort(scores, kind="stable")[dropped:]])
    return kept
