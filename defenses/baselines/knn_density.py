"""How near an image's nearest neighbours are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import View
from bench.defenses.search.defaults import in_range

from .baseline import Baseline, features


@dataclass(frozen=True, kw_only=True)
class KNNDensity(Baseline):
    """k-NN density: images with many near neighbours are suspicious, as one trigger draws features together.

    Score: the cosine with the k-th nearest other image, on features of length 1, exact search by faiss. The usual
    detector of outliers (Ramaswamy et al., SIGMOD 2000) the other way round.
    """

    name: ClassVar[str] = "knn-density"
    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    k: int = field(default=100, metadata={"help": "which neighbour, the image itself not counted"})

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range("k", self.k, 1)

    def scores(self, view: View) -> NDArray[np.float64]:
        """See the class."""
        import faiss

        found = np.ascontiguousarray(features(view, unit=True), np.float32)
        index = faiss.IndexFlatIP(found.shape[1])
        index.add(found)
        similarity, _ = index.search(found, min(self.k + 1, len(found)))
        return similarity[:, -1].astype(np.float64)
