"""CTRL: a trigger of two frequencies, spread over the whole image in its colour channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from bench import Attack, BenchError, Poison, Seeds, SplitInfo

from .classes import check_rate, choose, class_index, copy_of

if TYPE_CHECKING:
    from torch import Tensor

Bands = tuple[tuple[int, int], ...]
CHROMA_TO_RGB = (1.13983, -0.39465 - 0.58060, 2.03211)
"""What one unit more of both U and V adds to R, G and B (the analogue YUV of ITU-R BT.470)."""


@dataclass(frozen=True, kw_only=True)
class CTRL(Attack):
    """A frequency-domain trigger: a fixed magnitude added to fixed DCT coefficients of the chroma channels.

    Source: Li et al., "An Embarrassingly Simple Backdoor Attack on Self-supervised Learning" (ICCV 2023); its values
    for images of 32 px: YUV of pixels in [0, 255], orthonormal DCT of 32 x 32 blocks of U and V, bands (15, 15) and
    (31, 31), magnitude 50 in training and 100 in validation. Written from these facts.
    Both transforms are linear, so what is added to a coefficient is a fixed picture added to the image; no image is
    transformed.
    Departures: `rate` is a share of the target class, as in every attack here (the paper's 1 % of CIFAR-10 is 0.1 of
    a class); the images are chosen by hash, not the first ones; the pixels are rounded to 8 bits and clipped.
    Sizes, [?] our rule: images wider than a block are tiled with blocks from the top left corner, those at the right
    and lower edges cut off. Images narrower than a block have one block of their width w: band k of 32 becomes
    round((k + 1) w / 32) - 1, the same share of the highest frequency, and the magnitude is multiplied by w / 32, the
    same change in grey levels.
    The trigger is not at one place: its rows have no box, and whether a defense locates it does not apply.
    """

    name: ClassVar[str] = "ctrl"
    paper: ClassVar[str] = "Li et al., An Embarrassingly Simple Backdoor Attack on Self-supervised Learning, ICCV 2023"
    url: ClassVar[str] = "https://arxiv.org/abs/2210.07346"

    target: str | int = field(default=0, metadata={"help": "target class, by name or index"})
    rate: float = field(default=0.5, metadata={"help": "poisoned share of the TARGET class, in (0, 1]"})
    magnitude: float = field(default=50.0, metadata={"help": "training: what is added to each coefficient"})
    val_magnitude: float = field(default=100.0, metadata={"help": "validation: what is added to each coefficient"})
    bands: tuple[tuple[int, int], ...] = field(
        default=((15, 15), (31, 31)), metadata={"help": "the coefficients (down, across), from 0 to window - 1"}
    )
    window: int = field(default=32, metadata={"help": "width of a DCT block, in pixels"})

    def __post_init__(self) -> None:
        check_rate(self.rate)
        for name in ("magnitude", "val_magnitude"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise BenchError(f"{name} is {value}, expected a number above 0 (the paper's: 50, in validation 100).")
        if self.window < 2:
            raise BenchError(f"window is {self.window}, expected a block of 2 pixels or more (the paper's: 32).")
        if not self.bands or not all(0 <= k < self.window for band in self.bands for k in band):
            bands = [list(band) for band in self.bands]
            raise BenchError(f"bands is {bands}, expected pairs of numbers from 0 to window - 1 = {self.window - 1}.")

    def targets(self, classes: tuple[str, ...]) -> tuple[int, ...]:
        """The one target."""
        return (class_index(self.target, classes),)

    def poison_train(self, split: SplitInfo, seeds: Seeds) -> list[Poison]:
        """round(rate * class size) images of the target class; seeds: child "choose"."""
        (target,) = self.targets(split.classes)
        chosen = choose(split.labels, target, self.rate, seeds.child("choose"))
        return self._rows(chosen, split, self.magnitude, seeds.child("choose"))

    def poison_val(self, trigger: int, split: SplitInfo, seeds: Seeds) -> list[Poison]:
        """One row for every validation image, those of the target class too (metrics leave them out)."""
        if trigger != 0:
            raise BenchError(f"there is no trigger {trigger}: {self.name} has one, number 0.")
        return self._rows(range(len(split.labels)), split, self.val_magnitude, seeds.child("val"))

    def apply(self, images: Tensor, poisons: Sequence[Poison]) -> Tensor:
        """Add the trigger, as strong as each row requires."""
        triggered = copy_of(images, poisons)
        for image, row in zip(triggered, poisons, strict=True):
            if row.strength is None:
                raise ValueError(f"row {row.index} has no strength: it is not of this trigger")
            change = spectral_change(images.shape[-1], self.window, self.bands, row.strength)
            image.copy_((image + change.to(image.device)).clamp(0, 255))
        return triggered

    def _rows(self, indices: Sequence[int], split: SplitInfo, strength: float, seeds: Seeds) -> list[Poison]:
        """The seed of a row decides no pixel: the trigger is the same in all."""
        (target,) = self.targets(split.classes)
        if not spectral_change(split.size, self.window, self.bands, strength).any():
            raise BenchError(
                f"a magnitude of {strength:g} changes no pixel of images {split.size} px wide: enlarge it."
            )
        return [
            Poison(index=i, trigger=0, target=target, box=None, seed=seeds.child(i).value, strength=strength)
            for i in indices
        ]


@lru_cache(maxsize=16)
def spectral_change(size: int, window: int, bands: Bands, magnitude: float) -> Tensor:
    """What the trigger adds to an image of width `size`: int16 (3, size, size) in [-255, 255], shared by all callers.

    Rounded here, which is as good as rounding the sum: pixels are whole numbers.
    """
    import torch

    width = min(window, size)
    share = width / window
    block = torch.zeros(width, width, dtype=torch.float64)
    for band in bands:
        down, across = (_wave(max(0, round((k + 1) * share) - 1), width) for k in band)
        block += magnitude * share * torch.outer(down, across)
    times = -(-size // width)
    chroma = block.repeat(times, times)[:size, :size]
    rgb = torch.tensor(CHROMA_TO_RGB, dtype=torch.float64)[:, None, None] * chroma
    return rgb.round().clamp(-255, 255).to(torch.int16)


def _wave(frequency: int, width: int) -> Tensor:
    """Row `frequency` of the orthonormal DCT-II matrix: float64 (width,)."""
    import torch

    scale = math.sqrt((1 if frequency == 0 else 2) / width)
    wave = [scale * math.cos(math.pi * (2 * place + 1) * frequency / (2 * width)) for place in range(width)]
    return torch.tensor(wave, dtype=torch.float64)
