"""Which images when, and the learning rate at each step: functions of the step alone, so that a resume is exact."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bench.api import Repair
from bench.errors import BenchError, counted
from bench.seeds import Seeds

from .settings import TrainSettings


@dataclass(frozen=True)
class Schedule:
    """Steps of a training on `count` images; the last, incomplete batch of an epoch is dropped."""

    settings: TrainSettings
    count: int
    seeds: Seeds

    def __post_init__(self) -> None:
        if self.count < self.settings.batch:
            raise BenchError(
                f"{counted(self.count, 'training image is', 'training images are')} fewer than one batch of "
                f"{self.settings.batch}. Expected more images or a smaller train.batch (2 to {self.count})."
            )

    @property
    def steps_per_epoch(self) -> int:
        return self.count // self.settings.batch

    @property
    def steps(self) -> int:
        """All steps of this run."""
        full = self.steps_per_epoch * self.settings.epochs
        return full if self.settings.max_steps is None else min(full, self.settings.max_steps)

    def fraction(self, step: int) -> float:
        """Share of the whole training done before `step`, in [0, 1]."""
        return step / (self.steps_per_epoch * self.settings.epochs)

    def lr(self, step: int) -> float:
        """Linear warm-up, then half a cosine to 0 (MoCo-v3); scaled with the batch."""
        peak = self.settings.lr * self.settings.batch / 256
        warm = self.settings.warmup * self.steps_per_epoch
        if step < warm:
            return peak * min(1.0, (step + 1) / warm)  # a fractional warm-up must not overshoot
        whole = self.steps_per_epoch * self.settings.epochs
        return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(whole - warm, 1)))

    def indices(self, step: int) -> NDArray[np.int64]:
        """The global batch of `step`: image indices (batch,)."""
        epoch, at = divmod(step, self.steps_per_epoch)
        order = _order(self.seeds.child("order", epoch).value, self.count)
        return order[at * self.settings.batch : (at + 1) * self.settings.batch]


def shortened(train: TrainSettings, repair: Repair, kept: int, every: int, devices: int = 1) -> TrainSettings:
    """The section [train] of a repair on `kept` images, 2 for each device at least, after a first training on `every`.

    As many images are seen as the repair's share of the first training says, in whole epochs, one at least; warm-up
    takes the same share of them as before. Where less than a batch is kept, a batch is all of it that the devices can
    share (the learning rate scales with it).
    """
    batch = min(train.batch, kept // devices * devices)
    first, epoch = train.epochs * (every // train.batch) * train.batch, kept // batch * batch
    epochs = max(1, round(repair.length * first / epoch))
    warmup = train.warmup * epochs / train.epochs
    return replace(train, epochs=epochs, warmup=warmup, batch=batch, lr=train.lr * repair.lr)


@lru_cache(maxsize=1)
def _order(seed: int, count: int) -> NDArray[np.int64]:
    return Seeds(seed).numpy().permutation(count)
