"""Makes the stages of a pipeline that are not in the store yet, and tells everybody how it goes."""

from __future__ import annotations

import time

from .listen import Listener
from .pipeline import Pipeline
from .stages import VERSIONS, Stage
from .store import Store


def make_stages(pipeline: Pipeline, listener: Listener) -> list[Stage]:
    """Every stage in order, made or found; what a killed run left unfinished is continued."""
    pipeline.store.check_writable()
    done = []
    for stage in pipeline.stages():
        make_stage(stage, pipeline.store, listener)
        done.append(stage)
    return done


def make_stage(stage: Stage, store: Store, listener: Listener) -> None:
    """One stage, unless it is there."""
    cached = store.find(stage.name, stage.key) is not None
    listener.started(stage, cached)
    if cached:
        return
    start = time.monotonic()
    about = {"version": VERSIONS[stage.name], "config": stage.config, "inputs": stage.inputs}
    with store.open(stage.name, stage.key, **about) as making:
        if not making.finished:

            def report(what: str, done: int, total: int, /, **numbers: float) -> None:
                making.tick()
                listener.progressed(stage, what, done, total)
                if numbers:
                    listener.measured(stage, done, numbers)

            stage.make(making, report)
    listener.finished(stage, time.monotonic() - start)
