"""`bench plan`: how long the stages that are not in the store will take, and what that is estimated from."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from .data.images import Subset
from .pipeline import Pipeline
from .plugins.source import identity
from .stages import Stage
from .store import canonical
from .types import Defense

TRIAL_PIXELS = 256 * 32 * 32
"""A trial step takes so many pixels in all: enough to fill two cores, and within memory for any backbone."""


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
    """Seconds per image, measured on this machine: of a training step, and of the encoder alone."""

    training: float
    encoding: float
    batch: int


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
        before = self._history(stage)
        if before is not None:
            return Row(stage.title, False, before, "an earlier stage of the same kind")
        return self._trial(stage)

    def _history(self, stage: Stage) -> float | None:
        """Seconds of the latest finished stage of the same dataset and settings (another seed, attack or selection)."""
        store = self._pipeline.store
        like = [e for e in store.entries() if e.stage == stage.name and e.finished]
        for entry in sorted(like, key=lambda e: e.created, reverse=True):
            meta = store.meta(entry.stage, entry.key)
            same_data = meta is not None and meta["inputs"].get("dataset") == stage.inputs.get("dataset")
            if meta and same_data and _same_kind(meta["config"], stage.config):
                return float(meta["seconds"])
        return None

    def _trial(self, stage: Stage) -> Row:
        config, title = self._pipeline.config, stage.title
        if stage.name in ("poison", "import", "control"):
            return Row(title, False, 1.0, "a guess: no training")
        basis = f"a trial of {self._pace.batch} images"
        if stage.name == "pretrain":
            return Row(title, False, stage.work * self._pace.training, basis)
        if stage.name == "probe":
            labelled = len(self._pipeline.dataset.train) * config.probe.fraction
            images = stage.work * (1 + len(self._pipeline.triggers)) + labelled
            return Row(title, False, images * self._pace.encoding, basis)
        forwards = self._searcher(stage).forwards(stage.work, self._pipeline.dataset.size)
        seconds = forwards * self._pace.encoding
        return Row(title, False, seconds, f"{forwards:,} encoder passes; {basis}; its own training not counted")

    def _searcher(self, stage: Stage) -> Defense:
        """The defense that a clean stage asks: the run's own, or its control's rival."""
        defense = self._pipeline.config.defense
        asked = (defense.chooser, defense.rival)
        return next(
            d for d in asked if isinstance(d, Defense) and canonical(identity(d)) == canonical(stage.config["defense"])
        )

    @cached_property
    def _pace(self) -> Pace:
        training = self._pipeline.training_on_all
        tried = canonical([training.config, training.inputs["dataset"]])
        if tried not in self._paces:
            self._paces[tried] = measure_pace(self._pipeline)
        return self._paces[tried]


def _same_kind(one: object, other: object) -> bool:
    """Equal but for the seed."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return False
    # Through JSON a tuple becomes a list: compare what the store would hold.
    return canonical({**one, "seed": 0}) == canonical({**other, "seed": 0})


def measure_pace(pipeline: Pipeline) -> Pace:
    """Three optimisation steps at the full size of model and image, on a batch that fits; the last is timed."""
    from .ssl.train import Job, pretrain
    from .stages import encoder_of

    config, images = pipeline.config, pipeline.dataset.train.images
    batch = max(2, min(config.train.batch, len(images), TRIAL_PIXELS // images.size**2))
    some = Subset(images, np.arange(min(len(images), 3 * batch)))
    settings = dataclasses.replace(config.train, batch=batch, epochs=3, warmup=0, max_steps=3, loader_workers=0)
    ticks: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            images=some,
            method=config.ssl,
            encoder=config.encoder,
            views=config.views,
            train=settings,
            seeds=config.seeds.child("trial"),
            work=Path(folder),
            scratch=Path(folder),
        )
        pretrain(job, lambda done, total: ticks.append(time.monotonic()), 1, pipeline.machine.accelerator)
        encoder = encoder_of(Path(folder), config, images.size, pipeline.machine)
        inputs = some.batch(np.arange(batch))
        encoder(inputs)
        start = time.monotonic()
        encoder(inputs).sum().item()
        encoding = (time.monotonic() - start) / batch
    return Pace(training=(ticks[-1] - ticks[-2]) / batch, encoding=encoding, batch=batch)


def duration(seconds: float) -> str:
    """Seconds in words for people: '45 s', '3 min', '5.2 h', '12 days'."""
    for limit, unit, word in ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {word}" if word != "h" else f"{seconds / unit:.1f} {word}"
    return f"{seconds / 86_400:.0f} days"
