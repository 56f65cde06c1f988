"""Does a patch act, and is it tied to one kind of image? Both are asked of the encoder, and compared with chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .windows import floats

if TYPE_CHECKING:
    from torch import Tensor

    from bench import Seeds, View

IMAGES = 64  # images that a patch is pasted on
RANDOM = 32  # random patches that set the limit
CARRIERS, OTHERS = 200, 1000  # images with a patch, and without, that are looked at, at most
SETS = 400  # random sets of the others, as large
EDGE = 1 / 16  # of the width, that is covered around a patch, since its edge is known to a pixel or two


class Effect(NamedTuple):
    """Pull of a patch, and the pulls (RANDOM,) of random patches of its size, all in [-1, 1]."""

    pull: float
    random: NDArray[np.float64]

    @property
    def rank(self) -> float:
        """Share of the random patches that pull less, in [0, 1]."""
        return float((self.random < self.pull).mean())


class Pull:
    """Pull of a patch: how much more alike the features of `IMAGES` images are with the patch than without.

    |mean of the unit features with it|^2 - |mean without it|^2, after pasting it at a random place on each. 0 where
    pasting changes nothing, large where all pasted images become alike, which is what a trigger is for. It needs no
    clusters and IMAGES passes through the encoder.
    """

    def __init__(self, view: View, seeds: Seeds) -> None:
        self._view, self._seeds = view, seeds
        rng = seeds.numpy()
        chosen = np.sort(rng.permutation(len(view))[:IMAGES])
        self._images = floats(view, chosen)
        self._before = self._alike(self._images)
        self._limits: dict[tuple[int, int], NDArray[np.float64]] = {}

    def __call__(self, patch: Tensor) -> Effect:
        """The effect of a patch (3, h, w) in [0, 1]."""
        shape = int(patch.shape[1]), int(patch.shape[2])
        if shape not in self._limits:
            self._limits[shape] = np.array([self._pull(each) for each in self._windows(shape)])
        return Effect(self._pull(patch), self._limits[shape])

    def _pull(self, patch: Tensor) -> float:
        height, width = patch.shape[1:]
        size = self._images.shape[-1]
        rng = self._seeds.child("places").numpy()  # the same places for every patch of a size
        pasted = self._images.clone()
        for image in pasted:
            top, left = rng.integers(size - height + 1), rng.integers(size - width + 1)
            image[:, top : top + height, left : left + width] = patch
        return self._alike(pasted) - self._before

    def _alike(self, images: Tensor) -> float:
        features = self._view.encoder(images)
        unit = features / features.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return float(unit.mean(0).square().sum())

    def _windows(self, shape: tuple[int, int]) -> list[Tensor]:
        """Random windows of random images."""
        rng = self._seeds.child("windows", *shape).numpy()
        size, found = self._images.shape[-1], []
        for index in rng.integers(len(self._view), size=RANDOM):
            top, left = rng.integers(size - shape[0] + 1), rng.integers(size - shape[1] + 1)
            image = floats(self._view, np.array([index]))[0]
            found.append(image[:, top : top + shape[0], left : left + shape[1]])
        return found


def kinship(view: View, boxes: NDArray[np.int64], carriers: NDArray[np.bool_], seeds: Seeds) -> float:
    """The share of random sets of images, in [0, 1], that are as alike as those that carry a patch, the patch covered.

    boxes: (N, 4), where the patch is, or would be best. A trigger is pasted on images of one class, which are alike
    without it; a logo or a watermark on images of all. Alike: the squared length of the mean of the features, each less
    the mean of all and scaled to length 1. Others are covered where carriers are, so that the cover tells nothing; the
    sets are as large as the carriers and drawn from both (a permutation test: of random carriers the share is uniform).
    """
    rng = seeds.numpy()
    rows, rest = (np.flatnonzero(which) for which in (carriers, ~carriers))
    rows, rest = rng.permutation(rows)[:CARRIERS], rng.permutation(rest)[:OTHERS]
    places = np.concatenate([boxes[rows], boxes[rows[rng.integers(len(rows), size=len(rest))]]])
    features = _covered(view, np.concatenate([rows, rest]), places)
    features -= features.mean(0)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    sets = [_alikeness(unit[rng.permutation(len(unit))[: len(rows)]]) for _ in range(SETS)]
    return float(np.mean(np.array(sets) >= _alikeness(unit[: len(rows)])))


def _alikeness(unit: NDArray[np.float32]) -> float:
    return float(np.square(unit.mean(0)).sum())


def _covered(view: View, rows: NDArray[np.int64], boxes: NDArray[np.int64]) -> NDArray[np.float32]:
    """The features (n, dim) of images whose boxes are filled with the mean colour of the rest of the image."""
    import torch

    edge, found = max(1, round(EDGE * view.size)), []
    for start in range(0, len(rows), IMAGES):
        images = floats(view, rows[start : start + IMAGES])
        for image, (top, left, height, width) in zip(images, boxes[start : start + IMAGES].tolist(), strict=True):
            covered = torch.zeros(image.shape[1:], dtype=torch.bool, device=image.device)
            covered[max(0, top - edge) : top + height + edge, max(0, left - edge) : left + width + edge] = True
            rest = covered if covered.all() else ~covered
            image[:, covered] = image[:, rest].mean(1, keepdim=True)
        found.append(view.encoder(images).cpu().numpy())
    return np.concatenate(found)
