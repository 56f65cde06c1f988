"""What this distribution offers: the module that its entry point names."""

from __future__ import annotations

import logging

from bench import Attack, Defense, hookimpl

log = logging.getLogger(__name__)


@hookimpl
def bench_attacks() -> list[type[Attack]]:
    """The attack `confetti`. Imported only when the hook is called, so that `bench --help` stays quick."""
    from .attack import Confetti

    return [Confetti]


@hookimpl
def bench_defenses() -> list[type[Defense]]:
    """The defense `gaudy`."""
    from .defense import Gaudy

    return [Gaudy]


@hookimpl
def bench_stage_finished(stage: str, seconds: float) -> None:
    """A run event: here one would report to an experiment tracker. Arguments that are not used may be left out."""
    log.info("%s took %.1f s", stage, seconds)
