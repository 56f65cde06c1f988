"""CTRL: a trigger of two frequencies, spread over the whole image in its colour channels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from bench import BenchError

from .whole import WholeImageAttack, check_positive

if TYPE_CHECKING:
    from torch import Tensor

Bands = tuple[tuple[int, int], ...]
CHROMA_TO_RGB = (1.13983, -0.39465 - 0.58060, 2.03211)
"""What one unit more of both U and V adds to R, G and B (the analogue YUV of ITU-R BT.470)."""


@dataclass(frozen=True, kw_only=True)
class CTRL(WholeImageAttack):
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

    magnitude: float = field(default=50.0, metadata={"help": "training: what is added to each coefficient"})
    val_magnitude: float = field(default=100.0, metadata={"help": "validation: what is added to each coefficient"})
    bands: tuple[tuple[int, int], ...] = field(
        default=((15, 15), (31, 31)), metadata={"help": "the coefficients (down, across), from 0 to window - 1"}
    )
    window: int = field(default=32, metadata={"help": "width of a DCT block, in pixels"})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("magnitude", "val_magnitude"):
            check_positive(name, getattr(self, name), "50, in validation 100")
        if self.window < 2:
            raise BenchError(f"window is {self.window}, expected a block of 2 pixels or more (the paper's: 32).")
        if not self.bands or not all(0 <= k < self.window for band in self.bands for k in band):
            bands = [list(band) for band in self.bands]
            raise BenchError(f"bands is {bands}, expected pairs of numbers from 0 to window - 1 = {self.window - 1}.")

    def strengths(self) -> tuple[float, float]:
        """The magnitude, in training and in validation."""
        return self.magnitude, self.val_magnitude

    def check_visible(self, strength: float, size: int) -> None:
        """Raises BenchError for a magnitude that is rounded away."""
        if not self._change(size, strength).any():
            raise BenchError(f"a magnitude of {strength:g} changes no pixel of images {size} px wide: enlarge it.")

    def triggered(self, image: Tensor, strength: float) -> Tensor:
        """The sum, not yet clipped."""
        return image + self._change(image.shape[-1], strength).to(image.device)

    def _change(self, size: int, strength: float) -> Tensor:
        return spectral_change(size, self.window, self.bands, strength)


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
