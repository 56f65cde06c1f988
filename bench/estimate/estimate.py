"""How long the stages of a run will take that are not in the store; right within a factor of about two.

A stage takes as long as the last one of its kind in the store, for its own amount of work. Where there is none, a short
trial gives the encoder's pace: a training takes its images times that of a training step, a defense its encoder passes
times that of encoding, and what it says that it computes besides.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.api import Judge
from bench.errors import counted, in_one_line
from bench.pipeline.pipeline import Pipeline
from bench.pipeline.stage import Stage
from bench.store import Store, canonical, digest

from .pace import Pace, measure_pace

if TYPE_CHECKING:
    from .gpus import Fleet

POISONING = 1e-5
"""Seconds to decide about an image and to write that down: measured 7e-6."""
log = logging.getLogger(__name__)
TRAINED = 4
"""Passes of the encoder that take as long as to train a defense's own network on one image: forward, backward, and the
augmentation. Measured 5 with the preset laptop."""


@dataclass(frozen=True)
class StageEstimate:
    """One line of a plan. seconds: measured where the stage is `cached`, else estimated. basis: from what."""

    title: str
    cached: bool
    seconds: float
    basis: str

    @property
    def time(self) -> str:
        """The seconds in words."""
        return duration(self.seconds)


def kind(name: str, config: Any, dataset: str | None) -> str:
    """Names the stages that take about equally long: of one dataset and one configuration, but for the seed."""
    plain = {**config, "seed": 0} if isinstance(config, dict) else config
    return digest([name, plain, dataset])


def kind_of(stage: Stage) -> str:
    """The kind of a stage."""
    return kind(stage.name, stage.config, stage.inputs.get("dataset"))


class History:
    """What the latest finished stage of each kind has taken (another seed, attack or selection), and of how much work:
    a training on a tenth of the images is of the same kind as one on all. Those of the store, and what is learnt."""

    def __init__(self, store: Store) -> None:
        self._found: dict[str, tuple[float, int]] = {}
        for entry in sorted((e for e in store.entries() if e.finished), key=lambda e: e.created):
            meta = store.meta(entry.stage, entry.key)
            if meta is not None:
                named = kind(entry.stage, meta["config"], meta["inputs"].get("dataset"))
                self._found[named] = float(meta["seconds"]), int(meta.get("amount", 0))

    def learn(self, stage: Stage, seconds: float) -> None:
        """A stage has taken so long."""
        self._found[kind_of(stage)] = seconds, stage.work

    def seconds(self, stage: Stage) -> float | None:
        """How long a stage will take; None where none of its kind was timed."""
        seconds, work = self._found.get(kind_of(stage), (None, 0))
        if seconds is None:
            return None
        return seconds * stage.work / work if stage.work and work else seconds


def encoder_passes(defense: Judge, count: int, size: int) -> int:
    """What the defense computes for `count` images of `size` px, in passes of the encoder."""
    return int(told(defense, "forwards", count, size) + TRAINED * told(defense, "trained_on", count, size))


def told(defense: Judge, method: str, count: int, size: int) -> float:
    """What a plugin says of its own cost; 0, and a warning, where it says no number: a run does not need it."""
    try:
        found = float(getattr(defense, method)(count, size))
        if 0 <= found < math.inf:
            return found
        why = f"it returned {found}"
    except Exception as error:
        why = in_one_line(error)
    log.warning("%s() of defense %r gives no cost: %s", method, defense.name, why)
    return 0.0


class Estimator:
    """Estimates the stages of one pipeline, here or on other GPUs (`fleet`: then nothing counts as in the store).

    `paces`: the trials of several estimators, by what they tried; each is made once.
    """

    def __init__(self, pipeline: Pipeline, paces: dict[str, Pace] | None = None, fleet: Fleet | None = None) -> None:
        self._pipeline, self._fleet = pipeline, fleet
        self._paces = {} if paces is None else paces

    def rows(self) -> list[StageEstimate]:
        """Every stage of the run; those behind an unfinished defense, if there are any, as if it removed nothing."""
        pipeline = self._pipeline
        rows = [self.row(stage) for stage in pipeline.stages()]
        if pipeline.whole and not pipeline.found(pipeline.clean):
            stage, probe = pipeline.retrain_on_all, self.row(pipeline.threat_probe)
            again = self.row(stage)
            rows += [
                StageEstimate(stage.title, False, again.seconds, "as long as on all images at most"),
                StageEstimate("measure the new encoder", False, probe.seconds, "as the first"),
            ]
        return rows

    def total(self, rows: Sequence[StageEstimate]) -> str:
        """The closing sentence."""
        left = [row for row in rows if not row.cached]
        if not left:
            return "Everything is in the store: nothing will be computed."
        time = duration(sum(row.seconds for row in left))
        if self._fleet:
            return f"In all about {time}. {self._fleet.assumptions}"
        return f"To do: {len(left)} of {counted(len(rows), 'stage')}, about {time} on this machine as it is now."

    def row(self, stage: Stage) -> StageEstimate:
        """One stage."""
        if self._fleet is None:
            meta = self._pipeline.store.meta(stage.name, stage.key)
            if meta is not None:
                return StageEstimate(stage.title, True, float(meta["seconds"]), "measured")
            before = self._history.seconds(stage)
            if before is not None:
                return StageEstimate(stage.title, False, before, "an earlier stage of the same kind")
        return StageEstimate(stage.title, False, *self._computed(stage))

    @cached_property
    def _history(self) -> History:
        return History(self._pipeline.store)

    def _computed(self, stage: Stage) -> tuple[float, str]:
        """Seconds of a stage by its amount of work, and what they come from."""
        pipeline, config = self._pipeline, self._pipeline.config
        if stage.name == "poison":
            return stage.work * POISONING, "the number of images"
        if stage.name in ("import", "control"):
            return 1.0, "a guess: no training"
        if stage.name == "pretrain":
            return stage.work * self._pace.training, self._pace.basis
        if stage.name == "probe":  # features of the labelled images, and of the validation images without and with each
            labelled = len(pipeline.dataset.train) * config.probe.fraction  # trigger
            images = stage.work * (1 + len(pipeline.triggers)) + labelled
            return images * self._pace.encoding, self._pace.basis
        defense = config.defense.reference or config.defense.filter  # of the two only one searches
        assert isinstance(defense, Judge)
        size = pipeline.dataset.size
        passes, own = encoder_passes(defense, stage.work, size), told(defense, "seconds", stage.work, size)
        besides = f", {duration(own)} besides" if own else ""
        return passes * self._pace.encoding + own, f"{passes:,} encoder passes{besides}; {self._pace.basis}"

    @cached_property
    def _pace(self) -> Pace:
        pipeline = self._pipeline
        if self._fleet:
            from .gpus import pace_on

            return pace_on(self._fleet, pipeline)
        training = pipeline.training_on_all
        tried = canonical([training.config, training.inputs["dataset"]])
        if tried not in self._paces:
            self._paces[tried] = measure_pace(pipeline.config, pipeline.dataset.train.images, pipeline.machine)
        return self._paces[tried]


def duration(seconds: float) -> str:
    """Seconds in words: '45 s', '3 min', '5.2 h', '12 days'."""
    for limit, unit, word in ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {word}" if word != "h" else f"{seconds / unit:.1f} {word}"
    return f"{seconds / 86_400:.0f} days"
