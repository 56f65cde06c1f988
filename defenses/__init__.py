"""The built-in defenses and controls; they arrive through an entry point, as anybody's do."""

from __future__ import annotations

from bench import Control, Defense, TrainingDefense, hookimpl

from .baselines import (
    ActivationClustering,
    CognitiveDistillation,
    Colour,
    Compactness,
    IsolationForest,
    KNNDensity,
    Spectral,
)
from .controls import CleanSet, Oracle, RandomRemoval
from .icutmix import ICutMix
from .none import NoDefense
from .patchsearch import PatchSearch
from .poisoncam import PoisonCAM
from .recur import Recur

__all__ = [
    "ActivationClustering",
    "CleanSet",
    "CognitiveDistillation",
    "Colour",
    "Compactness",
    "ICutMix",
    "IsolationForest",
    "KNNDensity",
    "NoDefense",
    "Oracle",
    "PatchSearch",
    "PoisonCAM",
    "RandomRemoval",
    "Recur",
    "Spectral",
]


@hookimpl
def bench_defenses() -> list[type[Defense] | type[TrainingDefense] | type[Control]]:
    """The built-in defenses, and the controls to compare them with."""
    cheap = [Colour, Spectral, Compactness, KNNDensity, IsolationForest, ActivationClustering]
    baselines = [*cheap, CognitiveDistillation]
    return [NoDefense, PatchSearch, PoisonCAM, Recur, ICutMix, *baselines, Oracle, RandomRemoval, CleanSet]
