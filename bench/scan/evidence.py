"""What speaks for a trigger, from the images, the encoder and the verdict alone: there is no truth to ask.

A backdoor trigger is the SAME thing in DIFFERENT images that ACTS on the encoder. A search always returns its most
suspicious windows, on clean images too, so each part of that sentence is measured on them:

- pull: each window is pasted at random places on unsuspicious images. How much more alike does the encoder find these
  images then, of all that they could become more alike? 0: not at all, 1: it sees nothing but the window.
- agreement: the direction in which each window moves them. How alike are these directions? 1: the same.
- likeness: how well do the pixels of each window match some place in the other suspicious images? 1: the same pixels.

Each is a mean over the windows, of the last two over each window's NEIGHBOURS best partners among the others, so that
several triggers count as much as one. The same is measured on windows taken at random from unsuspicious images: what
any window does in these images, with this encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, normalize, pad

from bench.api import Encoder, Images, Verdict
from bench.seeds import Seeds

WindowProgress = Callable[[int, int], None]
TOP, PROBES, NEIGHBOURS = 10, 200, 3
"""Windows judged, and as many for comparison; images that they are pasted on; partners of each window."""
DETAIL = 12
"""px: windows are compared at this width at most; finer detail does not survive scaling and compression."""
FLAT = 4.0
"""Grey values: the standard deviation under which a window is plain and is like nothing."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Means over a group of windows; see the module. None where nothing was located."""

    pull: float
    agreement: float
    likeness: float


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """`top`: of the most suspicious windows; `usual`: of the windows for comparison, both None where the defense
    locates nothing or there is no encoder. suspects: indices by suspicion (n,). removed_share: of the images, in
    [0, 1]. undecided: the share of the images whose score is between 0.1 and 0.9, None without scores."""

    top: Measured | None
    usual: Measured | None
    suspects: NDArray[np.int64]
    removed_share: float
    undecided: float | None

    @property
    def facts(self) -> dict[str, Any]:
        """As JSON, without the suspects."""
        found = asdict(self)
        found.pop("suspects")
        return found

    @classmethod
    def of(cls, facts: Mapping[str, Any], suspects: NDArray[np.int64]) -> Evidence:
        """From `facts` and the suspects."""
        groups = {name: Measured(**facts[name]) if facts[name] else None for name in ("top", "usual")}
        return cls(**{**facts, **groups}, suspects=suspects)


def suspects_of(verdict: Verdict, count: int = TOP) -> NDArray[np.int64]:
    """Indices of the `count` images with the highest trigger score, or score where nothing is located; most first.
    Of equal trigger scores, the higher score comes first."""
    none = np.zeros(len(verdict.keep))
    score = none if verdict.score is None else verdict.score
    first = score if verdict.trigger_score is None else verdict.trigger_score
    order = np.lexsort((-score, -np.nan_to_num(first, nan=-np.inf)))
    return order[np.isfinite(first[order])][:count].astype(np.int64)


def gather(images: Images, encoder: Encoder, verdict: Verdict, seeds: Seeds, progress: WindowProgress) -> Evidence:
    """Measure the windows of `verdict`. `progress(done, total)` is called after each."""
    found = unweighed(verdict)
    if verdict.boxes is None or verdict.trigger_score is None or len(found.suspects) < 2:
        return found
    boxes = verdict.boxes[found.suspects]
    top, usual = _both(images, encoder, boxes, found.suspects, verdict.keep, seeds, progress)
    return replace(found, top=top, usual=usual)


def unweighed(verdict: Verdict) -> Evidence:
    """What a verdict says without an encoder: nothing is measured."""
    between = None if verdict.score is None else float(((verdict.score > 0.1) & (verdict.score < 0.9)).mean())
    return Evidence(
        top=None,
        usual=None,
        suspects=suspects_of(verdict),
        removed_share=float((~verdict.keep).mean()),
        undecided=between,
    )


