"""Images by index: of an array, of files, at another size, kept once decoded, poisoned, a part of others."""

from __future__ import annotations

import mmap
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.api import Images, Poison
from bench.errors import BenchError, counted
from bench.parallel.at_once import cores

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

Indices = Sequence[int] | NDArray[np.int64]
Apply = Callable[["Tensor", Sequence[Poison]], "Tensor"]
ApplyOriginal = Callable[["Tensor", Poison], "Tensor"]
Compose = Callable[[Poison], "Tensor"]
CacheMode = Literal["auto", "memory", "none"]

CACHE_BYTES = 1 << 30
"""Decoded images up to this many bytes in all are kept in memory by `cache="auto"`."""


def workers() -> int:
    """How many threads read and decode: one for each core that this process may use, from 2 to 16."""
    return max(2, min(16, cores()))


def rows_of(indices: Indices, count: int) -> NDArray[np.int64]:
    """`indices` as an int64 array (B,), all in [0, count). Raises IndexError, TypeError (a mask, floats)."""
    rows = np.asarray(indices)
    if rows.size == 0:
        return np.empty(0, np.int64)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise TypeError(f"expected a list of integers, got {rows.dtype} of shape {rows.shape}")
    if rows.min() < 0 or rows.max() >= count:
        raise IndexError(f"index {rows.min()} to {rows.max()} requested of {counted(count, 'image')}")
    return rows.astype(np.int64)


def keep_in_memory(cache: CacheMode, count: int, size: int) -> bool:
    """Whether to keep `count` decoded images of `size` pixels: as `cache` asks, "auto" up to CACHE_BYTES."""
    return cache == "memory" or (cache == "auto" and count * 3 * size * size <= CACHE_BYTES)


class ArrayImages(Images):
    """Images in one uint8 array (or memory map): (N, 3, S, S), or (N, S, S, 3) where that does not fit."""

    def __init__(self, array: NDArray[np.uint8]) -> None:
        if array.dtype != np.uint8 or array.ndim != 4:
            raise TypeError(f"expected uint8 images of 4 dimensions, got {array.dtype} {array.shape}")
        if array.shape[1] != 3 and array.shape[3] == 3:
            array = array.transpose(0, 3, 1, 2)
        if array.shape[1] != 3 or array.shape[2] != array.shape[3]:
            raise ValueError(f"expected (N, 3, S, S) or (N, S, S, 3), got {array.shape}")
        self.size, self._array = int(array.shape[2]), array

    def __len__(self) -> int:
        return len(self._array)

    def __reduce__(self) -> tuple[Callable[..., ArrayImages], tuple[Any, ...]]:
        """Another process opens a memory map itself: NumPy would pickle all that is in the file."""
        place = _on_disk(self._array)
        return (ArrayImages, (self._array,)) if place is None else (_mapped, place)

    def batch(self, indices: Indices) -> Tensor:
        import torch

        picked = self._array[rows_of(indices, len(self))]
        return torch.from_numpy(np.ascontiguousarray(picked))


def _on_disk(array: NDArray[np.uint8]) -> tuple[str, int, tuple[int, ...]] | None:
    """(file, first byte, shape) of a whole, contiguous memory map; None for any other array."""
    file = getattr(array, "filename", None)
    if not isinstance(array, np.memmap) or file is None or array.mode == "c" or not array.flags.c_contiguous:
        return None
    whole = isinstance(array.base, mmap.mmap)  # a part's `offset` is that of the whole
    return (str(file), int(array.offset), array.shape) if whole else None


def _mapped(file: str, offset: int, shape: tuple[int, ...]) -> ArrayImages:
    return ArrayImages(np.memmap(file, np.uint8, mode="r", offset=offset, shape=shape))


