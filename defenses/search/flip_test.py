"""The flip test (paper IV-C): how many images change cluster when a candidate trigger is pasted on them?"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench import Seeds

from .clusters import Clusters


@dataclass(frozen=True, eq=False)
class FlipTest:
    """Pastes candidates on fixed images (F, 3, S, S) uint8, which lie on the device.

    kind "any": the number of images whose cluster changes, to whichever (PoisonCAM). kind "own": the number
    of images in the candidate's own cluster afterwards, less the number there before (PatchSearch; can be
    negative).
    """

    clusters: Clusters
    images: Tensor
    kind: str = "any"
    away: Tensor = field(init=False)  # of each image as it is, (F, l): see clusters.away

    def __post_init__(self) -> None:
        object.__setattr__(self, "away", self.clusters.away(self.images))

    def __call__(self, patches: Tensor, own: Tensor, seeds: Seeds) -> Tensor:
        """Candidates (B, 3, w, w) uint8, their clusters (B,), on the device -> poison scores (B,) int64."""
        return self.tested(patches, own, seeds)[0]

    def tested(
        self, patches: Tensor, own: Tensor, seeds: Seeds, start: int = 0, stop: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """The same on the images start to stop alone, and the candidates' pulls there (see `pulls`), (B,) float32."""
        spots = self._spots(len(patches), patches.shape[-1], seeds).to(self.images.device)
        part = slice(start, len(self.images) if stop is None else min(stop, len(self.images)))
        step = max(1, self.clusters.batch // (part.stop - part.start))
        spans = [slice(start, start + step) for start in range(0, len(patches), step)]
        found = [self._tested(patches[span], own[span], spots[:, span, part], part) for span in spans]
        return torch.cat([each[0] for each in found]), torch.cat([each[1] for each in found])

    def _spots(self, count: int, window: int, seeds: Seeds) -> Tensor:
        """Rows and columns (2, count, F), uniform over all places that fit ([?] no margin)."""
        places = self.images.shape[-1] - window + 1
        return torch.randint(places, (2, count, len(self.images)), generator=seeds.torch())

    def _tested(self, patches: Tensor, own: Tensor, spots: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        pasted = paste(self.images[part], patches, spots[0], spots[1])
        before, after = self.away[part], self.clusters.away(pasted.flatten(0, 1)).view(*pasted.shape[:2], -1)
        changed = flips(before.argmin(1), after.argmin(2), own, self.kind)
        return changed, pulls(before, after, own, self.kind)


def flips(before: Tensor, after: Tensor, own: Tensor, kind: str) -> Tensor:
    """Poison scores (B,) int64 from clusters before (F,) and after (B, F), and the candidates' own (B,)."""
    if kind == "any":
        return (after != before).sum(1)
    return (after == own[:, None]).sum(1) - (before == own[:, None]).sum(1)


def pulls(before: Tensor, after: Tensor, own: Tensor, kind: str) -> Tensor:
    """How far candidates move images toward a flip, whether they flip or not: (B,) float32, summed over the images.

    before (F, l) and after (B, F, l) are squared distances to the centres but for a constant of each image; own (B,).
    The lead of a cluster is how much nearer it is than any other. A pull is what the image's own cluster loses of it
    (kind "any"), or what the candidate's wins ("own"). 0 where there is one cluster.
    """
    if before.shape[1] == 1:
        return torch.zeros(len(after), device=after.device)
    of = before.argmin(1)[None].expand(after.shape[:2]) if kind == "any" else own[:, None].expand(after.shape[:2])
    won = lead(after, of) - lead(before.expand_as(after), of)
    return won.sum(1) if kind == "own" else -won.sum(1)


def lead(away: Tensor, of: Tensor) -> Tensor:
    """How much nearer the cluster `of` (...) is than the nearest other, of distances (..., l): (...)."""
    index = of[..., None]
    return away.scatter(-1, index, float("inf")).amin(-1) - away.gather(-1, index)[..., 0]


def paste(images: Tensor, patches: Tensor, tops: Tensor, lefts: Tensor) -> Tensor:
    """Every patch (B, 3, w, w) on every image (F, 3, S, S), pair (b, f) at (tops[b, f], lefts[b, f]).

    Returns (B, F, 3, S, S) of the images' dtype.
    """
    count, flip_set = tops.shape
    line = torch.arange(patches.shape[-1], device=images.device)
    rows = (tops[..., None] + line)[:, :, :, None]
    columns = (lefts[..., None] + line)[:, :, None, :]
    patch = torch.arange(count, device=images.device)[:, None, None, None]
    image = torch.arange(flip_set, device=images.device)[None, :, None, None]
    pasted = images.expand(count, *images.shape).clone()
    pasted[patch, image, :, rows, columns] = patches.permute(0, 2, 3, 1)[:, None]
    return pasted


def cut(images: Tensor, boxes: Tensor) -> Tensor:
    """The pixels of boxes (B, 4), all of one size, out of images (B, 3, S, S): (B, 3, h, w)."""
    height, width = int(boxes[0, 2]), int(boxes[0, 3])
    rows = boxes[:, 0, None] + torch.arange(height, device=boxes.device)
    columns = boxes[:, 1, None] + torch.arange(width, device=boxes.device)
    image = torch.arange(len(images), device=images.device)[:, None, None]
    return images[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def flip_set(labels: NDArray[np.int64], distances: NDArray[np.float32], size: int, seeds: Seeds) -> NDArray[np.int64]:
    """Indices of the flip set: of every cluster the size // l images nearest to its centre, or all it has.

    With more clusters than `size`, one image each of a random sample of `size` clusters. Empty clusters give
    none and do not count in l.
    """
    live = np.unique(labels)
    if len(live) > size:
        live = seeds.numpy().choice(live, size, replace=False)
    each = max(1, size // len(live))
    by_distance = np.lexsort((distances, labels))
    starts = np.searchsorted(labels[by_distance], live, side="left")
    ends = np.searchsorted(labels[by_distance], live, side="right")
    parts = [by_distance[a : min(a + each, b)] for a, b in zip(starts, ends, strict=True)]
    return np.sort(np.concatenate(parts)).astype(np.int64)