def _both(
    images: Images,
    encoder: Encoder,
    boxes: NDArray[np.int64],
    suspects: NDArray[np.int64],
    keep: NDArray[np.bool_],
    seeds: Seeds,
    progress: WindowProgress,
) -> tuple[Measured, Measured]:
    generator = seeds.child("draws").numpy()
    innocent = np.setdiff1d(np.flatnonzero(keep), suspects)
    if len(innocent) < 4 * TOP:  # nearly all removed
        innocent = np.setdiff1d(np.arange(len(images)), suspects)
    controls, probes = np.split(generator.permutation(innocent)[: len(suspects) + PROBES], [len(suspects)])
    width = int(boxes[0, 2])
    corners = generator.integers(0, images.size - width + 1, (len(controls), 2))
    places = np.concatenate([corners, np.full_like(corners, width)], axis=1)
    total = len(boxes) + len(controls)
    pasting = _Pasting(encoder, images.batch(probes), seeds)
    top = _measure(images.batch(suspects), boxes, pasting, lambda done: progress(done, total))
    usual = _measure(images.batch(controls), places, pasting, lambda done: progress(len(boxes) + done, total))
    return top, usual


class _Pasting:
    """Pastes a window on the probe images (P, 3, S, S) uint8 and asks the encoder what they look like then."""

    def __init__(self, encoder: Encoder, probes: Tensor, seeds: Seeds) -> None:
        self._encoder, self._probes, self._seeds = encoder, probes, seeds
        self._before = normalize(encoder(probes).double(), dim=1)

    def __call__(self, window: Tensor, number: int) -> tuple[float, Tensor]:
        """(3, w, w) uint8 -> pull, and the mean move (dim,), of length 1."""
        room, width = self._probes.shape[-1] - window.shape[-1] + 1, window.shape[-1]
        spots = torch.randint(room, (len(self._probes), 2), generator=self._seeds.child("spots", number).torch())
        pasted = self._probes.clone()
        for image, (top, left) in zip(pasted, spots.tolist(), strict=True):
            image[:, top : top + width, left : left + width] = window
        after = normalize(self._encoder(pasted).double(), dim=1)
        before, now = _alike(self._before), _alike(after)
        move = normalize((after - self._before).mean(0), dim=0)
        return (now - before) / max(1 - before, 1e-9), move


def _alike(features: Tensor) -> float:
    """Mean cosine similarity of all pairs of rows of (P, dim), each of length 1."""
    count = len(features)
    return float((features.sum(0).square().sum() - count) / (count * (count - 1)))


def _measure(images: Tensor, boxes: NDArray[np.int64], pasting: _Pasting, progress: Callable[[int], None]) -> Measured:
    """images (n, 3, S, S) uint8 and the box (n, 4) of each, all of one size."""
    found = []
    for number, (image, (top, left, height, width)) in enumerate(zip(images, boxes.tolist(), strict=True)):
        found.append(pasting(image[:, top : top + height, left : left + width], number))
        progress(number + 1)
    pulls, moves = zip(*found, strict=True)
    directions = torch.stack(moves)
    return Measured(
        pull=float(np.mean(pulls)),
        agreement=among_neighbours(directions @ directions.T),
        likeness=among_neighbours(likeness(images, boxes)),
    )


def among_neighbours(pairs: Tensor) -> float:
    """Mean over the rows of (n, n) of the mean of each one's NEIGHBOURS largest, its own place left out."""
    others = pairs.double().clone().fill_diagonal_(-torch.inf)
    return float(others.topk(min(NEIGHBOURS, len(pairs) - 1), dim=1).values.mean())


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
    middles = fields[:, :, inner, inner]
    return correlations(middles, fields)


def correlations(windows: Tensor, fields: Tensor) -> Tensor:
    """Each window (n, 3, w, w) slid over each field (m, 3, s, s): the largest normalised correlation, (n, m)."""
    count = windows[0].numel()
    flat = windows.flatten(1).double()
    centred = flat - flat.mean(1, keepdim=True)
    deviation = centred.square().mean(1).sqrt()
    fields = fields.double()
    mean = avg_pool2d(fields.mean(1, keepdim=True), windows.shape[-1], stride=1)
    square = avg_pool2d(fields.square().mean(1, keepdim=True), windows.shape[-1], stride=1)
    spread = (square - mean.square()).clamp_min(0).sqrt()
    products = conv2d(fields, centred.view(len(windows), *windows.shape[1:])) / count
    found = products / (deviation[:, None, None] * spread).clamp_min(1e-9)
    plain = (deviation[:, None, None] < FLAT) | (spread < FLAT)
    return found.masked_fill(plain, 0).flatten(2).amax(2).T.contiguous()