class Photographs(Images):
    """Images made of photographs of any shape, which are decoded by a few threads when they are requested: the middle
    square of each, at `size` pixels. A subclass reads them; BenchError names the one that cannot be read."""

    @abstractmethod
    def _read(self, index: int) -> bytes:
        """The file of photograph `index`. Raises Unreadable."""

    @abstractmethod
    def _name(self, index: int) -> str:
        """What to call it in messages."""

    def batch(self, indices: Indices) -> Tensor:
        import torch

        from .decode import square

        rows = rows_of(indices, len(self))
        out = np.empty((len(rows), 3, self.size, self.size), np.uint8)

        def fill(part: slice) -> None:
            for row, image in zip(rows[part], out[part], strict=True):
                image[:] = square(self._open(int(row)), self.size)

        in_threads(fill, len(rows))
        return torch.from_numpy(out)

    def original_size(self, index: int) -> tuple[int, int]:
        width, height = self._open(index).size
        return height, width

    def edited(self, index: int, edit: Callable[[Tensor], Tensor]) -> Tensor:
        import torch
        from PIL import Image

        from .decode import square

        whole = np.array(self._open(index))
        changed = edit(torch.from_numpy(whole).permute(2, 0, 1)).permute(1, 2, 0).contiguous()
        return torch.from_numpy(square(Image.fromarray(changed.numpy()), self.size).copy())

    def _open(self, index: int) -> Image.Image:
        from .decode import Unreadable, open_rgb

        try:
            return open_rgb(BytesIO(self._read(index)))
        except Unreadable as error:
            raise BenchError(
                f"Cannot read the image {self._name(index)} ({error}). When the dataset was opened, it could: restore "
                "it."
            ) from None


class FileImages(Photographs):
    """Image files. paths: relative to `root`; of many, as Names."""

    def __init__(self, paths: Sequence[str], size: int, *, root: str | Path = "") -> None:
        self.size, self._paths, self._root = size, paths, Path(root)

    def __len__(self) -> int:
        return len(self._paths)

    def _read(self, index: int) -> bytes:
        from .decode import read_file

        return read_file(self._root / self._paths[index])

    def _name(self, index: int) -> str:
        return str(self._root / self._paths[index])


class Derived(Images):
    """Images made of the images of `base`, one of each."""

    def __init__(self, base: Images, size: int | None = None) -> None:
        self.size, self._base = size or base.size, base

    def __len__(self) -> int:
        return len(self._base)

    def original_size(self, index: int) -> tuple[int, int]:
        return self._base.original_size(index)

    def edited(self, index: int, edit: Callable[[Tensor], Tensor]) -> Tensor:
        return self._base.edited(index, edit)

    def mask(self, index: int) -> Tensor | None:
        return self._base.mask(index)


class Resized(Derived):
    """`base` at another size, bicubic with antialiasing, when it is read."""

    def batch(self, indices: Indices) -> Tensor:
        return self._small(self._base.batch(indices))

    def edited(self, index: int, edit: Callable[[Tensor], Tensor]) -> Tensor:
        return self._small(self._base.edited(index, edit)[None])[0]

    def mask(self, index: int) -> Tensor | None:
        whole = self._base.mask(index)
        return None if whole is None else self._small(whole.byte()[None, None].repeat(1, 3, 1, 1) * 255)[0, 0] >= 128

    def _small(self, images: Tensor) -> Tensor:
        import torch
        from PIL import Image

        from .decode import square

        pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
        out = np.empty((len(pixels), 3, self.size, self.size), np.uint8)
        for image, target in zip(pixels, out, strict=True):
            target[:] = square(Image.fromarray(image), self.size)
        return torch.from_numpy(out)


class Decoded(Derived):
    """`base`, each image read from it once and then kept: N x 3 x S x S bytes when all have been requested.

    Several threads may read at once: at worst an image is decoded twice, to the same bytes.
    """

    def __init__(self, base: Images) -> None:
        super().__init__(base)
        self._kept = np.empty((len(base), 3, base.size, base.size), np.uint8)
        self._known = np.zeros(len(base), np.bool_)

    def batch(self, indices: Indices) -> Tensor:
        import torch

        rows = rows_of(indices, len(self))
        missing = np.unique(rows[~self._known[rows]])
        if len(missing):
            self._kept[missing] = self._base.batch(missing).numpy()
            self._known[missing] = True
        return torch.from_numpy(self._kept[rows])


