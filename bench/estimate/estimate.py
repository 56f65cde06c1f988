"""`bench plan`: how long the stages that are not in the store will take, and what that is estimated from."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.api import Defense, Images
from bench.config.config import Config
from bench.data.images import Subset
from bench.pipeline.pipeline import Pipeline
from bench.pipeline.stage import Machine, Stage
from bench.store import Store, canonical, digest

from .trial import cost_seconds, encoding_pace, probing_pace, sample_size, trial_job

TRIAL_PIXELS = 256 * 32 * 32
"""A trial step takes so many pixels at most: enough to fill two cores, and within memory for any backbone. Of smaller
steps as many are timed as make up for it."""

POISONING = 1e-5
"""Seconds to decide about an image and to write that down: measured 7e-6 (docs/growth.md)."""


@dataclass(frozen=True)
class Row:
    """One line of a plan. seconds: measured where `cached`, else estimated; None where nothing is known."""

    title: str
    cached: bool
    seconds: float | None
    basis: str

    @property
    def time(self) -> str:
        return "?" if self.seconds is None else duration(self.seconds)


@dataclass(frozen=True)
class Pace:
    """Seconds per image, measured on this machine: of a training step, and of the encoder alone.

    probing: seconds of a step of the probe's own training. prices: seconds of a unit of each cost that was asked for,
    by what it is (see types.Cost).
    """

    training: float
    encoding: float
    batch: int
    probing: float = 0.0
    prices: dict[str, float] = field(default_factory=dict)


def kind(name: str, config: Any, dataset: str | None) -> str:
    """Names the stages that take about equally long: of one dataset and one configuration, but for the seed."""
    plain = {**config, "seed": 0} if isinstance(config, dict) else config
    return digest([name, plain, dataset])


def kind_of(stage: Stage) -> str:
    """The kind of a stage."""
    return kind(stage.name, stage.config, stage.inputs.get("dataset"))


def seconds_by_kind(store: Store) -> dict[str, float]:
    """What the latest finished stage of each kind in the store has taken (another seed, attack or selection)."""
    found: dict[str, float] = {}
    for entry in sorted((e for e in store.entries() if e.finished), key=lambda e: e.created):
        meta = store.meta(entry.stage, entry.key)
        if meta is not None:
            found[kind(entry.stage, meta["config"], meta["inputs"].get("dataset"))] = float(meta["seconds"])
    return found


class Estimator:
    """Estimates the stages of one pipeline: from runs of the same kind in the store, else from a short trial."""

    def __init__(self, pipeline: Pipeline, paces: dict[str, Pace] | None = None) -> None:
        """`paces`: the trials of several estimators, by what they tried; each is made once."""
        self._pipeline = pipeline
        self._paces = {} if paces is None else paces

    def rows(self) -> list[Row]:
        """Every stage of the run; those behind an unfinished defense as if it removed nothing."""
        known = list(self._pipeline.stages())
        rows = [self.row(stage) for stage in known]
        if not self._pipeline.found(self._pipeline.clean):
            again, probe = self.row(self._pipeline.training_on_all), self.row(self._pipeline.threat_probe)
            rows.append(Row("train again on what is kept", False, again.seconds, "as long as on all images at most"))
            rows.append(Row("measure the new encoder", False, probe.seconds, "as the first"))
        return rows

    def total(self, rows: Sequence[Row]) -> str:
        """The closing sentence."""
        left = [row for row in rows if not row.cached]
        if not left:
            return "Everything is in the store: nothing will be computed."
        known = sum(row.seconds or 0.0 for row in left)
        return f"To do: {len(left)} of {len(rows)} stages, about {duration(known)} on this machine as it is now."

    def row(self, stage: Stage) -> Row:
        """One stage."""
        meta = self._pipeline.store.meta(stage.name, stage.key)
        if meta is not None:
            return Row(stage.title, True, float(meta["seconds"]), "measured")
        before = self._history.get(kind_of(stage))
        if before is not None:
            return Row(stage.title, False, before, "an earlier stage of the same kind")
        return self._trial(stage)

    @cached_property
    def _history(self) -> dict[str, float]:
        return seconds_by_kind(self._pipeline.store)

    def _trial(self, stage: Stage) -> Row:
        config, title = self._pipeline.config, stage.title
        if stage.name == "poison":
            return Row(title, False, stage.work * POISONING, "the number of images")
        if stage.name in ("import", "control"):
            return Row(title, False, 1.0, "a guess: no training")
        basis = self._basis()
        if stage.name == "pretrain":
            return Row(title, False, stage.work * self._pace.training, basis)
        if stage.name == "probe":
            return Row(title, False, self._probe(stage), basis)
        defense = config.defense.reference or config.defense.filter  # of the two only one searches
        assert isinstance(defense, Defense)
        return Row(title, False, *self._search(defense))

    def _probe(self, stage: Stage) -> float:
        """Features of the labelled images and of the validation images, clean and with each trigger; then its steps."""
        dataset, settings = self._pipeline.dataset, self._pipeline.config.probe
        labelled = len(dataset.train) * settings.fraction
        images = stage.work * (1 + len(self._pipeline.triggers)) + labelled
        steps = settings.epochs * ceil(labelled / settings.batch)
        return images * self._pace.encoding + steps * self._pace.probing

    def _search(self, defense: Defense) -> tuple[float, str]:
        """Seconds of a search, and what they come from."""
        found = search_seconds(self._pipeline.config, defense, self._images, self._pipeline.machine, self._pace)
        if not found:
            return self._encoding(defense)
        total = sum(found.values())
        parts = [f"{what} {duration(seconds)}" for what, seconds in found.items() if seconds >= total / 100]
        return total, f"a trial of each; {', '.join(parts)}"

    def _encoding(self, defense: Defense) -> tuple[float, str]:
        """The same, where encoder passes are all that is known of it."""
        forwards = defense.forwards(len(self._images), self._images.size)
        return forwards * self._pace.encoding, f"{forwards:,} encoder passes; {self._basis()}; nothing else counted"

    @property
    def _images(self) -> Images:
        return self._pipeline.dataset.train.images

    def _basis(self) -> str:
        return f"a trial of {self._pace.batch} images"

    @cached_property
    def _pace(self) -> Pace:
        training = self._pipeline.training_on_all
        tried = canonical([training.config, training.inputs["dataset"]])
        if tried not in self._paces:
            self._paces[tried] = measure_pace(self._pipeline)
        return self._paces[tried]


def search_seconds(config: Config, defense: Defense, images: Images, machine: Machine, pace: Pace) -> dict[str, float]:
    """Seconds of each of the defense's costs on these images; {} where it does not tell them."""
    costs = defense.costs(len(images), images.size)
    few = Subset(images, np.arange(sample_size(images, pace.encoding)))
    return cost_seconds(costs, pace.prices, config, defense, few, machine) if costs else {}


