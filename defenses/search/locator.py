"""Where is an image's candidate trigger? What every locator does: a map, and the window where it is hottest."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from bench import Seeds


class Locator(ABC):
    """Finds the candidate trigger of each image: the `window` x `window` px of the largest sum of its map."""

    window: int

    @abstractmethod
    def maps(self, images: Tensor, own: Tensor, seeds: Seeds) -> Tensor:
        """uint8 (B, 3, S, S) and their clusters (B,), on the device -> maps (B, S, S) float32, 0 or more."""

    def __call__(self, images: Tensor, own: Tensor, seeds: Seeds) -> Tensor:
        """As `maps` -> windows (B, 4) int64."""
        return best_window(self.maps(images, own, seeds), self.window)


def best_window(maps: Tensor, window: int) -> Tensor:
    """The window (not cyclic) with the largest sum of each map (B, S, S): boxes (B, 4); of equals the first by rows.

    Sums within a millionth of the largest count as equal, so that rounding does not decide.
    """
    sums = avg_pool2d(maps[:, None].double(), window, stride=1).flatten(1)
    most = sums.amax(1, keepdim=True)
    first = (sums >= most - 1e-6 * most.abs()).to(torch.uint8).argmax(1)
    width = maps.shape[-1] - window + 1
    side = torch.full_like(first, window)
    return torch.stack([first // width, first % width, side, side], dim=1)
