"""A statistic of the pixels alone: no encoder, no learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import View

from .baseline import Baseline, by_batches

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Palette(Baseline):
    """Palette: how many pure colours an image has, since a mosaic trigger has up to eight and an object one or two.

    Score: the number of corners of the colour cube (black, white, red, ...) near which any pixel of the image lies, 0
    to 8. No paper: what one would try next where `colour` fails.
    """

    name: ClassVar[str] = "palette"
    NEAR: ClassVar[int] = 12
    """Grey levels from 0 or 255 at which a channel counts as pure: JPEG and noise move it."""

    def scores(self, view: View) -> NDArray[np.float64]:
        """See the class."""
        return by_batches(view, lambda images: corners(images).flatten(2).any(2).sum(1))


def corners(images: Tensor) -> Tensor:
    """Where pixels of images (N, 3, S, S), 0 to 255, lie near each corner of the colour cube: (N, 8, S, S) bool.

    The first corner is black, the last white.
    """
    import torch

    high = images >= 255 - Palette.NEAR
    pure = (high | (images <= Palette.NEAR)).all(1)
    corner = high[:, 0] * 4 + high[:, 1] * 2 + high[:, 2] * 1
    return torch.stack([(corner == each) & pure for each in range(8)], 1)
