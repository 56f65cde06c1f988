"""Stickers on the images of any data set: some have a mosaic that no other image has, as those of `vivid` do."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.api import Dataset, Images, Split
from bench.seeds import Seeds

from .images import Derived, rows_of
from .vivid import stick

if TYPE_CHECKING:
    from torch import Tensor

LAW = "stickers 1"
"""Changes when the same share no longer gives the same pixels."""


class Stickered(Derived):
    """`base` with a sticker on a share of its images; whether image i has one, and which, depends on `seeds` and i."""

    def __init__(self, base: Images, share: float, seeds: Seeds) -> None:
        super().__init__(base)
        self._share, self._seeds = share, seeds

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        found = self._base.batch(indices)
        for image, index in zip(found, rows_of(indices, len(self)).tolist(), strict=True):
            self._finish(image, index)
        return found

    def edited(self, index: int, edit: Callable[[Tensor], Tensor]) -> Tensor:
        found = self._base.edited(index, edit)
        self._finish(found, index)
        return found

    def _finish(self, image: Tensor, index: int) -> None:
        rng = self._seeds.child(index).numpy()
        if rng.random() < self._share:
            stick(image.numpy(), rng)


def with_stickers(data: Dataset, share: float) -> Dataset:
    """`data` with stickers on this share of both splits, drawn from no seed but their own."""

    def stickered(name: str, split: Split) -> Split:
        images = Stickered(split.images, share, Seeds(0).child("stickers", name))
        return dataclasses.replace(split, images=images)

    found = hashlib.sha256(f"{data.fingerprint} {LAW} {share!r}".encode()).hexdigest()
    train, val = stickered("train", data.train), stickered("val", data.val)
    return dataclasses.replace(data, train=train, val=val, fingerprint=found)
