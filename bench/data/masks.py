"""Masks of the objects on image files: for an image ID.jpg below the root, the file ID.png below another folder."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.api import Dataset, Images
from bench.errors import BenchError

from .images import Derived, rows_of

if TYPE_CHECKING:
    from torch import Tensor


class Masked(Derived):
    """`base` with the masks below `root`, read when they are requested; `names` are the images' ids, one for each."""

    def __init__(self, base: Images, names: Sequence[str], root: Path) -> None:
        super().__init__(base)
        self._names, self._root = names, root

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        return self._base.batch(indices)

    def mask(self, index: int) -> Tensor | None:
        """White on black, at the image's shape; its middle square at `size` pixels, half grey and over is object.

        Raises BenchError for a file that is no image, or of another shape.
        """
        import torch
        from PIL import Image

        from .decode import Unreadable, open_rgb, square

        (row,) = rows_of([index], len(self)).tolist()
        file = mask_file(self._root, self._names[row])
        if not file.exists():
            return None
        try:
            found = open_rgb(file)
        except Unreadable as error:
            raise BenchError(f"Cannot read the mask {file} ({error}).") from None
        shape = self.original_size(row)
        if found.size != shape[::-1]:
            raise BenchError(
                f"The mask {file} is {found.width} x {found.height} px, its image {shape[1]} x {shape[0]}: expected "
                "the same."
            )
        grey = Image.merge("RGB", [found.convert("L")] * 3)
        return torch.from_numpy(square(grey, self.size)[0] >= 128)


def mask_file(root: Path, name: str) -> Path:
    """Where the mask of the image called `name` is expected."""
    return root / Path(name).with_suffix(".png")


def with_masks(data: Dataset, folder: str) -> Dataset:
    """`data` whose training images have the masks below `folder`; the masks' bytes enter the fingerprint.

    An image may lack one. Raises BenchError where none is there.
    """
    root = Path(folder).expanduser()
    hasher, found = hashlib.sha256(data.fingerprint.encode()), 0
    for name in data.train.ids:
        file = mask_file(root, name)
        content = hashlib.sha256(file.read_bytes()).digest() if file.is_file() else b""
        hasher.update(len(content).to_bytes(1, "little") + content)
        found += bool(content)
    if not found:
        raise BenchError(
            f"dataset.masks is {folder!r}, where no training image has a mask. Expected that of {data.train.ids[0]} at "
            f"{mask_file(root, data.train.ids[0])}: white where the object is, black elsewhere."
        )
    images = Masked(data.train.images, data.train.ids, root)
    train = dataclasses.replace(data.train, images=images)
    return dataclasses.replace(data, train=train, fingerprint=hasher.hexdigest())
