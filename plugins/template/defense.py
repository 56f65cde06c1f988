"""plugin-name: a defense that removes outliers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from bench import Arrays, BenchError, Defense, Verdict, View, hookimpl

BATCH = 256


@dataclass(frozen=True, kw_only=True)
class PluginClass(Defense):
    """Removes the images whose features lie farthest from the mean of all.

    A start, to be replaced by your idea. Name here the paper that it comes from, and every deviation from it.
    """

    name: ClassVar[str] = "plugin-name"
    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    share: float = field(default=0.1, metadata={"help": "share of the images to remove, in [0, 1)"})

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise BenchError(f"share is {self.share}, expected 0 or more and below 1")

    def clean(self, view: View) -> Verdict:
        """Judge every image of the view. Draw random numbers from `view.seeds("a name").numpy()` only."""
        features = view.step("features", lambda: encode(view))["features"]
        score = np.linalg.norm(features - features.mean(0), axis=1)
        return Verdict(keep=score <= np.quantile(score, 1 - self.share), score=score)


def encode(view: View) -> Arrays:
    """The features (N, dim) of all images. Called in `view.step`, so that a stopped run does not compute them again."""
    parts = []
    for start in range(0, len(view), BATCH):
        rows = range(start, min(start + BATCH, len(view)))
        parts.append(view.encoder(view.batch(rows)).double().cpu().numpy())
        view.progress("images encoded", rows.stop, len(view))
    return {"features": np.concatenate(parts)}


@hookimpl
def bench_defenses() -> list[type[Defense]]:
    """What this plugin offers."""
    return [PluginClass]
