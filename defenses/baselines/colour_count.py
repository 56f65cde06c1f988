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
class ColourCount(Baseline):
    """Colour count: how many colours an image has, since whatever is added to it adds some, and so do light and JPEG.

    Score: of the 512 colours that are left when each channel is cut into 8 levels of 32, how many have a pixel. No
    paper: of ten statistics of the pixels the one that does best over all attacks (docs/tools/pixels.py).
    """

    name: ClassVar[str] = "colour-count"
    WIDTH: ClassVar[int] = 32
    """Grey levels that count as one."""

    def scores(self, view: View) -> NDArray[np.float64]:
        """See the class."""
        return by_batches(view, self._count)

    def _count(self, images: Tensor) -> Tensor:
        import torch

        level = (images // self.WIDTH).long().flatten(2)
        code = level[:, 0] * 64 + level[:, 1] * 8 + level[:, 2]
        return torch.zeros(len(code), 512).scatter_(1, code, 1).sum(1)
