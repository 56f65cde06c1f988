"""Makes the stages of a pipeline that are not in the store yet, and reports how it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.parallel.nodes import NodeGroup, settled
from bench.plugins.trace import of_exit
from bench.store import ArtifactBuilder, Store

from .check import check_runnable
from .events import Notify
from .pipeline import Pipeline
from .stage import VERSIONS, Stage


def make_stages(pipeline: Pipeline, notify: Notify) -> list[Stage]:
    """Every stage in order, made or found in the store; what a killed run left unfinished is resumed."""
    pipeline.store.check_writable()
    check_runnable(pipeline)
    done = []
    for stage in pipeline.stages():
        make_stage(stage, pipeline.store, notify)
        done.append(stage)
    return done


def make_stage(stage: Stage, store: Store, notify: Notify) -> None:
    """Make one stage, unless it is in the store; `notify` hears of its start, progress, measurements and end."""
    tell = partial(notify, stage=stage.name, key=stage.key, title=stage.title)
    cached = store.find(stage.name, stage.key, read=True) is not None
    tell("stage_started", cached=cached)
    if cached:
        return
    start = time.monotonic()
    about: dict[str, Any] = {"version": VERSIONS[stage.name], "config": stage.config, "inputs": stage.inputs}
    with stage.computing(), store.open(stage.name, stage.key, **about, amount=stage.work) as making:
        if not making.finished:

            def report(what: str, done: int, total: int, /, **numbers: float) -> None:
                making.tick()
                tell("stage_progress", what=what, done=done, total=total)
                if numbers:
                    tell("stage_measured", step=done, numbers=numbers)

            try:
                stage.make(making, report)
            except SystemExit as stop:
                raise of_exit(stop, stage.title) from stop
    tell("stage_finished", seconds=time.monotonic() - start)


def follow(group: NodeGroup, open_pipeline: Callable[[], Pipeline]) -> None:
    """What a process other than the first does: its part in every training that the first one begins, until that ends.

    `open_pipeline` is called at the first training: by then the first process has fetched and checked the dataset.
    """
    pipeline: Pipeline | None = None
    for key, name in group.trainings():
        pipeline = pipeline or open_pipeline()
        folder = pipeline.store.root / name
        stage = settled(partial(_training, pipeline, key, folder))
        if stage is None:
            raise BenchError(
                f"process {group.rank} would not train in {folder} what process 0 trains: start the same command "
                "(version, data, plugins) on all nodes, with the store on a file system that they share"
            )
        with stage.computing():
            stage.make(ArtifactBuilder(folder), lambda *_, **__: None)


def _training(pipeline: Pipeline, key: str, folder: Path) -> Stage | None:
    """The stage of this key, if its work folder is there and all stages before it are in the store."""
    if not folder.is_dir():
        return None
    for stage in pipeline.stages():
        if stage.key == key:
            return stage
        if not pipeline.found(stage):
            break
    return None
