"""The built-in defenses and controls; they arrive through an entry point, as anybody's do."""

from __future__ import annotations

from bench import Control, Defense, Repair, TrainingDefense, hookimpl

from .baselines import BASELINES
from .controls import CleanSet, Oracle, RandomRemoval, Trusted, Untrusted
from .icutmix import ICutMix
from .none import NoDefense
from .patchsearch import PatchSearch
from .poisoncam import PoisonCAM
from .recur import Recur
from .repair import REPAIRS

__all__ = ["CleanSet", "ICutMix", "NoDefense", "Oracle", "PatchSearch", "PoisonCAM", "RandomRemoval", "Recur"]


@hookimpl
def bench_defenses() -> list[type[Defense] | type[TrainingDefense] | type[Repair] | type[Control]]:
    """The built-in defenses, and the controls to compare them with."""
    controls: list[type[Control]] = [Oracle, RandomRemoval, Trusted, Untrusted, CleanSet]
    return [NoDefense, PatchSearch, PoisonCAM, Recur, ICutMix, *REPAIRS, *BASELINES, *controls]
