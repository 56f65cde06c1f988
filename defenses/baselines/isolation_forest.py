"""Isolation forest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import View
from bench.defenses.search.defaults import in_range

from .baseline import Baseline, features, importing


@dataclass(frozen=True, kw_only=True)
class IsolationForest(Baseline):
    """Isolation forest: features that few random cuts set apart are suspicious.

    Liu, Ting and Zhou, "Isolation forest" (ICDM 2008), scikit-learn's, 100 trees, on the features as they are.
    An ordinary detector of outliers, to compare those with that look for what is dense.
    """

    name: ClassVar[str] = "isolation-forest"
    paper: ClassVar[str] = "Liu, Ting and Zhou, Isolation Forest, ICDM 2008"
    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    trees: int = field(default=100, metadata={"help": "trees"})

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range("trees", self.trees, 1)

    def scores(self, view: View) -> NDArray[np.float64]:
        """See the class."""
        with importing():
            from sklearn import ensemble

        found = features(view, unit=False)
        forest = ensemble.IsolationForest(n_estimators=self.trees, random_state=view.seeds("forest").value % 2**31)
        score: NDArray[np.float64] = -forest.fit(found).score_samples(found)
        return score