class PoisonedImages(Derived):
    """`base` with an attack's pixels, which `apply` puts on the poisoned images of a batch when it is read.

    Nothing but the rows of truth is held: a set of any size is poisoned in no memory. Raises BenchError where
    an index is named twice, is outside the set, or `apply` returns anything but uint8 images of that shape.
    apply_original: where it is given, it changes the photographs that the images are made of, in place of `apply`;
    compose: where it is given, it makes the poisoned images, of whatever it holds.
    """

    def __init__(
        self,
        base: Images,
        poisons: Sequence[Poison],
        apply: Apply,
        apply_original: ApplyOriginal | None = None,
        compose: Compose | None = None,
    ) -> None:
        super().__init__(base)
        self._apply, self._apply_original, self._compose = apply, apply_original, compose
        self._poisons = {poison.index: poison for poison in poisons}
        if len(self._poisons) != len(poisons):
            raise BenchError("The attack poisons an image twice: every index may be named once.")
        wrong = [index for index in self._poisons if not 0 <= index < len(base)]
        if wrong:
            raise BenchError(f"The attack poisons image {wrong[0]} of {len(base)}: indices start at 0.")

    def batch(self, indices: Indices) -> Tensor:
        import torch

        images = self._base.batch(indices)
        if self._apply_original is not None:
            for row, index in enumerate(indices):
                if poison := self._poisons.get(int(index)):
                    edit = partial(_edited, self._apply_original, poison)
                    images[row] = self._base.edited(int(index), edit)
            return images
        found = [(row, self._poisons.get(int(index))) for row, index in enumerate(indices)]
        poisoned = [(row, poison) for row, poison in found if poison is not None]
        if poisoned:
            rows = torch.tensor([row for row, _ in poisoned])
            before, truth = images[rows], [poison for _, poison in poisoned]
            by = "compose" if self._compose else "apply"
            result = torch.stack([*map(self._compose, truth)]) if self._compose else self._apply(before, truth)
            if result.shape != before.shape or result.dtype != before.dtype:
                raise BenchError(
                    f"The attack's {by}() returned {result.dtype} {tuple(result.shape)}, "
                    f"expected {before.dtype} {tuple(before.shape)}."
                )
            images[rows] = result
        return images


def _edited(apply: ApplyOriginal, poison: Poison, original: Tensor) -> Tensor:
    return apply(original, poison)


class Subset(Images):
    """The images of `base` at `indices`, in that order."""

    def __init__(self, base: Images, indices: Indices) -> None:
        self.size, self._base = base.size, base
        self._rows = rows_of(indices, len(base))

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, indices: Indices) -> Tensor:
        return self._base.batch(self._rows[rows_of(indices, len(self))])

    def original_size(self, index: int) -> tuple[int, int]:
        return self._base.original_size(int(self._rows[index]))

    def edited(self, index: int, edit: Callable[[Tensor], Tensor]) -> Tensor:
        return self._base.edited(int(self._rows[index]), edit)

    def mask(self, index: int) -> Tensor | None:
        return self._base.mask(int(self._rows[index]))


def in_threads(work: Callable[[slice], None], count: int) -> None:
    """`work` on every slice of range(count), one slice a thread; the first exception is raised here."""
    step = max(1, -(-count // workers()))
    parts = [slice(start, min(start + step, count)) for start in range(0, count, step)]
    if len(parts) < 2:
        for part in parts:
            work(part)
        return
    # Not one pool for all: its threads would not survive fork(), and making some takes under a millisecond.
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(work, parts))
