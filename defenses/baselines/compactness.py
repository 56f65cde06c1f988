"""How tight an image's cluster is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import View
from bench.defenses.search.defaults import in_range

from .baseline import Baseline, clustered, features


@dataclass(frozen=True, kw_only=True)
class Compactness(Baseline):
    """Compactness: images of a tight cluster are suspicious, since one trigger makes features alike.

    Score: minus the mean distance of the images of its k-means cluster to their centre, on features of length 1.
    No paper.
    """

    name: ClassVar[str] = "compactness"
    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    clusters: int = field(default=32, metadata={"help": "k-means clusters"})

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range("clusters", self.clusters, 2)

    def scores(self, view: View) -> NDArray[np.float64]:
        """See the class."""
        labels, distances = clustered(features(view, unit=True), self.clusters, view.seeds("clusters").value % 2**31)
        count = np.bincount(labels, minlength=self.clusters)
        means: NDArray[np.float64] = np.bincount(labels, distances, self.clusters) / count.clip(1)
        score: NDArray[np.float64] = -means[labels]
        return score
