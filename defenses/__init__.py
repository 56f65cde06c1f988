"""The built-in defenses and controls; they arrive through an entry point, as anybody's do."""

from __future__ import annotations

from bench import Control, Defense, Detector, EncoderTest, TrainingDefense, hookimpl

from .baselines import BASELINES
from .controls import CleanSet, Oracle, RandomRemoval
from .detectors import DETECTORS
from .encoder_tests import ENCODER_TESTS
from .icutmix import ICutMix
from .none import NoDefense
from .patchsearch import PatchSearch
from .poisoncam import PoisonCAM
from .recur import Recur

__all__ = ["CleanSet", "ICutMix", "NoDefense", "Oracle", "PatchSearch", "PoisonCAM", "RandomRemoval", "Recur"]


Offered = type[Defense] | type[TrainingDefense] | type[Control] | type[Detector] | type[EncoderTest]


@hookimpl
def bench_defenses() -> list[Offered]:
    """The built-in defenses, the controls to compare them with, test-time detectors and encoder tests."""
    return [
        NoDefense,
        PatchSearch,
        PoisonCAM,
        Recur,
        ICutMix,
        *BASELINES,
        Oracle,
        RandomRemoval,
        CleanSet,
        *DETECTORS,
        *ENCODER_TESTS,
    ]
