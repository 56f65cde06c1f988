"""What the baselines share: the features of all images, and one rule that turns any score into a verdict."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import Arrays, BenchError, Defense, Verdict, View

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
        score = np.asarray(view.step("scores", lambda: {"scores": self.scores(view)})["scores"], np.float64)
        z = modified_z(score)
        return Verdict(keep=z <= self.limit, score=score, facts=self.facts(score, z))

    def facts(self, score: NDArray[np.float64], z: NDArray[np.float64]) -> dict[str, Any]:
        """What the record keeps: the score at which removal began, and the largest z-score."""
        over = score[z > self.limit]
        return {"threshold": float(over.min()) if len(over) else None, "largest_z": float(z.max())}


def modified_z(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Modified z-scores (N,) of scores (N,): 0.6745 (x - median) / MAD, or by 1.2533 times the mean distance where
    MAD is 0; all 0 where the scores do not differ."""
    distance = np.abs(score - np.median(score))
    spread = np.median(distance) / 0.6745 or distance.mean() * 1.253314
    return (score - np.median(score)) / spread if spread else np.zeros_like(score)


def raw_features(view: View) -> NDArray[np.float64]:
    """The encoder's features of all images as they are, (N, dim) float64; one saved step."""

    def encode() -> Arrays:
        found = []
        for start in range(0, len(view), BATCH):
            rows = range(start, min(start + BATCH, len(view)))
            found.append(view.encoder(view.batch(rows)).double().cpu().numpy())
            view.progress("images encoded", rows.stop, len(view))
        return {"features": np.concatenate(found)}

    features: NDArray[np.float64] = view.step("features", encode)["features"]
    bad = int((~np.isfinite(features)).any(1).sum())
    if bad:
        raise BenchError(f"the encoder gives NaN or infinite features for {bad} of {len(view)} images")
    return features


def unit_features(view: View) -> NDArray[np.float64]:
    """`raw_features`, each scaled to length 1."""
    features = raw_features(view)
    unit: NDArray[np.float64] = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    return unit


def clustered(features: NDArray[np.float64], clusters: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """k-means by faiss (20 iterations): each row's cluster (N,) int64 and its distance to that centre (N,) float64."""
    import faiss

    data = np.ascontiguousarray(features, np.float32)
    clusters = min(clusters, len(data))
    model = faiss.Kmeans(data.shape[1], clusters, niter=20, seed=seed, min_points_per_centroid=1)
    model.train(data)
    squared, labels = model.index.search(data, 1)
    return labels[:, 0].astype(np.int64), np.sqrt(squared[:, 0].clip(0)).astype(np.float64)
