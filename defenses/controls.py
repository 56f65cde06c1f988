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
class CleanSet(Control):
    """Trains on the same images without any trigger: what there would be to measure had nobody attacked."""

    name = "clean-set"
    unpoisoned: ClassVar[bool] = True

    def keep(self, truth: Truth, seeds: Seeds) -> NDArray[np.bool_]:
        """Everything."""
        return np.ones(len(truth.poisoned), dtype=np.bool_)