def measure_pace(pipeline: Pipeline) -> Pace:
    """The trial of a pipeline's training."""
    return trial(pipeline.config, pipeline.dataset.train.images, pipeline.machine, len(pipeline.dataset.classes))


def trial(config: Config, images: Images, machine: Machine, classes: int = 2) -> Pace:
    """A few optimisation steps at the full size of model and image, on a batch that fits: the median but for the first
    two. classes: of the probe."""
    from bench.pipeline.pretrain import encoder_of
    from bench.ssl.train import pretrain

    batch = max(2, min(config.train.batch, len(images), TRIAL_PIXELS // images.size**2))
    steps = 2 + max(1, TRIAL_PIXELS // (batch * images.size**2))
    ticks: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        job = trial_job(config, images, batch, steps, Path(folder))
        pretrain(job, lambda *_: ticks.append(time.monotonic()), 1, machine.accelerator)
        encoder = encoder_of(Path(folder), config, images.size, machine)
    return Pace(
        training=median(b - a for a, b in pairwise(ticks[1:])) / batch,
        encoding=encoding_pace(encoder, images, batch),
        batch=batch,
        probing=probing_pace(config.probe, encoder.dim, classes),
    )


def duration(seconds: float) -> str:
    """Seconds in words for people: '45 s', '3 min', '5.2 h', '12 days'."""
    for limit, unit, word in ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {word}" if word != "h" else f"{seconds / unit:.1f} {word}"
    return f"{seconds / 86_400:.0f} days"
