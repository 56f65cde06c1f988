"""How near an image's nearest neighbours are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import BenchError, View

from .baseline import Baseline, unit_features


@dataclass(frozen=True, kw_only=True)
class KNNDensity(Baseline):
    """k-NN density: images with many near neighbours are suspicious, since poison is the densest part of the features.

    Score: the cosine with the k-th nearest other image, on features of length 1, exact search by faiss. The usual
    detector of outliers (Ramaswamy et al., SIGMOD 2000) the other way round.
    """

    name: ClassVar[str] = "knn-density"
    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    k: int = field(default=100, metadata={"help": "which neighbour, the image itself not counted"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise BenchError(f"k is {self.k}, expected 1 or more")

    def scores(self, view: View) -> NDArray[np.float64]:
        """See the class."""
        import faiss

        features = np.ascontiguousarray(unit_features(view), np.float32)
        index = faiss.IndexFlatIP(features.shape[1])
        index.add(features)
        similarity, _ = index.search(features, min(self.k + 1, len(features)))
        return similarity[:, -1].astype(np.float64)
