"""The defense `gaudy`: a trigger is often more colourful than what it is pasted on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bench import Arrays, BenchError, Defense, Verdict, View

BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Gaudy(Defense):
    """Removes the images with the most colourful windows, and says where these are.

    An example, from no paper. The colourfulness of a pixel is the spread of its three colours; that of a window, the
    mean over its pixels; that of an image, the largest of its windows'.
    """

    name: ClassVar[str] = "gaudy"
    share: float = field(default=0.1, metadata={"help": "share of the images to remove, in [0, 1)"})
    window: float = field(default=0.25, metadata={"help": "width of the window, a share of the image's, in (0, 1]"})

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise BenchError(f"share is {self.share}, expected 0 or more and below 1")
        if not 0 < self.window <= 1:
            raise BenchError(f"window is {self.window}, expected a share above 0 and up to 1")

    def clean(self, view: View) -> Verdict:
        """Every image has a score and a window; nothing is drawn at random."""
        found = view.step("windows", lambda: self._windows(view))
        score, boxes = found["score"], found["boxes"]
        keep = score <= np.quantile(score, 1 - self.share)
        return Verdict(keep=keep, score=score, trigger_score=score, boxes=boxes, facts={"removed": int((~keep).sum())})

    def attention(
        self, view: View, indices: Sequence[int] | NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """For the pictures of `bench report`: the colourfulness of every pixel, and the window."""
        colourful = colourfulness(view.batch(indices))
        return colourful.numpy(), self._best(colourful)[1]

    def _windows(self, view: View) -> Arrays:
        """The score (N,) and the window (N, 4) of every image; a stopped run does not compute them again."""
        found = [self._best(colourfulness(view.batch(rows))) for rows in batches(view)]
        scores, boxes = zip(*found, strict=True)
        return {"score": np.concatenate(scores), "boxes": np.concatenate(boxes)}

    def _best(self, colourful: Tensor) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Of maps (B, S, S): the largest mean over a window (B,), and that window (B, 4)."""
        side = max(1, round(self.window * colourful.shape[-1]))
        means = F.avg_pool2d(colourful[:, None], side, stride=1)[:, 0]
        best, at = means.flatten(1).max(1)
        top, left = at // means.shape[-1], at % means.shape[-1]
        boxes = np.stack([top.numpy(), left.numpy(), *[np.full(len(top), side)] * 2], axis=1)
        return best.double().numpy(), boxes.astype(np.int64)


def colourfulness(images: Tensor) -> Tensor:
    """uint8 (B, 3, S, S) -> the standard deviation over the colours of every pixel, (B, S, S) float32 in [0, 1]."""
    return images.float().div(255).std(1)


def batches(view: View) -> Iterator[range]:
    """The rows of the view, BATCH at a time; the user sees how far it is."""
    for start in range(0, len(view), BATCH):
        rows = range(start, min(start + BATCH, len(view)))
        yield rows
        view.progress("images looked at", rows.stop, len(view))
