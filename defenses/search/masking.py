"""Cluster activation masking (paper IV-B): where is the region whose loss changes an image's cluster?"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, isqrt

import torch
from torch import Tensor

from bench import Encoder, Seeds

from .clusters import Clusters
from .locator import Locator, best_window


@dataclass(frozen=True, kw_only=True, eq=False)
class ActivationMasking(Locator):
    """Finds each image's candidate trigger from `masks` random masks; see PoisonCAM for the options.

    fast: from about a twentieth as many, in two steps (see `_coarse_to_fine`); for strategy "full".
    """

    clusters: Clusters
    window: int
    masks: int = 256
    strategy: str = "full"
    blocks: int = 4
    fill: str = "grey"
    normalise: bool = False
    fast: bool = False

    def maps(self, images: Tensor, own: Tensor, seeds: Seeds) -> Tensor:
        """Equation 3's A under masks drawn from `seeds`, see Locator.maps; `own`, the clusters, is unused."""
        most = passes(images.shape[-1], self.window, self.masks) if self.fast else self.masks
        step = max(1, self.clusters.batch // most)
        spans = [slice(start, start + step) for start in range(0, len(images), step)]
        if self.fast:
            return torch.cat([self._coarse_to_fine(images[span]) for span in spans])
        size = images.shape[-1]
        draws = draw(len(images), self.masks, size, seeds, strategy=self.strategy, blocks=self.blocks)
        return torch.cat([self._map(images[span], draws.of(span, images.device)) for span in spans])

    def attention(self, images: Tensor, masks: Tensor) -> Tensor:
        """The map A of each image under `masks` (B, M, S, S) bool: (B, S, S) float32."""
        return attention(outlier_scores(*self._assign(images, masks)), masks, normalise=self.normalise)

    def _map(self, images: Tensor, draws: Draws) -> Tensor:
        size = images.shape[-1]
        masks = cyclic_masks(draws, size, self.window)
        found = self._assign(images, masks, repeats(draws, size))
        return attention(outlier_scores(*found), masks, normalise=self.normalise)

    def _assign(
        self, images: Tensor, masks: Tensor, repeated: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Cluster and distance (B, M) of each image under each mask. repeated: see `repeats`."""
        hidden = hide(images, masks, fill_colour(images, self.fill, self.clusters.encoder)).flatten(0, 1)
        first, which = repeated or (slice(None), slice(None))
        labels, distances = self.clusters.assign(hidden[first])
        return labels[which].view(masks.shape[:2]), distances[which].view(masks.shape[:2])

    def _coarse_to_fine(self, images: Tensor) -> Tensor:
        """Approximate maps: a regular grid of masks first, then a few more, closer, around the hottest window.

        Always divided by each pixel's mask count, which here depends on the place by design. Draws nothing.
        """
        size, device = images.shape[-1], images.device
        wide = grid(size, self.window, self.masks).of(slice(None), device)
        masks = cyclic_masks(wide, size, self.window).expand(len(images), -1, -1, -1)
        labels, distances = self._assign(images, masks)
        warm = attention(outlier_scores(labels, distances), masks, normalise=True)
        close = around(best_window(warm, self.window), size, self.masks)
        more = cyclic_masks(close, size, self.window)
        found = self._assign(images, more)
        # Most of the closer masks hide the trigger: they may not have a say in which cluster is the image's own.
        everything = torch.cat([labels, found[0]], 1), torch.cat([distances, found[1]], 1)
        scores = outlier_scores(*everything, deciding=labels.shape[1])
        return attention(scores, torch.cat([masks, more], 1), normalise=True)


@dataclass(frozen=True, eq=False)
class Draws:
    """What decides the masks: corners (B, M) int64, anywhere; blocks (B, M, n, n) bool or None."""

    tops: Tensor
    lefts: Tensor
    blocks: Tensor | None = None

    def of(self, rows: slice, device: torch.device) -> Draws:
        """Those of the images `rows`, on `device`."""
        blocks = None if self.blocks is None else self.blocks[rows].to(device)
        return Draws(self.tops[rows].to(device), self.lefts[rows].to(device), blocks)


def draw(images: int, masks: int, size: int, seeds: Seeds, *, strategy: str, blocks: int) -> Draws:
    """Uniform corners for `masks` masks of each of `images` images, on the CPU: the same on every device.

    full: the whole window is masked. interval: it is cut into blocks x blocks parts, 1 and 0 like a
    chessboard, the first part 1. random: each part is 0 or 1 at random. [?] The paper's block size is lost;
    the default is 4 x 4.
    """
    generator, shape = seeds.torch(), (images, masks)
    tops, lefts = (torch.randint(size, shape, generator=generator) for _ in range(2))
    if strategy == "full":
        return Draws(tops, lefts)
    if strategy == "random":
        return Draws(tops, lefts, torch.randint(2, (*shape, blocks, blocks), generator=generator).bool())
    steps = torch.arange(blocks)
    board = (steps[:, None] + steps) % 2 == 0
    return Draws(tops, lefts, board.expand(*shape, blocks, blocks))


def repeats(draws: Draws, size: int) -> tuple[Tensor, Tensor] | None:
    """Which masks (B, M) are drawn more than once for the same image: of 256 on 32 px one in nine.

    first (K,): a flat index of each mask that must be looked at; which (B * M,): the place in `first` of every mask.
    None where blocks are drawn for each mask.
    """
    if draws.blocks is not None:
        return None
    image = torch.arange(len(draws.tops), device=draws.tops.device)[:, None]
    keys = ((image * size + draws.tops) * size + draws.lefts).flatten()
    kinds, which = keys.unique(return_inverse=True)
    first = torch.empty_like(kinds).scatter_(0, which, torch.arange(len(keys), device=keys.device))
    return first, which


def grid(size: int, window: int, masks: int) -> Draws:
    """Corners (1, n) on a regular grid over the image: of 256 `masks` 9, or as many as cover all of it."""
    side = max(isqrt(masks // 28), ceil(size / window))
    line = torch.arange(side) * size // side
    tops, lefts = torch.cartesian_prod(line, line).T
    return Draws(tops[None], lefts[None])


def around(boxes: Tensor, size: int, masks: int) -> Draws:
    """Corners (B, n) on a grid up to half a window off each box (B, 4): of 256 `masks` 4."""
    window, side = int(boxes[0, 2]), max(2, isqrt(masks // 64))
    line = ((torch.arange(side, device=boxes.device) + 0.5) / side * window - window / 2).round().long()
    off = torch.cartesian_prod(line, line)
    return Draws((boxes[:, :1] + off[:, 0]) % size, (boxes[:, 1:2] + off[:, 1]) % size)


def passes(size: int, window: int, masks: int) -> int:
    """How many masks an image is looked at under from coarse to fine."""
    return int(grid(size, window, masks).tops.numel()) + max(2, isqrt(masks // 64)) ** 2


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


def hide(images: Tensor, masks: Tensor, colour: Tensor) -> Tensor:
    """Images uint8 (B, 3, S, S) under masks (B, M, S, S), in `colour` (B or 1, 3, 1, 1) -> (B, M, 3, S, S) uint8."""
    return torch.where(masks[:, :, None], colour[:, None], images[:, None])


def fill_colour(images: Tensor, fill: str, encoder: Encoder) -> Tensor:
    """What hides a pixel of images (B, 3, S, S) uint8: a colour (B or 1, 3, 1, 1) uint8.

    "grey": `neutral` of the encoder ([?] the paper says only "zero"); "black": 0; "mean": the image's own mean colour.
    """
    if fill == "grey":
        return neutral(encoder, images.shape[-1]).to(images.device)
    if fill == "black":
        return images.new_zeros(1, 3, 1, 1)
    return images.float().mean((2, 3), keepdim=True).round().to(torch.uint8)


def neutral(encoder: Encoder, size: int) -> Tensor:
    """The colour that the encoder's normalisation makes 0, to a whole grey level: (1, 3, 1, 1) uint8.

    `Encoder.prepare` is affine per channel, so what it makes of black and of white says where 0 lies. For ImageNet's
    means it is (124, 116, 104). An encoder that does not normalise (0 stays 0) has black.
    """
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, size, size)
    black, white = encoder.prepare(ends).double().mean((2, 3))
    levels: Tensor = (-255 * black / (white - black)).round().clamp(0, 255).to(torch.uint8)
    return levels.view(1, 3, 1, 1)


def outlier_scores(labels: Tensor, distances: Tensor, deciding: int | None = None) -> Tensor:
    """Equation 2, for labels and distances (B, M) of M masks each: (B, M) float32 in [0, 1].

    1 where the cluster is not the image's most frequent one (of equals, the lowest index), else the distance
    to the centre, min-max scaled over all M masks (0 when all are equal). Only the first `deciding` masks, None for
    all, decide which cluster is the most frequent.
    """
    counts = torch.zeros(len(labels), int(labels.max()) + 1, device=labels.device)
    counts.scatter_add_(1, labels[:, :deciding], torch.ones_like(distances[:, :deciding]))
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
