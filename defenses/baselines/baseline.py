"""What the baselines share: the features of all images, and one rule that turns any score into a verdict."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import BenchError, Defense, Verdict, View

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 256
LIMIT = 3.5


@dataclass(frozen=True, kw_only=True)
class Baseline(Defense):
    """A score for each image; those far above the median are removed.

    The rule is the same for every baseline and knows no truth: remove where the modified z-score,
    0.6745 (score - median) / MAD, is over `limit` (Iglewicz and Hoaglin, "How to detect and handle outliers", 1993;
    their limit is 3.5). MAD is the median distance to the median; where it is 0 (half of the images share one score)
    the mean distance stands in, as they advise. Less than half of the images can be over it.
    """

    baseline: ClassVar[bool] = True
    limit: float = field(default=LIMIT, metadata={"help": "remove images whose modified z-score is over this"})

    def __post_init__(self) -> None:
        if not self.limit > 0:
            raise BenchError(f"limit is {self.limit}, expected a number over 0 (3.5)")

    @abstractmethod
    def scores(self, view: View) -> NDArray[np.float64]:
        """The suspicion of each image, (N,) float64, higher = more suspicious."""

    def clean(self, view: View) -> Verdict:
        """Remove the images whose score is an outlier on the high side."""
        return self.verdict(
            np.asarray(view.step("scores", lambda: {"scores": self.scores(view)})["scores"], np.float64)
        )

    def verdict(self, score: NDArray[np.float64]) -> Verdict:
        """What the rule makes of the scores (N,)."""
        z = modified_z(score)
        over = score[z > self.limit]
        facts = {"threshold": float(over.min()) if len(over) else None, "largest_z": float(z.max())}
        return Verdict(keep=z <= self.limit, score=score, facts=facts)


def by_batches(view: View, score: Callable[[Tensor], Tensor]) -> NDArray[np.float64]:
    """The scores (N,) of all images; score: of a batch of them, (B, 3, S, S) uint8, those of its images, (B,)."""
    starts = range(0, len(view), BATCH)
    found = [score(view.batch(range(start, min(start + BATCH, len(view))))).double().numpy() for start in starts]
    return np.concatenate(found)


def modified_z(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Modified z-scores (N,) of scores (N,): 0.6745 (x - median) / MAD, or by 1.2533 times the mean distance where
    MAD is 0; all 0 where the scores do not differ."""
    distance = np.abs(score - np.median(score))
    spread = np.median(distance) / 0.6745 or distance.mean() * 1.253314
    return (score - np.median(score)) / spread if spread else np.zeros_like(score)


@contextmanager
def importing() -> Iterator[None]:
    """Python's global generator is afterwards as before: scikit-learn's first import in a process draws from it."""
    drawn = random.getstate()
    try:
        yield
    finally:
        random.setstate(drawn)


def features(view: View, *, unit: bool) -> NDArray[np.float64]:
    """The encoder's features of all images, (N, dim); `unit`: each scaled to length 1, else as they are."""
    from bench.defenses.search.clusters import all_features

    return all_features(view, BATCH, unit=unit).astype(np.float64)


def clustered(rows: NDArray[np.float64], clusters: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """k-means as the searches have it: each row's cluster (N,) int64 and its distance to that centre (N,) float64."""
    import torch

    from bench.defenses.search.clusters import assigned, k_means

    data = np.ascontiguousarray(rows, np.float32)
    centres = torch.from_numpy(k_means(data, min(clusters, len(data)), seed))
    labels, distances = assigned(data, centres, BATCH)
    return labels, distances.astype(np.float64)
