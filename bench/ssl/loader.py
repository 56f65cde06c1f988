"""Batches on the device: from one resident tensor where the set is small, from worker processes where it is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.api import Images

RESIDENT_BYTES = 2 << 30
_CHUNK = 1024


def resident(images: Images, device: torch.device | str) -> Tensor | None:
    """All images as uint8 (N, 3, S, S) on `device` where they fit in RESIDENT_BYTES; else None."""
    if len(images) * 3 * images.size**2 > RESIDENT_BYTES:
        return None
    kept = torch.empty((len(images), 3, images.size, images.size), dtype=torch.uint8, device=device)
    for start in range(0, len(images), _CHUNK):
        rows = kept[start : start + _CHUNK]
        rows.copy_(images.batch(np.arange(start, start + len(rows))))
    return kept


class _Reader(Dataset[Tensor]):
    """By an array of indices: those images."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def __getitem__(self, indices: NDArray[np.int64]) -> Tensor:
        return self._images.batch(indices)


def feed(images: Images, batches: Iterable[NDArray[np.int64]], device: torch.device, workers: int) -> Iterator[Tensor]:
    """For each index array of `batches`, its images: float32 (b, 3, S, S) in [0, 1] on `device`."""
    kept = resident(images, device)
    if kept is not None:
        for indices in batches:
            yield kept[torch.from_numpy(np.asarray(indices)).to(device)].float() / 255
        return
    loader = DataLoader(
        _Reader(images),
        sampler=batches,
        batch_size=None,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=2 if workers else None,
    )
    for batch in loader:
        yield _scaled(batch) if device.type == "cpu" else batch.to(device, non_blocking=True).float() / 255


def _scaled(batch: Tensor) -> Tensor:
    """float32 in [0, 1], in memory by NumPy: of torch's, which is aligned, glibc leaves holes in the heap that fit the
    next batch not quite; with worker processes a hundred batches were held (measured: glibc 2.36, under 32 MiB each).
    """
    room = torch.from_numpy(np.empty(batch.shape, np.float32))
    return room.copy_(batch).div_(255)
