"""The built-in defenses and controls; they arrive through an entry point, as anybody's do."""

from __future__ import annotations

from bench import Control, Defense, TrainingDefense, hookimpl

from .baselines import BASELINES
from .controls import CleanSet, Oracle, RandomRemoval
from .icutmix import ICutMix
from .none import NoDefense
from .patchsearch import PatchSearch
from .poisoncam import PoisonCAM
from .recur import Recur

__all__ = ["CleanSet", "ICutMix", "NoDefense", "Oracle", "PatchSearch", "PoisonCAM", "RandomRemoval", "Recur"]


@hookimpl
def bench_defenses() -> list[type[Defense] | type[TrainingDefense] | type[Control]]:
    """The built-in defenses, and the controls to compare them with."""
    return [NoDefense, PatchSearch, PoisonCAM, Recur, ICutMix, *BASELINES, Oracle, RandomRemoval, CleanSet]
