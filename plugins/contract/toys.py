"""Toy data for the contract kit and a plugin's own tests: images, a linear encoder, a view of them.

All of it is small, deterministic, made in memory, and draws from no global generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.api import Arrays, Encoder, Images, ProgressCallback, RowFunction, RowMapper, Split, SplitInfo, View
from bench.errors import UndeclaredNeed
from bench.seeds import Seeds

CLASSES = tuple(f"toy{index}" for index in range(10))
PATCH = 5
"""Width in pixels of the patch that `planted` pastes."""


class ToyImages(Images):
    """Images held in memory: uint8 (N, 3, S, S)."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels, self.size = pixels, int(pixels.shape[-1])

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """A copy of the images at `indices`."""
        return self.pixels[torch.as_tensor(np.asarray(indices, dtype=np.int64))].clone()

    def mask(self, index: int) -> Tensor:
        """The middle of the image, half as wide."""
        found, quarter = torch.zeros(self.size, self.size, dtype=torch.bool), self.size // 4
        found[quarter : self.size - quarter, quarter : self.size - quarter] = True
        return found


@dataclass(frozen=True)
class Toy:
    """A toy data set: `count` images of `size` px, image i of class i % 10, drawn from `seed`."""

    count: int = 240
    size: int = 24
    seed: int = 0

    def split(self) -> Split:
        """Striped pictures: each class has its colour and angle, each image its phase and noise."""
        ids = [f"toy-{index}" for index in range(self.count)]
        return Split(images=ToyImages(self._pixels()), labels=self._labels(), ids=ids)

    def info(self) -> SplitInfo:
        """What an attack may know of it; a fresh copy at each call."""
        mask = ToyImages(torch.empty(0, 3, self.size, self.size)).mask
        return SplitInfo(labels=self._labels(), classes=CLASSES, size=self.size, mask=mask)

    def planted(self) -> Tensor:
        """The images, with a patch of 5 px in four colours pasted on every other one of class 0."""
        pixels = self._pixels()
        corners = Seeds(self.seed, "planted").numpy().integers(0, self.size - PATCH + 1, (self.count, 2))
        for index in range(0, self.count, 20):
            top, left = corners[index]
            pixels[index, :, top : top + PATCH, left : left + PATCH] = _patch()
        return pixels

    def _labels(self) -> NDArray[np.int64]:
        return np.arange(self.count, dtype=np.int64) % len(CLASSES)

    def _pixels(self) -> Tensor:
        draw = Seeds(self.seed, "toy").numpy()
        label = self._labels()[:, None, None]
        colour = Seeds(self.seed, "colours").numpy().uniform(0.2, 0.7, (len(CLASSES), 3))[self._labels()]
        down, across = np.mgrid[: self.size, : self.size] / self.size
        angle = np.pi * label / len(CLASSES)
        wave = np.cos(12 * (np.cos(angle) * across + np.sin(angle) * down) + draw.uniform(0, 6, label.shape))
        noise = draw.normal(0, 0.05, (self.count, 3, self.size, self.size))
        picture = colour[:, :, None, None] * (1 + 0.25 * wave[:, None]) + noise
        return torch.from_numpy((255 * picture.clip(0, 1)).astype(np.uint8))


def _patch() -> Tensor:
    colours = torch.tensor([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0]], dtype=torch.uint8)
    cells = torch.arange(PATCH * PATCH).reshape(PATCH, PATCH) % len(colours)
    return colours[cells].permute(2, 0, 1)


class ToyEncoder:
    """A linear encoder: random 4 px filters, averaged over the image. `dim` features on the CPU."""

    def __init__(self, dim: int = 16, seed: int = 0) -> None:
        # On "meta" the usual initialisation does not draw from torch's global generator.
        filters = nn.Conv2d(3, dim, kernel_size=4, stride=4, bias=False, device="meta")
        weight = torch.randn(filters.weight.shape, generator=Seeds(seed, "encoder").torch()) / 7
        filters.weight = nn.Parameter(weight, requires_grad=False)
        self.dim = dim
        self.device = torch.device("cpu")
        self.module: nn.Module = nn.Sequential(filters, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 [0, 255] or float [0, 1] -> float32, about zero mean and unit variance."""
        scaled = images.float() / 255 if images.dtype == torch.uint8 else images.float()
        return (scaled - 0.5) / 0.25

    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, dim) float32, without gradients."""
        with torch.no_grad():
            features: Tensor = self.module(self.prepare(images))
        return features


class ToyView:
    """A view as the harness gives it, over a tensor of images uint8 (N, 3, S, S).

    `touched` collects the needs that were used, declared or not; `notebook` holds the saved steps by
    name: handed to another view, it makes a run that was killed and continues.
    """

    def __init__(
        self,
        images: Tensor,
        *,
        needs: frozenset[str] = frozenset({"encoder"}),
        encoder: Encoder | None = None,
        seed: int = 0,
        notebook: dict[str, Arrays] | None = None,
    ) -> None:
        self._images = ToyImages(images)
        self._needs = needs
        self._encoder = encoder or ToyEncoder()
        self._root = Seeds(seed)
        self.notebook = {} if notebook is None else notebook
        self.touched: set[str] = set()
        self.size = self._images.size
        self.device = torch.device("cpu")

    def __len__(self) -> int:
        return len(self._images)

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """A copy of the images at `indices`."""
        return self._images.batch(indices)

    @property
    def encoder(self) -> Encoder:
        """The encoder; UndeclaredNeed without the need "encoder"."""
        self.touched.add("encoder")
        if "encoder" not in self._needs:
            raise UndeclaredNeed("the encoder was asked for, but `needs` does not list it")
        return self._encoder

    def seeds(self, *names: str | int) -> Seeds:
        """The node under these names."""
        return self._root.child(*names)

    def step(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """`compute()` as it comes back from a disk; TypeError for anything but a dict of plain arrays."""
        if name not in self.notebook:
            self.notebook[name] = _plain(name, compute())
        return {key: value.copy() for key, value in self.notebook[name].items()}

    def map_rows(self, make: Callable[[View], RowFunction]) -> RowMapper:
        """The rows in two parts where they can be cut, as if by two devices."""
        part = make(self)

        def both(what: Any, count: int, group: int, tell: ProgressCallback) -> Arrays:
            middle = count // 2 // group * group
            edges = [(0, middle), (middle, count)] if middle else [(0, count)]
            parts = [part(what, *edge, lambda rows: None) for edge in edges]
            tell(count)
            return {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}

        return both

    def progress(self, what: str, done: int, total: int) -> None:
        """Nobody is told, but ValueError unless 0 <= done <= total."""
        if not 0 <= done <= total:
            raise ValueError(f"progress of {what!r}: {done} of {total}")


def _plain(name: str, arrays: Any) -> Arrays:
    """The arrays, if they can be saved without pickle; else TypeError."""
    if not isinstance(arrays, dict):
        raise TypeError(f"step {name!r} gave {type(arrays).__name__}, expected a dict of arrays")
    for key, value in arrays.items():
        if not (isinstance(key, str) and isinstance(value, np.ndarray)) or value.dtype.hasobject:
            raise TypeError(f"step {name!r} gave {key!r}: {type(value).__name__}, expected arrays without objects")
    return {key: value.copy() for key, value in arrays.items()}
