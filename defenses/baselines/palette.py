"""A statistic of the pixels alone: no encoder, no learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import View

from .baseline import BATCH, Baseline


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
        import torch

        found = []
        for start in range(0, len(view), BATCH):
            images = view.batch(range(start, min(start + BATCH, len(view)))).flatten(2)
            high = images >= 255 - self.NEAR
            pure = (high | (images <= self.NEAR)).all(1)
            corner = high[:, 0] * 4 + high[:, 1] * 2 + high[:, 2] * 1
            has = torch.stack([((corner == each) & pure).any(1) for each in range(8)])
            found.append(has.sum(0).double().numpy())
        return np.concatenate(found)
