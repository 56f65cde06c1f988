"""Rows to compare defenses with. They see the truth: no defense could be one of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import BenchError, Control, Seeds, Truth


@dataclass(frozen=True, kw_only=True)
class Oracle(Control):
    """Removes exactly the poisoned images: what a perfect filter reaches."""

    name = "oracle"

    def keep(self, truth: Truth, seeds: Seeds) -> NDArray[np.bool_]:
        """Everything that is not poisoned."""
        if truth.poisoned.all():
            raise BenchError("every training image is poisoned: the oracle would leave nothing to train on")
        return ~truth.poisoned


@dataclass(frozen=True, kw_only=True)
class RandomRemoval(Control):
    """Removes as many images as another defense did, at random: what the loss of images alone does."""

    name = "random"
    reference: ClassVar[str] = "like"

    like: str = field(default="poisoncam", metadata={"help": "the defense whose number of removed images is taken"})

    def keep(self, truth: Truth, seeds: Seeds) -> NDArray[np.bool_]:
        """As many True as the rival's verdict holds."""
        if truth.reference_keep is None:
            raise ValueError("random removal needs its rival's verdict")
        keep = np.zeros(len(truth.poisoned), dtype=np.bool_)
        keep[seeds.numpy().permutation(len(keep))[: int(truth.reference_keep.sum())]] = True
        return keep


@dataclass(frozen=True, kw_only=True)
class Untrusted(Control):
    """Keeps a share of the images at random, whatever they are: what `trusted` is to be compared with."""

    name = "untrusted"

    share: float = field(default=0.1, metadata={"help": "share of all images to keep, above 0 and up to 1"})

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise BenchError(f"share is {self.share}, expected a number above 0 and up to 1")

    def keep(self, truth: Truth, seeds: Seeds) -> NDArray[np.bool_]:
        """As many as the share says, one at least."""
        return self.some_of(np.arange(len(truth.poisoned)), len(truth.poisoned), seeds)

    def some_of(self, candidates: NDArray[np.int64], count: int, seeds: Seeds) -> NDArray[np.bool_]:
        """(count,) bool: the share of `count` images is kept, drawn from the candidates (indices)."""
        keep = np.zeros(count, dtype=np.bool_)
        keep[seeds.numpy().permutation(candidates)[: max(1, round(self.share * count))]] = True
        return keep


@dataclass(frozen=True, kw_only=True)
class Trusted(Untrusted):
    """Keeps a share of the images, all of them clean: a person has looked through so many and vouches for them.

    Saha et al. (CVPR 2022) distil on 5, 10 and 25 % of the training set, without poison. Where fewer are clean than the
    share says, all of these are kept.
    """

    name = "trusted"

    def keep(self, truth: Truth, seeds: Seeds) -> NDArray[np.bool_]:
        """As many as the share says, none of them poisoned."""
        clean = np.flatnonzero(~truth.poisoned)
        if not len(clean):
            raise BenchError("every training image is poisoned: there is none to be trusted")
        return self.some_of(clean, len(truth.poisoned), seeds)


@dataclass(frozen=True, kw_only=True)
class CleanSet(Control):
    """Trains on the same images without any trigger: what there would be to measure had nobody attacked."""

    name = "clean-set"
    unpoisoned: ClassVar[bool] = True

    def keep(self, truth: Truth, seeds: Seeds) -> NDArray[np.bool_]:
        """Everything."""
        return np.ones(len(truth.poisoned), dtype=np.bool_)
