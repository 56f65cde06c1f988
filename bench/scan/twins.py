"""Near-duplicates: pictures that are nearly the same picture, whole (compressed again, resized, brighter, retouched).

They share every patch and are no sign of a trigger; a trigger is one patch in pictures that differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Images

if TYPE_CHECKING:
    from torch import Tensor

ALIKE = 0.9
"""Correlation of two pictures from which they are one. docs/howto/scan.md has what was measured."""
COARSE, FINE = 8, 16
"""px: the width of the copies that are searched, and of those that are compared."""
NEIGHBOURS, MARGIN = 16, 0.05
"""Of each picture so many are compared, if its coarse copy comes within MARGIN of ALIKE to theirs."""
FEW = 20_000
"""Up to so many pictures every pair is looked at; of more, those in the same inverted lists."""
BATCH, READ = 4096, 256
"""Pairs compared, and images read, at once: only their copies are small."""


def picture_of(images: Images) -> NDArray[np.int64]:
    """Which picture each of N images is, (N,): the lowest index of those that it is a near-duplicate of, itself
    included."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(images)
    pairs = _candidates(_copies(images, np.arange(count), COARSE).flatten(1))
    pairs = pairs[_same(images, pairs)]
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    labels: NDArray[np.int64] = connected_components(links, directed=False)[1]
    firsts: NDArray[np.int64] = np.unique(labels, return_index=True)[1].astype(np.int64)
    return firsts[labels]


def groups_of(picture: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The images of each picture that several are, the largest group first."""
    found = [np.flatnonzero(picture == first) for first in np.unique(picture[picture != np.arange(len(picture))])]
    return sorted(found, key=lambda group: (-len(group), int(group[0])))


def _copies(images: Images, rows: NDArray[np.int64], width: int) -> Tensor:
    """Copies of `width` px as float32 (n, 3, width, width), in grey values."""
    import torch
    from torch.nn.functional import interpolate

    found = torch.empty(len(rows), 3, width, width)
    for start in range(0, len(rows), READ):
        part = images.batch(rows[start : start + READ]).float()
        found[start : start + READ] = interpolate(part, size=(width, width), mode="area")
    return found


def _candidates(copies: Tensor) -> NDArray[np.int64]:
    """Pairs (P, 2), the lower index first, of rows of (N, d) that are nearly alike. The rows are used up."""
    import faiss
    from torch.nn.functional import normalize

    copies.sub_(copies.mean(1, keepdim=True))
    rows = normalize(copies, dim=1, out=copies).numpy()
    index: Any = faiss.IndexFlatIP(rows.shape[1])
    if len(rows) > FEW:
        lists = round(len(rows) ** 0.5)
        index = faiss.index_factory(rows.shape[1], f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
        index.train(rows[:: max(1, len(rows) // (40 * lists))])
        index.nprobe = 8
    index.add(rows)
    similarity, place = index.search(rows, min(NEIGHBOURS + 1, len(rows)))
    one = np.broadcast_to(np.arange(len(rows))[:, None], place.shape)
    near = (similarity >= ALIKE - MARGIN) & (place >= 0) & (place != one)
    return np.unique(np.sort(np.stack([one[near], place[near]], 1), axis=1), axis=0)


def _same(images: Images, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pairs (P, 2) are one picture: alike also where any square of half the width is left out of both. A patch
    that both bear, on a plain ground, is not enough."""
    import torch

    found = [np.zeros(0, bool)]
    kept = torch.ones(9, FINE, FINE)
    for number, (top, left) in enumerate(np.ndindex(3, 3)):
        kept[number, 4 * top : 4 * top + FINE // 2, 4 * left : 4 * left + FINE // 2] = 0
    weight = (kept / kept.sum((1, 2), keepdim=True) / 3).repeat_interleave(3, 0).view(9, -1).T  # (3 FINE^2, 9)
    for start in range(0, len(pairs), BATCH):
        one, other = (_copies(images, pairs[start : start + BATCH, side], FINE).flatten(1).double() for side in (0, 1))
        shares = weight.double()
        means = [each @ shares for each in (one, other)]
        both = (one * other) @ shares - means[0] * means[1]
        spread = [
            (each.square() @ shares - mean.square()).clamp_min(0)
            for each, mean in zip((one, other), means, strict=True)
        ]
        alike = both / (spread[0] * spread[1]).sqrt().clamp_min(1)
        found.append((alike.amin(1) >= ALIKE).numpy())
    return np.concatenate(found)
