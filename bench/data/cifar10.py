"""CIFAR-10 (Krizhevsky, 2009) in torchvision's own format."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from bench.errors import BenchError

from .arrays import ArrayDataset, Arrays

ARCHIVE = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"


@dataclass(frozen=True, kw_only=True)
class CIFAR10(ArrayDataset):
    """CIFAR-10, 50,000 and 10,000 images of 32 px in ten classes, as torchvision keeps it on disk.

    ROOT holds cifar-10-batches-py/. Its files are pickles, the one place where the harness reads any:
    torchvision does so only after their MD5 sums were found to be the published ones. The pixels are held in
    memory (184 MB if whole).
    """

    name: ClassVar[str] = "cifar10"
    root: str = field(default="data", metadata={"help": "the directory that holds cifar-10-batches-py"})
    download: bool = field(default=False, metadata={"help": "fetch it (170 MB) where it is missing"})
    size: int = field(default=32, metadata={"help": "width and height in pixels; other than 32: resized"})

    def read(self) -> tuple[tuple[str, ...], Arrays, Arrays]:
        """See ArrayDataset."""
        classes, train = _read(self, train=True)
        return classes, train, _read(self, train=False)[1]


def _read(options: CIFAR10, *, train: bool) -> tuple[tuple[str, ...], Arrays]:
    """Class names and the arrays of one split."""
    from torchvision import datasets

    root = Path(options.root).expanduser()
    try:
        with warnings.catch_warnings():
            # The pickles hold dtypes as NumPy 1 wrote them (align=0), at which NumPy 2.4.0 to 2.4.4 warn.
            warnings.filterwarnings("ignore", message=".*align")
            data = datasets.CIFAR10(str(root), train=train, download=options.download)
    except (RuntimeError, OSError) as error:
        raise BenchError(_missing(root, datasets.CIFAR10.base_folder, options.download, error)) from None
    return tuple(data.classes), Arrays(data.data.transpose(0, 3, 1, 2), np.array(data.targets, np.int64))


def _missing(root: Path, folder: str, download: bool, error: Exception) -> str:
    if download:
        return f"CIFAR-10 could not be fetched into {root} ({error}). Unpack {ARCHIVE} there by hand."
    what = f"{root / folder} is incomplete or damaged" if (root / folder).is_dir() else f"{root / folder} is missing"
    return (
        f"CIFAR-10: {what}. Fetch it with --set dataset.download=true, or unpack {ARCHIVE} into a directory "
        "and name that with --set dataset.root=DIR."
    )
