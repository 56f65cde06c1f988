"""The defense `recur`: a planted patch is a patch that comes back."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import BenchError, Defense, Grouping, Verdict, View

from .effect import CARRIERS, IMAGES, OTHERS, RANDOM, Pull, kinship
from .peel import LEAST, Found, Peeling
from .recurrence import MOST_RANK, Index, Recurrence, joined
from .shared import Shared
from .trigger import heat
from .windows import NARROWEST, Copies, Whitening, Windows, floats, sample_rows, widths

if TYPE_CHECKING:
    from torch import Tensor


EDITION = 2
"""Of what it computes: results of another are not used."""
SECONDS_AN_IMAGE = 0.01
"""Of one CPU core: measured 0.007 for 2,000 images of 32 px, 0.011 for 20,000, 0.010 for 3,000 of 64 px."""


@dataclass(frozen=True, kw_only=True)
class Recur(Defense):
    """Recur: finds patches that come back in many images, to the pixel, and removes what carries one that acts.

    Ours (no paper). Recurrence: whitened descriptors of all windows of several widths, nearest neighbours by faiss; a
    window's score is its similarity to the rank-th nearest other image. Trigger: the twins of the most recurrent window
    are aligned, the rectangle of pixels that vary least is the trigger's, its mean the template, matched everywhere by
    normalised cross-correlation over seven sizes. A planted patch leaves a hole between the images that carry it and
    all others. Effect: pasted on random images it makes their features alike, more than random patches do. Kinship (an
    option): with the patch covered, the images that carry it are more alike than random ones, as those of one class
    are; those that share a logo are not. Peel: what carries it is set aside, and the next seed is tried.

    docs/recur.md has each step with its reason, what was measured, and what it cannot do. It computes on the CPU.
    """

    name: ClassVar[str] = "recur"
    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    toy_options: ClassVar[dict[str, int]] = {"queries": 24, "rank": 6}

    effect: bool = field(default=True, metadata={"help": "ask the encoder whether it acts; false: recurrence alone"})
    kinship: bool = field(
        default=False,
        metadata={"help": "also ask whether the images that carry it are of one kind; true: a logo is not removed"},
    )
    smallest: float = field(default=0.16, metadata={"help": "smallest window, as a share of the image width"})
    largest: float = field(default=0.4, metadata={"help": "largest window, as a share of the image width"})
    queries: int | None = field(
        default=None, metadata={"help": "images whose windows are looked up; by the rule N/10, 400 to 5000"}
    )
    whiten: bool = field(default=True, metadata={"help": "false: common structure counts as much as rare structure"})
    peaks: bool = field(default=True, metadata={"help": "false: all windows are compared, at nine times the cost"})
    rank: int | None = field(
        default=None,
        metadata={"help": "in how many other images a window must come back, at most 50; by the rule N/100, 6 to 20"},
    )

    def __post_init__(self) -> None:
        if not 0 < self.smallest <= self.largest <= 1:
            raise BenchError(
                f"smallest={self.smallest}, largest={self.largest}: expected shares of the width, "
                "0 < smallest <= largest <= 1"
            )
        for option in ("queries", "rank"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise BenchError(f"{option} is {value}, expected 1 or more")
        if self.rank is not None and self.rank > MOST_RANK:
            raise BenchError(
                f"rank is {self.rank}, expected at most {MOST_RANK}: only the nearest windows are looked up"
            )
        if self.kinship and not self.effect:
            raise BenchError("kinship asks the encoder, and effect=false asks none: leave one of them out")
        if not self.effect:
            object.__setattr__(self, "needs", frozenset())  # one verdict then serves every encoder

    def identity(self) -> dict[str, Any]:
        """See Plugin."""
        return {**super().identity(), "edition": EDITION}

    def clean(self, view: View) -> Verdict:
        """Remove every image that carries a patch that recurs and acts (and is tied to one kind of image)."""
        shared = Shared(view)
        small, (seeds, every) = shared.small, self._search(view, shared)
        found = [each for each in every if each.tied]
        keep, score, boxes = np.ones(len(view), bool), np.full(len(view), -1.0), np.full((len(view), 4), -1)
        for each in found:
            margin = (each.matches.score.astype(np.float64) - each.limit) / max(1e-6, 1 - each.limit)
            better = margin > score
            score, keep = np.where(better, margin, score), keep & ~each.carriers
            boxes[better] = at_full_size(each.matches.box[better], small)
        facts: dict[str, Any] = {
            "triggers": [described_as(each, small.scale) for each in found],
            "seeds": len(seeds.score),
        }
        if len(every) > len(found):
            facts["not_tied"] = [described_as(each, small.scale) for each in every if not each.tied]
        if not found:
            score = unsure(len(view), seeds)
            for each in every:
                score[each.carriers] = -1.0  # a logo's, which the record names
            return Verdict(keep=keep, score=score, facts=facts)
        return Verdict(keep=keep, score=score, trigger_score=score.copy(), boxes=boxes.astype(np.int64), facts=facts)

    def attention(
        self, view: View, indices: Sequence[int] | NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """How well the best window over each pixel matches a trigger that was found; None where none was."""
        import torch
        import torch.nn.functional as F

        shared = Shared(view)
        small, found = shared.small, self.triggers(view, shared)
        if not found:
            return None
        rows = np.asarray(indices, np.int64)
        images = floats(small, rows)
        heats = torch.stack([heat(images, each.template) for each in found]).amax(0)
        maps = F.interpolate(heats[:, None], size=(view.size, view.size), mode="bilinear")[:, 0].numpy()
        best = np.stack([each.matches.score[rows] - each.limit for each in found]).argmax(0)
        boxes = np.stack([each.matches.box[rows] for each in found])[best, np.arange(len(rows))]
        return maps, at_full_size(boxes, small)

    def grouping(self, view: View, verdict: Verdict) -> Grouping | None:
        """The images that carry each trigger, and the rest."""
        found = self.triggers(view)
        labels = np.zeros(len(view), np.int64)
        for number, each in reversed(list(enumerate(found, 1))):
            labels[each.carriers] = number
        score = np.array([0.0, *(each.hole for each in found)])
        return Grouping(labels, score, "the width of the hole between the images that carry a patch and all others")

    def forwards(self, count: int, size: int) -> int:
        """A few patches, each with its random ones, on the same images; for kinship, images with them and without."""
        covered = min(count, CARRIERS + OTHERS) if self.kinship else 0
        return 2 * (IMAGES * (RANDOM + 1) + covered) if self.effect else 0

    def seconds(self, count: int, size: int) -> float:
        """Describing and looking up dominate, and do not grow with the size beyond that of the copies."""
        return SECONDS_AN_IMAGE * count

    def triggers(self, view: View, shared: Shared | None = None) -> list[Found]:
        """The patches that come back in the images of the view, act (and are tied to one kind of image)."""
        return [each for each in self._search(view, shared or Shared(view))[1] if each.tied]

    def _search(self, view: View, shared: Shared) -> tuple[Recurrence, list[Found]]:
        """The windows that recur, and the patches among them that act, tied or not."""
        saved = view.step("recurrence", lambda: self.recurrence(shared, view.seeds("recur").numpy()).arrays())
        seeds = Recurrence.of(saved)
        pull = Pull(view, view.seeds("pull")) if self.effect else None
        kin = partial(self._kinship, view, shared.small) if self.kinship else None
        return seeds, list(Peeling(view, shared, pull, kin, view.seeds("sample").numpy())(seeds))

    def _kinship(self, view: View, small: Copies, boxes: NDArray[np.int64], carriers: NDArray[np.bool_]) -> float:
        return kinship(view, at_full_size(boxes, small), carriers, view.seeds("kin"))

    def recurrence(self, shared: Shared, rng: np.random.Generator) -> Recurrence:
        """The best window of each query image, and its twins."""
        view = shared.small
        sizes = widths(max(NARROWEST, self.smallest * view.size), max(NARROWEST, self.largest * view.size))
        whiten = Whitening.of(sample_rows(view, sizes, rng), whiten=self.whiten, peaks=self.peaks)
        with tempfile.TemporaryDirectory(prefix="recur-") as folder:
            index = Index(shared, sizes, whiten, rng, Path(folder))
            count = self.queries or int(np.clip(len(view) // 10, 400, 5000))
            asked = np.sort(rng.permutation(len(view))[:count])
            rank = self.rank or int(np.clip(len(view) // 100, LEAST, 20))
            described = shared.described(asked, sizes, whiten)
            return best_of_each([best_of_each([index.recurrence(*each, rank)]) for each in described])


def unsure(count: int, seeds: Recurrence) -> NDArray[np.float64]:
    """Scores (count,) where nothing was found: how much an image recurs, -1 where it was not looked up."""
    score = np.full(count, -1.0)
    score[seeds.windows.image] = seeds.score - 1.0
    return score


def best_of_each(parts: Sequence[Recurrence]) -> Recurrence:
    """The most recurrent window of each image."""
    windows, score, image, box = joined(parts)
    order = np.lexsort((-score, windows.image))
    best = order[np.unique(windows.image[order], return_index=True)[1]]
    return Recurrence(Windows(windows.image[best], windows.box[best]), score[best], image[best], box[best])


def at_full_size(boxes: NDArray[np.int64], small: Copies) -> NDArray[np.int64]:
    """Boxes (n, 4) on the copies as boxes on the images of the view."""
    start, end = (np.round(edge * small.scale).astype(np.int64) for edge in (boxes[:, :2], boxes[:, :2] + boxes[:, 2:]))
    return np.concatenate([start, end - start], 1)


def png(pixels: Tensor) -> str:
    """A picture (3, h, w) in [0, 1] as a PNG in base64."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray((pixels.permute(1, 2, 0) * 255).round().byte().numpy()).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def described_as(found: Found, scale: float) -> dict[str, Any]:
    """JSON-able: one trigger for the record."""
    height, width = found.template.shape
    effect = found.effect
    return {
        "size": [round(height * scale), round(width * scale)],
        "picture": png(found.template.pixels),
        "images": int(found.carriers.sum()),
        "limit": round(found.limit, 4),
        "hole": round(found.hole, 4),
        "deviation": round(found.template.deviation, 4),
        "turned": found.template.turned,
        "pull": None if effect is None else round(effect.pull, 4),
        "pull_rank": None if effect is None else round(effect.rank, 4),
        "kin": found.kin,
    }
