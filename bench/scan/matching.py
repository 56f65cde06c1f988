"""Patches by their pixels: how alike windows are, which images hold what they show, which patch an image bears."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, normalize, pad

from bench.api import Images

LEAST = 4
"""Different pictures that must hold a patch."""
DETAIL = 12
"""px: windows are compared at this width at most; finer detail does not survive scaling and compression."""
FLAT = 4.0
"""Grey values: the standard deviation under which a window is plain and is like nothing."""
BATCH = 256


def middles(images: Tensor, boxes: NDArray[np.int64]) -> Tensor:
    """The middle two thirds of the boxes (n, 4), all of one size, of images (n, 3, S, S): beyond may be background."""
    height, width = (int(side) for side in boxes[0, 2:])
    found = [
        image[:, top + height // 6 : top + height - height // 6, left + width // 6 : left + width - width // 6]
        for image, (top, left, *_) in zip(images, boxes.tolist(), strict=True)
    ]
    return torch.stack(found)


def matched(images: Images, windows: Tensor) -> NDArray[np.float64]:
    """How well each of N images holds what `windows` (n, 3, h, w) show: the correlation that half of these, slid over
    the image, reach, (N,). Windows wider than DETAIL px are scaled down to it, and the images too."""
    scale = min(1.0, DETAIL / windows.shape[-1])
    shrunk = _scaled(windows, scale)
    best = []
    for start in range(0, len(images), BATCH):
        batch = images.batch(np.arange(start, min(start + BATCH, len(images))))
        best.append(correlations(shrunk, _scaled(batch, scale)).quantile(0.5, dim=0))
    return torch.cat(best).numpy()


def gap(scores: NDArray[np.float64]) -> tuple[float, float]:
    """The widest gap in the upper half of the sorted scores, with LEAST or more above it: its width and its middle.

    What was pasted leaves one between the images that hold it and all others; edges and gradients, which are always
    somewhat alike, do not.
    """
    ranked = np.sort(scores)[::-1]
    steps = ranked[LEAST - 1 : max(LEAST, len(ranked) // 2)] - ranked[LEAST : max(LEAST, len(ranked) // 2) + 1]
    if not len(steps):
        return 0.0, 1.0
    place = int(steps.argmax()) + LEAST - 1
    return float(steps.max()), float(ranked[place] + ranked[place + 1]) / 2


def _scaled(images: Tensor, scale: float) -> Tensor:
    size = [max(3, round(side * scale)) for side in images.shape[2:]]
    return images.float() if scale == 1 else interpolate(images.float(), size=size, mode="area")


def likeness(images: Tensor, boxes: NDArray[np.int64]) -> Tensor:
    """How well each window is found again in each image: (n, n), row i: window i, column j: image j, in [-1, 1].

    Normalised cross-correlation of the middle of window i (two thirds of its width: the rest may be background) with
    every place around the window of image j (half a width further on every side), the largest. Windows wider than
    DETAIL px are scaled down to it first. A plain window or place is like nothing: 0.
    """
    width = int(boxes[0, 2])
    scale = min(1.0, DETAIL / width)
    side = max(3, round(width * scale))
    padded = pad(images.float(), (width,) * 4, mode="replicate")  # beyond the edge of an image: its last pixels again
    corners = boxes[:, :2] + width - width // 2
    around = [
        image[:, top : top + 2 * width, left : left + 2 * width]
        for image, (top, left) in zip(padded, corners.tolist(), strict=True)
    ]
    fields = interpolate(torch.stack(around), size=(2 * side, 2 * side), mode="area")
    inner = slice(side // 2 + side // 6, side // 2 + side - side // 6)
    return correlations(fields[:, :, inner, inner], fields)


def correlations(windows: Tensor, fields: Tensor) -> Tensor:
    """Each window (n, 3, h, w) slid over each field (m, 3, s, s): the largest normalised correlation, (n, m)."""
    count = windows[0].numel()
    flat = windows.flatten(1).double()
    centred = flat - flat.mean(1, keepdim=True)
    deviation = centred.square().mean(1).sqrt()
    fields = fields.double()
    shape = (windows.shape[2], windows.shape[3])
    mean = avg_pool2d(fields.mean(1, keepdim=True), shape, stride=1)
    square = avg_pool2d(fields.square().mean(1, keepdim=True), shape, stride=1)
    spread = (square - mean.square()).clamp_min(0).sqrt()
    products = conv2d(fields, centred.view(len(windows), *windows.shape[1:])) / count
    found = products / (deviation[:, None, None] * spread).clamp_min(1e-9)
    plain = (deviation[:, None, None] < FLAT) | (spread < FLAT)
    return found.masked_fill(plain, 0).flatten(2).amax(2).T.contiguous()


def borne(
    images: Images, rows: NDArray[np.int64], boxes: NDArray[np.int64], patches: Sequence[Tensor]
) -> NDArray[np.int64]:
    """Which of `patches` (3, h, w) each of the images at `rows` (n,) bears in its box (n, 4): the one that correlates
    most with what is there, (n,)."""
    if len(patches) < 2:
        return np.zeros(len(rows), np.int64)
    wanted = _levelled([patch.float() for patch in patches])
    found = []
    for start in range(0, len(rows), BATCH):
        part = slice(start, start + BATCH)
        crops = [
            image[:, top : top + height, left : left + width].float()
            for image, (top, left, height, width) in zip(images.batch(rows[part]), boxes[part].tolist(), strict=True)
        ]
        found.append((_levelled(crops) @ wanted.T).argmax(1))
    return torch.cat(found).numpy() if found else np.zeros(0, np.int64)


def _levelled(pictures: Sequence[Tensor]) -> Tensor:
    """Pictures (3, h, w) of any sizes as rows of one length, of mean 0 and length 1."""
    rows = torch.cat([interpolate(each[None], size=(DETAIL, DETAIL), mode="area") for each in pictures]).flatten(1)
    return normalize(rows - rows.mean(1, keepdim=True), dim=1)
