"""The built-in defenses and controls; they arrive through an entry point, as anybody's do."""

from __future__ import annotations

from bench import Control, Defense, TrainingDefense, hookimpl

from .controls import CleanSet, Oracle, RandomRemoval
from .icutmix import ICutMix
from .none import NoDefense
from .patchsearch import PatchSearch
from .poisoncam import PoisonCAM

__all__ = ["CleanSet", "ICutMix", "NoDefense", "Oracle", "PatchSearch", "PoisonCAM", "RandomRemoval"]


@hookimpl
def bench_defenses() -> list[type[Defense] | type[TrainingDefense] | type[Control]]:
    """The built-in defenses, and the controls to compare them with."""
    return [NoDefense, PatchSearch, PoisonCAM, ICutMix, Oracle, RandomRemoval, CleanSet]
