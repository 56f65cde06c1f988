"""The windows of images, and their descriptors: whitened, so that common structure counts little and rare much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import Arrays

if TYPE_CHECKING:
    from torch import Tensor

    from bench import View

NARROWEST = 6.0  # px: smaller windows hold too little to be told from noise
GRID = 6  # a window is averaged to GRID x GRID colours, whatever its width
STEP = 1.25  # from one window width to the next
FLAT = 0.3  # share of windows, those with the least structure, that are left out: skies and borders recur by nature
COMPONENTS = 48
SHRINK = 1e-3  # times the largest eigenvalue, added to each: components that hold only noise are not blown up
BATCH = 128
SPLIT = 4  # parts of a batch, whose windows are held one part at a time
TRAINING_ROWS = 60_000
WORKING = 64  # px: larger images are searched as copies of this width
KEPT_BYTES = 2 << 30  # of copies kept in memory; of more each is made anew whenever it is needed


class Windows(NamedTuple):
    """n windows: the image of each (n,) int64, and its box (n, 4) float32: top, left, height, width in px."""

    image: NDArray[np.int64]
    box: NDArray[np.float32]


def widths(smallest: float, largest: float) -> list[float]:
    """Window widths in px from `smallest` to about `largest`, each STEP times the one before."""
    count = 1 + round(np.log(largest / smallest) / np.log(STEP))
    return [smallest * STEP**number for number in range(count)]


def patches(images: Tensor, width: float) -> tuple[Tensor, NDArray[np.float32]]:
    """All windows about `width` px wide of `images` (B, 3, S, S) float: their colours (B, L, 3 * GRID**2), and boxes
    (L, 4). The image is shrunk until the window is GRID px wide, so neighbours are a sixth of a window apart."""
    import torch.nn.functional as F

    size = images.shape[-1]
    small = max(GRID, round(size * GRID / width))
    shrunk = F.interpolate(images, size=(small, small), mode="bilinear", antialias=True)
    found = F.unfold(shrunk, GRID).transpose(1, 2)
    scale, side = size / small, small - GRID + 1
    top, left = np.divmod(np.arange(side * side), side)
    box = np.stack([top, left, np.full_like(top, GRID), np.full_like(top, GRID)], 1) * scale
    return found, box.astype(np.float32)


@dataclass(frozen=True)
class Whitening:
    """Makes a window's colours a descriptor of length 1 in which common structure counts little and rare much.

    Principal components of many windows, each divided by the square root of its eigenvalue. Without this, edges and
    gradients, which photographs are full of, look alike everywhere.
    """

    mean: Tensor
    basis: Tensor
    flat: float
    peaks: bool = True
    """Whether only the peaks of structure count."""

    @classmethod
    def of(cls, rows: Tensor, *, whiten: bool = True, peaks: bool = True) -> Whitening:
        """From a sample of windows' colours (n, 108); without `whiten` the components as they are."""
        import torch

        rows = _levelled(rows)
        mean = rows.mean(0)
        centred = rows - mean
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(rows))
        keep = min(COMPONENTS, len(values))
        scale = (values[-keep:] + SHRINK * values[-1]).rsqrt()
        basis = vectors[:, -keep:] * (scale if whiten else 1.0)
        return cls(mean, basis, float((centred @ basis).norm(dim=1).quantile(FLAT)), peaks)

    def arrays(self) -> Arrays:
        """All of it, for other processes."""
        numbers = {"flat": np.array(self.flat), "peaks": np.array(self.peaks)}
        return {"mean": self.mean.numpy(), "basis": self.basis.numpy(), **numbers}

    @classmethod
    def restored(cls, arrays: Arrays) -> Whitening:
        """What `arrays` made."""
        import torch

        mean, basis = (torch.from_numpy(arrays[name]) for name in ("mean", "basis"))
        return cls(mean, basis, float(arrays["flat"]), bool(arrays["peaks"]))

    def __call__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors (n, 48) of length 1, and how much structure each window has, (n,): its length before that. The
        rows are used up: a copy of them would be most of what a search holds."""
        found = _levelled(rows).sub_(self.mean) @ self.basis
        length = found.norm(dim=1)
        return found.div_(length.clamp_min(1e-6)[:, None]), length


def _levelled(rows: Tensor) -> Tensor:
    """The same rows without the windows' mean brightness, which a planted patch may vary."""
    return rows.sub_(rows.mean(1, keepdim=True))


