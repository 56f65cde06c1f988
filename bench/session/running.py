"""`bench.run`: one attack and one defense, from the images to the record."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

from .objects import as_settings
from .opening import configured, open_pipeline, skipped
from .result import Result

if TYPE_CHECKING:
    from bench.api import AnyDefense, Attack, DatasetPlugin, SSLMethod
    from bench.pipeline.pipeline import Pipeline
    from bench.plugins.manager import Plugins

log = logging.getLogger(__name__)


def run(
    *,
    attack: str | Attack | None = None,
    defense: str | AnyDefense | None = None,
    preset: str | Path = "laptop",
    dataset: str | DatasetPlugin | None = None,
    ssl: str | SSLMethod | None = None,
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    seed: int | None = None,
    until: str = "end",
    plugins: Sequence[str | Path] = (),
    threat_checkpoint: str | Path | None = None,
    store: str | Path | None = None,
    devices: int = 1,
    accelerator: str = "auto",
    in_place: bool = False,
    progress: bool = True,
) -> Result:
    """Attack, train, defend, train again (not with until="detection"): what `bench run` does, with the same record.

    attack, defense, dataset, ssl: a name (`bench list`), an object of a plugin's class, which may be defined in a
    notebook's cell, or None for the preset's. settings: {"train.epochs": 3} or ["train.epochs=3"]. seed: None for the
    preset's, 0. plugins: Python files of plugins that are not installed. store: a folder; None for $BENCH_STORE or
    the user's cache. in_place: run the defense in this process, so that a debugger works in it; the record says so.
    progress: show the stages in the notebook or on standard error.

    What is in the store is not computed again. Raises BenchError for whatever the caller can mend.
    """
    from bench.pipeline.stage import Machine

    from .progress import shown

    if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
        raise BenchError(f"devices is {devices!r}, expected a whole number, 1 or more")
    if isinstance(plugins, str | Path):
        plugins = [plugins]
    choices = {"attack": attack, "defense": defense, "dataset": dataset, "ssl": ssl}
    texts = as_settings(settings)
    config, known = configured(str(preset), choices, texts, seed, until, threat_checkpoint, plugins)
    machine = Machine(accelerator=accelerator, devices=devices, in_place=in_place)
    pipeline = open_pipeline(config, store, machine)
    if missing := skipped(pipeline.dataset):
        log.warning(missing)
    with shown(known, progress):
        return finished(pipeline, known)


def finished(pipeline: Pipeline, plugins: Plugins) -> Result:
    """Make the stages of a run and its record, which the store keeps; trackers hear of it."""
    from bench.pipeline.runner import make_stages
    from bench.records.build import keep_record

    plugins.notify("run_started", config=pipeline.config.resolved)
    make_stages(pipeline, plugins.notify)
    record, path = keep_record(pipeline)
    plugins.notify("run_finished", record=record)
    return Result(record=record, path=path, pipeline=pipeline, known=plugins)
