"""The built-in defenses and controls; they arrive through an entry point, as anybody's do."""

from __future__ import annotations

from bench import AnyDefense, Control, Defense, hookimpl

from .baselines import BASELINES
from .controls import CleanSet, Oracle, RandomRemoval, Trusted, Untrusted
from .detectors import DETECTORS
from .encoder_tests import ENCODER_TESTS
from .icutmix import ICutMix
from .none import NoDefense
from .patchsearch import PatchSearch
from .poisoncam import PoisonCAM
from .recur import Recur
from .repair import REPAIRS

__all__ = ["CleanSet", "ICutMix", "NoDefense", "Oracle", "PatchSearch", "PoisonCAM", "RandomRemoval", "Recur"]


@hookimpl
def bench_defenses() -> list[type[AnyDefense]]:
    """The built-in defenses, the controls to compare them with, test-time detectors and encoder tests."""
    controls: list[type[Control]] = [Oracle, RandomRemoval, Trusted, Untrusted, CleanSet]
    filters: list[type[Defense]] = [NoDefense, PatchSearch, PoisonCAM, Recur]
    return [*filters, ICutMix, *REPAIRS, *BASELINES, *controls, *DETECTORS, *ENCODER_TESTS]
