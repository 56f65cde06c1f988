"""STL-10 (Coates, Ng and Lee, AISTATS 2011) in the publishers' binary format, which torchvision keeps on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .arrays import ArrayDataset, SplitArrays

CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
"""As class_names.txt of the archive has them, in the order of the labels."""
WIDTH = 96


@dataclass(frozen=True, kw_only=True)
class STL10(ArrayDataset):
    """STL-10: 5,000 training and 8,000 validation images of 96 px in ten classes, read from the disk when needed.

    ROOT holds stl10_binary/. The labelled training images are poisoned and trained on, its test images validate: the
    PoisonCAM paper (section V-A) counts 500 and 800 images a class. The 100,000 unlabelled images have no class to
    poison or to probe: unlabeled_X.bin is never opened and may be deleted. The other files' MD5 sums must be the
    published ones.
    """

    name: ClassVar[str] = "stl10"
    paper: ClassVar[str] = "Coates, Ng and Lee, AISTATS 2011"
    title: ClassVar[str] = "STL-10"
    archive: ClassVar[str] = "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz"
    root: str = field(default="data", metadata={"help": "the directory that holds stl10_binary"})
    download: bool = field(default=False, metadata={"help": "fetch it (2.6 GB) where it is missing"})
    size: int = field(default=WIDTH, metadata={"help": "width and height in pixels; other than 96: resized"})

    def read(self) -> tuple[tuple[str, ...], SplitArrays, SplitArrays]:
        """See ArrayDataset. The pixels are memory maps."""
        from torchvision import datasets

        folder = Path(self.root).expanduser() / datasets.STL10.base_folder
        sums = dict(datasets.STL10.train_list[:2] + datasets.STL10.test_list)
        if self.download and _faults(folder, sums):
            self._fetch()
        faults = _faults(folder, sums)
        if faults:
            raise self.not_there(f"in {folder} {', '.join(faults)}" if folder.is_dir() else f"{folder} is missing")
        return CLASSES, _open(folder, "train"), _open(folder, "test")

    def _fetch(self) -> None:
        """Not by torchvision's own method: that fetches everything again where only the unlabelled images are gone."""
        from torchvision.datasets import STL10 as Known
        from torchvision.datasets.utils import download_and_extract_archive

        root = str(Path(self.root).expanduser())
        try:
            download_and_extract_archive(Known.url, root, filename=Known.filename, md5=Known.tgz_md5)
        except (RuntimeError, OSError) as error:
            raise self.not_fetched(error) from None


def _faults(folder: Path, sums: dict[str, str]) -> list[str]:
    """'train_X.bin is missing', 'test_y.bin is damaged' ..., by the published MD5 sums."""
    from torchvision.datasets.utils import check_integrity

    missing = [name for name in sums if not (folder / name).is_file()]
    if missing:
        return [f"{name} is missing" for name in missing]
    return [f"{name} is damaged" for name, md5 in sums.items() if not check_integrity(folder / name, md5)]


def _open(folder: Path, part: str) -> SplitArrays:
    """The file holds each channel column by column, and labels from 1."""
    flat: NDArray[np.uint8] = np.memmap(folder / f"{part}_X.bin", np.uint8, mode="r")
    pixels = np.asarray(flat).reshape(-1, 3, WIDTH, WIDTH).transpose(0, 1, 3, 2)
    return SplitArrays(pixels, np.fromfile(folder / f"{part}_y.bin", np.uint8).astype(np.int64) - 1)