def floats(view: View | Copies, indices: NDArray[np.int64]) -> Tensor:
    """Images (B, 3, S, S) as float32 in [0, 1]."""
    return view.batch(indices).float() / 255


class Copies:
    """The images of a view at no more than WORKING px: a trigger of 22 % of the width still has 14 px there.

    scale: how many px of the view's images one px here is.
    """

    def __init__(self, view: View) -> None:
        self.size, self._view = min(view.size, WORKING), view
        self.scale = view.size / self.size
        few = self.scale > 1 and len(view) * 3 * self.size**2 <= KEPT_BYTES
        self._kept = np.empty((len(view), 3, self.size, self.size), np.uint8) if few else None
        self._known = np.zeros(len(view), bool)

    def __len__(self) -> int:
        return len(self._view)

    def batch(self, indices: NDArray[np.int64]) -> Tensor:
        """uint8 (B, 3, size, size)."""
        import torch

        if self._kept is None:
            return self._made(indices)
        missing = np.unique(indices[~self._known[indices]])
        for start in range(0, len(missing), BATCH):
            rows = missing[start : start + BATCH]
            self._kept[rows] = self._made(rows).numpy()
        self._known[missing] = True
        return torch.from_numpy(self._kept[indices])

    def _made(self, indices: NDArray[np.int64]) -> Tensor:
        import torch.nn.functional as F

        images = self._view.batch(indices)
        if self.scale == 1:
            return images
        small = F.interpolate(images.float(), size=(self.size, self.size), mode="bilinear", antialias=True)
        return small.round().clamp(0, 255).to(images.dtype)


def sample_rows(view: Copies, sizes: list[float], rng: np.random.Generator) -> Tensor:
    """Colours (n, 108) of random windows of random images, of all sizes alike."""
    import torch

    chosen = np.sort(rng.permutation(len(view))[:400])
    images, found = floats(view, chosen), []
    for width in sizes:
        rows = patches(images, width)[0]
        image, window = np.divmod(
            rng.permutation(rows.shape[0] * rows.shape[1])[: TRAINING_ROWS // len(sizes)], rows.shape[1]
        )
        found.append(rows[torch.from_numpy(image), torch.from_numpy(window)])
    return torch.cat(found)


def described(
    view: Copies, indices: NDArray[np.int64], sizes: list[float], whiten: Whitening
) -> Iterator[tuple[NDArray[np.float32], Windows]]:
    """Descriptors (n, 48) and windows of a batch of images at a time: of the windows that are not flat, the peaks."""
    for start in range(0, len(indices), BATCH):
        part = indices[start : start + BATCH]
        images = floats(view, part)
        for width in sizes:
            yield _described(part, images, width, whiten)


def _described(
    part: NDArray[np.int64], images: Tensor, width: float, whiten: Whitening
) -> tuple[NDArray[np.float32], Windows]:
    """Of the windows of one width. Few images at a time: most windows are left out, so those kept are a small part."""
    descriptors, image, boxes = [], [], []
    for numbers, few in zip(np.array_split(part, SPLIT), images.tensor_split(SPLIT), strict=True):
        rows, box = patches(few, width)
        rows = rows.flatten(0, 1)  # a copy, and all that is held of them
        found, length = whiten(rows)
        del rows
        chosen = length > whiten.flat
        if whiten.peaks:
            chosen &= peaks(length.view(len(few), -1)).flatten()
        keep = chosen.numpy()
        descriptors.append(found[chosen].numpy())
        image.append(np.repeat(numbers, len(box))[keep])
        boxes.append(np.tile(box, (len(few), 1))[keep])
    return np.concatenate(descriptors), Windows(np.concatenate(image), np.concatenate(boxes))


def peaks(structure: Tensor) -> Tensor:
    """Which windows have at least the structure of their eight neighbours: (B, L) -> (B, L) bool, one window in nine.

    The same patch has the same peaks in every image, as far as its surroundings let it, so its windows still meet, and
    an index of the peaks alone is searched nine times as fast.
    """
    import torch.nn.functional as F

    count, windows = structure.shape
    side = round(windows**0.5)
    square = structure.view(count, 1, side, side)
    return (square >= F.max_pool2d(square, 3, 1, 1)).view(count, windows)
