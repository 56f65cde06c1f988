"""plugin-name: a dataset of discs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench import BenchError, Dataset, DatasetPlugin, Images, Seeds, Split, hookimpl


class InMemory(Images):
    """Images in one array: uint8 (N, 3, S, S). If yours are files, read only those requested, in `batch`."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels, self.size = pixels, pixels.shape[-1]

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """A copy of the images at `indices`."""
        return torch.from_numpy(self.pixels[np.asarray(indices, dtype=np.int64)])


@dataclass(frozen=True, kw_only=True)
class PluginClass(DatasetPlugin):
    """Discs on grey noise, a colour for each class.

    A start, to be replaced by your data. Say here where it comes from, and its licence.
    """

    name: ClassVar[str] = "plugin-name"
    size: int = field(default=32, metadata={"help": "width and height in pixels, 8 or more"})
    classes: int = field(default=4, metadata={"help": "number of classes, 2 or more"})
    per_class: int = field(default=40, metadata={"help": "training images of each class; half as many for validation"})

    def __post_init__(self) -> None:
        if self.size < 8 or self.classes < 2 or self.per_class < 2:
            raise BenchError("size must be 8 or more, classes and per_class 2 or more")

    def load(self) -> Dataset:
        """Both splits. Raise BenchError, saying what to do, if files are missing."""
        names = tuple(f"colour {number}" for number in range(self.classes))
        train, val = self._split("train", self.per_class), self._split("val", self.per_class // 2)
        return Dataset(name=self.name, classes=names, train=train, val=val, fingerprint=fingerprint(names, train, val))

    def _split(self, name: str, per_class: int) -> Split:
        labels = np.arange(per_class * self.classes, dtype=np.int64) % self.classes
        pixels = np.stack([self._draw(int(label), Seeds(0, name, row)) for row, label in enumerate(labels)])
        return Split(images=InMemory(pixels), labels=labels, ids=[f"{name}/{row}" for row in range(len(labels))])

    def _draw(self, label: int, seeds: Seeds) -> NDArray[np.uint8]:
        """One image, from its own seed: (3, size, size)."""
        draw, s = seeds.numpy(), self.size
        colour = Seeds(0, "colour", label).numpy().integers(0, 256, (3, 1, 1))
        down, across = np.mgrid[:s, :s] - draw.uniform(0.3 * s, 0.7 * s, (2, 1, 1))
        disc = down**2 + across**2 < (0.2 * s) ** 2
        return np.where(disc, colour, draw.integers(80, 176, (1, s, s))).astype(np.uint8)


def fingerprint(classes: tuple[str, ...], *splits: Split) -> str:
    """SHA-256 of all that makes the dataset: the same data have the same fingerprint, in whatever folder."""
    hasher = hashlib.sha256(repr(classes).encode())
    for split in splits:
        hasher.update(repr((list(split.ids), split.labels.tolist())).encode())
        hasher.update(split.images.batch(range(len(split))).numpy().tobytes())
    return hasher.hexdigest()


@hookimpl
def bench_datasets() -> list[type[DatasetPlugin]]:
    """What this plugin offers."""
    return [PluginClass]
