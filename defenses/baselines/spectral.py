"""Spectral signatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import View

from .baseline import Baseline, features


@dataclass(frozen=True, kw_only=True)
class Spectral(Baseline):
    """Spectral signatures: how far a feature lies along the first principal direction of all features.

    Tran, Li and Madry, "Spectral signatures in backdoor attacks" (NeurIPS 2018). Score: the squared projection of the
    centred feature on the top right singular vector. Departures: there are no labels, so all images are one class;
    the threshold is the baselines' own rule instead of 1.5 times an assumed rate.
    """

    name: ClassVar[str] = "spectral"
    paper: ClassVar[str] = "Tran, Li and Madry, Spectral Signatures in Backdoor Attacks, NeurIPS 2018"
    url: ClassVar[str] = "https://arxiv.org/abs/1811.00636"
    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})

    def scores(self, view: View) -> NDArray[np.float64]:
        """See the class."""
        found = features(view, unit=False)
        centred = found - found.mean(0)
        # The top right singular vector of the centred features is the top eigenvector of their covariance.
        _, vectors = np.linalg.eigh(centred.T @ centred)
        squared: NDArray[np.float64] = (centred @ vectors[:, -1]) ** 2
        return squared
