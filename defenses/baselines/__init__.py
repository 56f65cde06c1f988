"""Baselines that any reader would think of: one score for each image, one rule for the threshold."""

from __future__ import annotations

from .activation_clustering import ActivationClustering
from .cognitive_distillation import CognitiveDistillation
from .colour import Colour
from .colour_count import ColourCount
from .compactness import Compactness
from .isolation_forest import IsolationForest
from .knn_density import KNNDensity
from .palette import Palette
from .spectral import Spectral

BASELINES = [
    Colour,
    Palette,
    ColourCount,
    Spectral,
    Compactness,
    KNNDensity,
    IsolationForest,
    ActivationClustering,
    CognitiveDistillation,
]
