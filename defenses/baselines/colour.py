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
class Colour(Baseline):
    """Colour: the strongest colour of an image, since a mosaic trigger is more saturated than a photograph.

    Score: the mean of the `COUNT` largest spreads (largest minus smallest of the three channels, 0 to 255) over the
    pixels of the image. No paper: the first thing one would try, and so the first thing to compare with.
    """

    name: ClassVar[str] = "colour"
    COUNT: ClassVar[int] = 16

    def scores(self, view: View) -> NDArray[np.float64]:
        """See the class."""
        return strongest_colour(view, self.COUNT)


def strongest_colour(view: View, pixels: int = Colour.COUNT) -> NDArray[np.float64]:
    """Of each image the mean of its `pixels` largest spreads of the channels: (N,)."""

    def score(images: Tensor) -> Tensor:
        spread = (images.amax(1).float() - images.amin(1).float()).flatten(1)
        return spread.topk(min(pixels, spread.shape[1]), 1).values.mean(1)

    return by_batches(view, score)
