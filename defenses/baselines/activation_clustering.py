"""Activation clustering."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import View
from bench.defenses.search.defaults import in_range

from .baseline import Baseline, clustered, features, importing

SAMPLE = 2000
"""Images of a cluster whose silhouette stands for all: it compares all pairs."""


@dataclass(frozen=True, kw_only=True)
class ActivationClustering(Baseline):
    """Activation clustering: a class that splits cleanly into a large and a small half hides poison in the small one.

    Chen et al., "Detecting backdoor attacks on deep neural networks by activation clustering" (SafeAI 2019): the
    features of one class, reduced to 10 dimensions, are cut in two by k-means. Score: how much smaller the image's
    half is than an even split (0 for the larger half, up to 1), times the silhouette of the split, clipped at 0.
    Departures: there are no labels, so k-means clusters stand in for classes; PCA stands in for ICA (the paper found
    them alike); size and silhouette, which the paper looks at by turns, are multiplied.
    """

    name: ClassVar[str] = "activation-clustering"
    paper: ClassVar[str] = (
        "Chen et al., Detecting Backdoor Attacks on Deep Neural Networks by Activation Clustering, SafeAI 2019"
    )
    url: ClassVar[str] = "https://arxiv.org/abs/1811.03728"
    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    clusters: int = field(default=10, metadata={"help": "k-means clusters that stand in for classes"})
    dimensions: int = field(default=10, metadata={"help": "principal components of each cluster's features"})

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range("clusters", self.clusters, 1)
        in_range("dimensions", self.dimensions, 1)

    def scores(self, view: View) -> NDArray[np.float64]:
        """See the class."""
        found, seed = features(view, unit=False), view.seeds("clusters").value % 2**31
        unit = found / np.linalg.norm(found, axis=1, keepdims=True).clip(1e-12)
        classes, _ = clustered(unit, self.clusters, seed)
        score = np.zeros(len(view))
        for number in range(self.clusters):
            members = np.flatnonzero(classes == number)
            if len(members) > 2 * self.dimensions:
                score[members] = self._split(found[members], seed)
        return score

    def _split(self, rows: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
        """The score of each row of one cluster's features."""
        with importing():
            from sklearn.decomposition import PCA
            from sklearn.metrics import silhouette_score

        components = min(self.dimensions, *rows.shape)
        reduced = PCA(components, svd_solver="full").fit_transform(rows)
        halves, _ = clustered(reduced, 2, seed)
        count = np.bincount(halves, minlength=2)
        if count.min() < 2:
            return np.zeros(len(rows))
        seen = np.random.RandomState(seed).permutation(len(rows))[:SAMPLE]
        if np.ptp(halves[seen]) == 0:  # of many rows chance may have chosen none of a tiny half
            return np.zeros(len(rows))
        silhouette = max(0.0, float(silhouette_score(reduced[seen], halves[seen])))
        return (1 - 2 * count[halves] / len(rows)).clip(0) * silhouette
