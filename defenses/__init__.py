"""The built-in defenses; they arrive through an entry point, as anybody's do."""

from __future__ import annotations

from bench import Defense, hookimpl

from .none import NoDefense
from .patchsearch import PatchSearch
from .poisoncam import PoisonCAM

__all__ = ["NoDefense", "PatchSearch", "PoisonCAM"]


@hookimpl
def bench_defenses() -> list[type[Defense]]:
    """The built-in defenses."""
    return [NoDefense, PatchSearch, PoisonCAM]
