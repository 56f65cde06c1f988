"""Base of the datasets whose images are in one array per split (CIFAR-10, STL-10)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.api import Dataset, DatasetPlugin, Images, Split
from bench.errors import BenchError, counted

from .fingerprint import fingerprint, image_digests
from .images import ArrayImages, Resized, Subset


class SplitArrays(NamedTuple):
    """One split as it is on disk: pixels (N, 3, S, S) uint8 (a memory map, too), class indices (N,) int64."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ArrayDataset(DatasetPlugin):
    """Base of such a dataset: `read` finds the arrays, the rest is the same for all."""

    title: ClassVar[str]
    archive: ClassVar[str]
    """Where the publishers' archive is, for messages."""

    root: str = field(default="data", metadata={"help": "the directory that holds the dataset's own"})
    download: bool = field(default=False, metadata={"help": "fetch it where it is missing"})
    per_class: int | None = field(default=None, metadata={"help": "first N training images of each class"})
    val_per_class: int | None = field(default=None, metadata={"help": "first N validation images of each class"})
    size: int = field(default=32, metadata={"help": "width and height in pixels"})

    def __post_init__(self) -> None:
        for option in ("per_class", "val_per_class", "size"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise BenchError(f"dataset.{option} is {value}, expected 1 or more.")

    def identity(self) -> dict[str, Any]:
        """The options that choose images: wherever it lies, the content is the published one."""
        options = super().identity()
        return {option: value for option, value in options.items() if option not in ("root", "download")}

    def not_there(self, what: str) -> BenchError:
        """The error for a set that is missing or broken."""
        return BenchError(
            f"{self.title}: {what}. Fetch it with --set dataset.download=true, or unpack {self.archive} into a "
            "directory and name that with --set dataset.root=DIR."
        )

    def not_fetched(self, error: Exception) -> BenchError:
        """The error for a download that failed."""
        place = Path(self.root).expanduser()
        return BenchError(
            f"{self.title} could not be fetched into {place} ({error}). Unpack {self.archive} there by hand."
        )

    @abstractmethod
    def read(self) -> tuple[tuple[str, ...], SplitArrays, SplitArrays]:
        """Class names, training split, validation split. Raises BenchError: it is missing or broken."""

    def load(self) -> Dataset:
        """The dataset; every image is read once for the fingerprint. Raises BenchError: it is missing or broken."""
        classes, train, val = self.read()
        parts = (_pick(train, self.per_class, "train", classes), _pick(val, self.val_per_class, "val", classes))
        digests = [
            (name, part.ids, image_digests(part.images, part.labels))
            for name, part in zip(("train", "val"), parts, strict=True)
        ]
        sized = [
            part if part.images.size == self.size else replace(part, images=Resized(part.images, self.size))
            for part in parts
        ]
        return Dataset(
            name=self.name,
            classes=classes,
            train=sized[0],
            val=sized[1],
            fingerprint=fingerprint(classes, digests, of="pixels", size=self.size),
        )


def _pick(arrays: SplitArrays, most: int | None, split: str, classes: tuple[str, ...]) -> Split:
    """The first `most` images of each class, in the order of the set; an id is the place in the whole set."""
    labels, rows = arrays.labels, np.arange(len(arrays.labels))
    images: Images = ArrayImages(arrays.pixels)
    if most is not None:
        counts = np.bincount(labels, minlength=len(classes))
        if most > counts.min():
            option = "per_class" if split == "train" else "val_per_class"
            few = counted(int(counts.min()), "image")
            raise BenchError(f"dataset.{option} is {most}, but {classes[counts.argmin()]!r} has {few}.")
        rows = np.sort(np.concatenate([np.flatnonzero(labels == label)[:most] for label in np.unique(labels)]))
        images = Subset(images, rows)
    return Split(images=images, labels=labels[rows], ids=[f"{split}/{row:05d}" for row in rows.tolist()])
