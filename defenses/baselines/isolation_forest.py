"""Isolation forest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import BenchError, View

from .baseline import Baseline, raw_features


@dataclass(frozen=True, kw_only=True)
class IsolationForest(Baseline):
    """Isolation forest: features that few random cuts set apart are suspicious.

    Liu, Ting and Zhou, "Isolation forest" (ICDM 2008), scikit-learn's, 100 trees, on the features as they are.
    An ordinary detector of outliers, here to show that poison is not one: it lies where features are densest.
    """

    name: ClassVar[str] = "isolation-forest"
    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    trees: int = field(default=100, metadata={"help": "trees"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trees < 1:
            raise BenchError(f"trees is {self.trees}, expected 1 or more")

    def scores(self, view: View) -> NDArray[np.float64]:
        """See the class."""
        from sklearn import ensemble

        features = raw_features(view)
        forest = ensemble.IsolationForest(n_estimators=self.trees, random_state=view.seeds("forest").value % 2**31)
        found: NDArray[np.float64] = -forest.fit(features).score_samples(features)
        return found
