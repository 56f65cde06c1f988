"""CIFAR-10 (Krizhevsky, 2009) in torchvision's own format."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.types import Dataset, DatasetPlugin, Images, Split

from .fingerprint import array_digest, fingerprint
from .images import ArrayImages, Resized

ARCHIVE = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"


@dataclass(frozen=True, kw_only=True)
class CIFAR10(DatasetPlugin):
    """CIFAR-10, 50,000 and 10,000 images of 32 px in ten classes, as torchvision keeps it on disk.

    ROOT holds cifar-10-batches-py/. Its files are pickles, the one place where the harness reads any:
    torchvision does so only after their MD5 sums were found to be the published ones.
    """

    name: ClassVar[str] = "cifar10"
    root: str = field(default="data", metadata={"help": "the directory that holds cifar-10-batches-py"})
    download: bool = field(default=False, metadata={"help": "fetch it (170 MB) where it is missing"})
    per_class: int | None = field(default=None, metadata={"help": "first N training images of each class"})
    val_per_class: int | None = field(default=None, metadata={"help": "first N validation images of each class"})
    size: int = field(default=32, metadata={"help": "width and height in pixels; other than 32: resized"})

    def __post_init__(self) -> None:
        for option in ("per_class", "val_per_class", "size"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise BenchError(f"dataset.{option} is {value}, expected 1 or more.")

    def identity(self) -> dict[str, Any]:
        """The options that choose images: wherever it lies, the content is the published one."""
        options = super().identity()
        return {option: value for option, value in options.items() if option not in ("root", "download")}

    def load(self) -> Dataset:
        """The dataset, its pixels in memory (184 MB if whole). Raises BenchError: it is missing or broken."""
        classes, train = _read(self, train=True)
        _, val = _read(self, train=False)
        parts = [
            _pick(*train, self.per_class, "train", classes),
            _pick(*val, self.val_per_class, "val", classes),
        ]
        digests = [
            (name, part.ids, map(array_digest, part.labels, part.pixels))
            for name, part in zip(("train", "val"), parts, strict=True)
        ]
        return Dataset(
            name=self.name,
            classes=classes,
            train=parts[0].split(self.size),
            val=parts[1].split(self.size),
            fingerprint=fingerprint(classes, digests, of="pixels", size=self.size),
        )


@dataclass(frozen=True)
class _Part:
    """Images (N, 3, 32, 32) uint8, class indices (N,) int64 and ids of one split."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    ids: list[str]

    def split(self, size: int) -> Split:
        images: Images = ArrayImages(self.pixels)
        if size != images.size:
            images = Resized(images, size)
        return Split(images=images, labels=self.labels, ids=self.ids)


def _read(options: CIFAR10, *, train: bool) -> tuple[tuple[str, ...], tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Class names; pixels (N, 3, 32, 32) uint8 and class indices (N,) int64 of one split."""
    from torchvision import datasets

    root = Path(options.root).expanduser()
    try:
        with warnings.catch_warnings():
            # The pickles hold dtypes as NumPy 1 wrote them (align=0), at which NumPy 2.4.0 to 2.4.4 warn.
            warnings.filterwarnings("ignore", message=".*align")
            data = datasets.CIFAR10(str(root), train=train, download=options.download)
    except (RuntimeError, OSError) as error:
        raise BenchError(_missing(root, datasets.CIFAR10.base_folder, options.download, error)) from None
    return tuple(data.classes), (data.data.transpose(0, 3, 1, 2), np.array(data.targets, np.int64))


def _missing(root: Path, folder: str, download: bool, error: Exception) -> str:
    if download:
        return f"CIFAR-10 could not be fetched into {root} ({error}). Unpack {ARCHIVE} there by hand."
    what = f"{root / folder} is incomplete or damaged" if (root / folder).is_dir() else f"{root / folder} is missing"
    return (
        f"CIFAR-10: {what}. Fetch it with --set dataset.download=true, or unpack {ARCHIVE} into a directory "
        "and name that with --set dataset.root=DIR."
    )


def _pick(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    most: int | None,
    split: str,
    classes: tuple[str, ...],
) -> _Part:
    """The first `most` images of each class, in the order of the set; an id is the place in the whole set."""
    counts = np.bincount(labels, minlength=len(classes))
    if most is not None and most > counts.min():
        option = "per_class" if split == "train" else "val_per_class"
        raise BenchError(f"dataset.{option} is {most}, but {classes[counts.argmin()]!r} has {counts.min()} images.")
    rows = np.arange(len(labels)) if most is None else _first(labels, most)
    return _Part(pixels[rows], labels[rows], [f"{split}/{row:05d}" for row in rows])


def _first(labels: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Indices, increasing, of the first `most` of each label."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:most] for label in np.unique(labels)]))
