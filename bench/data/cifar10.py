"""CIFAR-10 (Krizhevsky, 2009) in torchvision's own format."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from .arrays import ArrayDataset, SplitArrays


@dataclass(frozen=True, kw_only=True)
class CIFAR10(ArrayDataset):
    """CIFAR-10, 50,000 and 10,000 images of 32 px in ten classes, as torchvision keeps it on disk.

    ROOT holds cifar-10-batches-py/. Its files are pickles, the one place where the harness reads any:
    torchvision does so only after their MD5 sums were found to be the published ones. The pixels are held in
    memory (184 MB if whole).
    """

    name: ClassVar[str] = "cifar10"
    paper: ClassVar[str] = "Krizhevsky, 2009"
    url: ClassVar[str] = "https://www.cs.toronto.edu/~kriz/cifar.html"
    title: ClassVar[str] = "CIFAR-10"
    archive: ClassVar[str] = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    root: str = field(default="data", metadata={"help": "the directory that holds cifar-10-batches-py"})
    download: bool = field(default=False, metadata={"help": "fetch it (170 MB) where it is missing"})
    size: int = field(default=32, metadata={"help": "width and height in pixels; other than 32: resized"})

    def read(self) -> tuple[tuple[str, ...], SplitArrays, SplitArrays]:
        """See ArrayDataset."""
        classes, train = self._split(train=True)
        return classes, train, self._split(train=False)[1]

    def _split(self, *, train: bool) -> tuple[tuple[str, ...], SplitArrays]:
        """Class names and the arrays of one split."""
        from torchvision import datasets

        root = Path(self.root).expanduser()
        try:
            with warnings.catch_warnings():
                # The pickles hold dtypes as NumPy 1 wrote them (align=0), at which NumPy 2.4.0 to 2.4.4 warn.
                warnings.filterwarnings("ignore", message=".*align")
                data = datasets.CIFAR10(str(root), train=train, download=self.download)
        except (RuntimeError, OSError) as error:
            if self.download:
                raise self.not_fetched(error) from None
            folder = root / datasets.CIFAR10.base_folder
            state = "is incomplete or damaged" if folder.is_dir() else "is missing"
            raise self.not_there(f"{folder} {state}") from None
        pixels = data.data.transpose(0, 3, 1, 2)
        return tuple(data.classes), SplitArrays(pixels, np.array(data.targets, np.int64))
