"""What speaks for a trigger, from the images, the encoder and the verdicts alone: there is no truth to ask.

A backdoor trigger is the SAME thing in DIFFERENT images that ACTS on the encoder. A search always returns its most
suspicious windows, on clean images too, so each part of that sentence is measured on them:

- alike: how many of them show the same pixels. Two windows are alike where the middle of one, slid over the
  surroundings of the other, reaches a correlation of ALIKE. Near-duplicates of one picture count once.
- gap: a planted patch matches the images that bear it far better than all others, so of all images, sorted by how well
  they match that group, there is a gap between two neighbours. Edges and gradients leave none.
- pull: each window is pasted at random places on unsuspicious images. How much more alike does the encoder find these
  images then, of all that they could become more alike? 0: not at all, 1: it sees nothing but the window. The median
  over the largest group of windows that are alike.

The same is measured on windows taken at random from unsuspicious images: what any window does in these images, with
this encoder. The pull of the patches that the quick look found is measured in the same way. The images above the gap
hold the patch of the group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from bench.api import Encoder, Images, Verdict
from bench.seeds import Seeds

from .matching import gap, likeness, matched, middles

WindowProgress = Callable[[int, int], None]
TOP, PROBES = 10, 200
"""Windows judged, and as many for comparison; images that they are pasted on."""
ALIKE = 0.9
"""The correlation from which two windows show the same."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Of a set of windows: how many are in the largest group of alike ones, the gap that this group leaves between
    images, and its median pull, or that of all windows where no two are alike."""

    alike: int
    gap: float
    pull: float


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """`top`: of the most suspicious windows; `usual`: of the windows for comparison, both None where the defense
    locates nothing or there is no encoder. suspects: indices by suspicion (n,). alike: which of them are in the largest
    group (n,) bool. holders: which images hold the patch of that group (N,) bool. pulls: of each patch of the quick
    look, () without an encoder; usual_pulls: of random windows of its size. removed_share: of the images, in [0, 1],
    what the defense would remove. undecided: the share of the images whose score is between 0.1 and 0.9, None without
    scores."""

    top: Measured | None
    usual: Measured | None
    suspects: NDArray[np.int64]
    alike: NDArray[np.bool_]
    holders: NDArray[np.bool_]
    pulls: tuple[float, ...]
    usual_pulls: tuple[float, ...]
    removed_share: float
    undecided: float | None

    @property
    def facts(self) -> dict[str, Any]:
        """As JSON, without the arrays."""
        found = asdict(self)
        for name in ARRAYS:
            found.pop(name)
        return {**found, "holders": int(self.holders.sum())}

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `facts` leaves out."""
        return {name: getattr(self, name) for name in ARRAYS}

    @classmethod
    def of(cls, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Evidence:
        """From `facts` and `arrays`."""
        groups = {name: Measured(**facts[name]) if facts[name] else None for name in ("top", "usual")}
        pulls = {name: tuple(facts[name]) for name in ("pulls", "usual_pulls")}
        return cls(**{**facts, **groups, **pulls, **{name: arrays[name] for name in ARRAYS}})


ARRAYS = ("suspects", "alike", "holders")


def suspects_of(verdict: Verdict, count: int = TOP, picture: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Indices of the `count` images with the highest trigger score, or score where nothing is located; most first.
    Of equal trigger scores, the higher score comes first; of the images of one `picture` (N,), the first alone."""
    none = np.zeros(len(verdict.keep))
    score = none if verdict.score is None else verdict.score
    first = score if verdict.trigger_score is None else verdict.trigger_score
    order = np.lexsort((-score, -np.nan_to_num(first, nan=-np.inf)))
    order = order[np.isfinite(first[order])]
    if picture is not None:
        order = order[np.sort(np.unique(picture[order], return_index=True)[1])]
    return order[:count].astype(np.int64)


def gather(
    images: Images,
    encoder: Encoder,
    verdict: Verdict,
    seeds: Seeds,
    progress: WindowProgress,
    *,
    picture: NDArray[np.int64] | None = None,
    patches: Sequence[Tensor] = (),
) -> Evidence:
    """Measure the windows of `verdict`, and `patches` (3, h, w) uint8. picture: which picture each image is (twins.py).
    `progress(done, total)` is called after each window."""
    found = unweighed(verdict, picture)
    located = verdict.boxes is not None and verdict.trigger_score is not None and len(found.suspects) >= 2
    generator = seeds.child("draws").numpy()
    innocent = np.setdiff1d(np.flatnonzero(verdict.keep), found.suspects)
    if len(innocent) < 4 * TOP:  # nearly all removed
        innocent = np.setdiff1d(np.arange(len(images)), found.suspects)
    many = len(found.suspects) if located else TOP
    controls, probes = np.split(generator.permutation(innocent)[: many + PROBES], [many])
    pasting = _Pasting(encoder, images.batch(probes), seeds)
    ordinary, done, total = images.batch(controls), 0, (2 * many if located else 0) + len(patches) * (1 + len(controls))

    def tell() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    if located:
        assert verdict.boxes is not None
        boxes = _even(verdict.boxes[found.suspects], images.size)
        places = _anywhere(len(controls), (int(boxes[0, 2]), int(boxes[0, 3])), images.size, generator)
        suspected = images.batch(found.suspects)
        different = np.ones(len(images), bool) if picture is None else picture == np.arange(len(images))
        top, group, held = _measure(images, suspected, boxes, different, pasting, tell)
        usual, *_ = _measure(images, ordinary, places, different, pasting, tell)
        found = replace(found, top=top, usual=usual, alike=group, holders=held)
    pulls, usual_pulls = [], []
    for number, patch in enumerate(patches):
        places = _anywhere(len(controls), (patch.shape[1], patch.shape[2]), images.size, generator)
        pulls.append(pasting(patch, number))
        tell()
        usual_pulls.append(float(np.median(_pulls(ordinary, places, pasting, tell))))
    return replace(found, pulls=tuple(pulls), usual_pulls=tuple(usual_pulls))


def unweighed(verdict: Verdict, picture: NDArray[np.int64] | None = None) -> Evidence:
    """What a verdict says without an encoder: nothing is measured."""
    between = None if verdict.score is None else float(((verdict.score > 0.1) & (verdict.score < 0.9)).mean())
    suspects = suspects_of(verdict, picture=picture)
    return Evidence(
        top=None,
        usual=None,
        suspects=suspects,
        alike=np.zeros(len(suspects), bool),
        holders=np.zeros(len(verdict.keep), bool),
        pulls=(),
        usual_pulls=(),
        removed_share=float((~verdict.keep).mean()),
        undecided=between,
    )


def _even(boxes: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Boxes (n, 4) made squares of one width, the median of their sides, about the same middles, inside the image."""
    side = int(np.median(boxes[:, 2:]))
    corners = np.clip(boxes[:, :2] + (boxes[:, 2:] - side) // 2, 0, size - side)
    return np.concatenate([corners, np.full_like(corners, side)], axis=1)


def _anywhere(count: int, shape: tuple[int, int], size: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """`count` random boxes (count, 4) of this height and width in images of `size` px."""
    corners = generator.integers(0, [size - side + 1 for side in shape], (count, 2))
    return np.concatenate([corners, np.broadcast_to(shape, (count, 2))], axis=1)


class _Pasting:
    """Pastes a window on the probe images (P, 3, S, S) uint8 and asks the encoder what they look like then."""

    def __init__(self, encoder: Encoder, probes: Tensor, seeds: Seeds) -> None:
        self._encoder, self._probes, self._seeds = encoder, probes, seeds
        self._before = _alike(encoder(probes))

    def __call__(self, window: Tensor, number: int) -> float:
        """The pull of (3, h, w) uint8, pasted at the places that `number` draws."""
        (height, width), size = window.shape[1:], self._probes.shape[-1]
        draws = torch.rand((len(self._probes), 2), generator=self._seeds.child("spots", number).torch())
        spots = (draws * torch.tensor([size - height + 1, size - width + 1])).long()
        pasted = self._probes.clone()
        for image, (top, left) in zip(pasted, spots.tolist(), strict=True):
            image[:, top : top + height, left : left + width] = window
        return (_alike(self._encoder(pasted)) - self._before) / max(1 - self._before, 1e-9)


def _alike(features: Tensor) -> float:
    """Mean cosine similarity of all pairs of rows of (P, dim)."""
    unit, count = normalize(features.double(), dim=1), len(features)
    return float((unit.sum(0).square().sum() - count) / (count * (count - 1)))


def _pulls(images: Tensor, boxes: NDArray[np.int64], pasting: _Pasting, tell: Callable[[], None]) -> list[float]:
    """Of the window (n, 4) of each image (n, 3, S, S)."""
    found = []
    for number, (image, (top, left, height, width)) in enumerate(zip(images, boxes.tolist(), strict=True)):
        found.append(pasting(image[:, top : top + height, left : left + width], number))
        tell()
    return found


def _measure(
    images: Images,
    chosen: Tensor,
    boxes: NDArray[np.int64],
    different: NDArray[np.bool_],
    pasting: _Pasting,
    tell: Callable[[], None],
) -> tuple[Measured, NDArray[np.bool_], NDArray[np.bool_]]:
    """Of the boxes (n, 4) of `chosen` (n, 3, S, S): the measures, which are the largest group of alike ones (n,), and
    which of all `images` hold its patch (N,). different: one of each picture (N,), for the gap."""
    pulls = np.array(_pulls(chosen, boxes, pasting, tell))
    group = largest_group(likeness(chosen, boxes).numpy(), pulls)
    alike = int(group.sum())
    scores = matched(images, middles(chosen[group], boxes[group]))
    width, limit = gap(scores[different])
    found = Measured(alike=alike, gap=width, pull=float(np.median(pulls[group] if alike > 1 else pulls)))
    return found, group, scores > limit


def largest_group(pairs: NDArray[np.float64], pulls: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Of n windows the largest group that ALIKE links, by their likeness (n, n) either way; of several, the one that
    pulls most: (n,) bool."""
    from scipy.sparse.csgraph import connected_components

    labels = connected_components(np.maximum(pairs, pairs.T) >= ALIKE, directed=False)[1]
    groups = [labels == label for label in range(labels.max() + 1)]
    return max(groups, key=lambda group: (int(group.sum()), float(np.median(pulls[group]))))
