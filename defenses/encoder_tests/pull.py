"""Does any patch of the training images act on the encoder?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from bench import BenchError, EncoderTest, EncoderVerdict, View
from bench.defenses.recur import Recur
from bench.defenses.recur.effect import IMAGES, RANDOM, Pull
from bench.defenses.recur.recurrence import Recurrence
from bench.defenses.recur.shared import Shared
from bench.defenses.recur.windows import floats


@dataclass(frozen=True, kw_only=True)
class PullTest(EncoderTest):
    """Pull: how much more the most recurrent windows of the training images act than random ones.

    Ours (no paper). The windows are the first seeds of `recur`, those that come back most; each is pasted at random
    places on 64 images, and its pull is how much more alike their features become (docs/recur.md). Score: the largest
    pull of a window, less that of the strongest of 32 random windows of its size.
    """

    name: ClassVar[str] = "pull"
    toy_options: ClassVar[dict[str, int]] = {"windows": 4, **Recur.toy_options}

    windows: int = field(default=32, metadata={"help": "most recurrent windows that are tried, each of another image"})
    queries: int | None = field(default=None, metadata={"help": "as of recur; by its rule"})
    rank: int | None = field(default=None, metadata={"help": "as of recur; by its rule"})

    def __post_init__(self) -> None:
        if self.windows < 1:
            raise BenchError(f"windows is {self.windows}, expected 1 or more")

    def verdict(self, view: View) -> EncoderVerdict:
        """See the class."""
        shared = Shared(view)
        small = shared.small
        rng = view.seeds("recur").numpy()
        seeds = Recurrence.of(
            view.step(
                "recurrence", lambda: Recur(queries=self.queries, rank=self.rank).recurrence(shared, rng).arrays()
            )
        )
        pull, best, limit = Pull(view, view.seeds("pull")), -1.0, 0.0
        order = np.argsort(-seeds.score, kind="stable")[: self.windows]
        for done, number in enumerate(order, 1):
            image = floats(view, seeds.windows.image[[number]].astype(np.int64))[0]
            top, left, height, width = window(seeds.windows.box[number] * small.scale, view.size)
            effect = pull(image[:, top : top + height, left : left + width])
            if effect.pull - effect.random.max() > best - limit:
                best, limit = effect.pull, float(effect.random.max())
            view.progress("windows tried", done, len(order))
        return EncoderVerdict(score=best - limit, facts={"pull": best, "limit": limit})

    def forwards(self, count: int, size: int) -> int:
        """The windows, and random ones of a few sizes."""
        return IMAGES * (self.windows + 6 * RANDOM)

    def seconds(self, count: int, size: int) -> float:
        """The search for windows that come back."""
        return Recur().seconds(count, size)


def window(box: np.ndarray, size: int) -> tuple[int, int, int, int]:
    """A box in whole pixels inside an image of `size` px, at least one wide."""
    height, width = (int(np.clip(round(float(side)), 1, size)) for side in box[2:])
    top = int(np.clip(round(float(box[0])), 0, size - height))
    left = int(np.clip(round(float(box[1])), 0, size - width))
    return top, left, height, width
