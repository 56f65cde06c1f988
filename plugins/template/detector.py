"""plugin-name: a test-time detector that finds images far from all known ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import Arrays, BenchError, Detector, View, hookimpl

BATCH = 256


@dataclass(frozen=True, kw_only=True)
class PluginClass(Detector):
    """Scores a test image by how far its feature lies from the nearest of the known images' features.

    A start, to be replaced by your idea. Name here the paper that it comes from, and every deviation from it.
    """

    name: ClassVar[str] = "plugin-name"
    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    references: int = field(default=500, metadata={"help": "known images to compare with, at most"})

    def __post_init__(self) -> None:
        if self.references < 1:
            raise BenchError(f"references is {self.references}, expected 1 or more")

    def score(self, view: View, known: View) -> NDArray[np.float64]:
        """The suspicion of each image of `view`, by itself: the others of `view` must not matter. Random numbers come
        from `view.seeds("a name").numpy()` only."""
        drawn = known.seeds("references").numpy().permutation(len(known))[: self.references]
        around = known.step("references", lambda: encode(known, np.sort(drawn)))["features"]
        own = encode(view, np.arange(len(view)))["features"]
        return 1 - (own @ around.T).max(1)


def encode(view: View, rows: NDArray[np.int64]) -> Arrays:
    """The features (n, dim) of the images at `rows`, each of length 1."""
    parts = []
    for start in range(0, len(rows), BATCH):
        parts.append(view.encoder(view.batch(rows[start : start + BATCH])).double().cpu().numpy())
        view.progress("images encoded", min(start + BATCH, len(rows)), len(rows))
    features = np.concatenate(parts)
    return {"features": features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)}


@hookimpl
def bench_defenses() -> list[type[Detector]]:
    """What this plugin offers."""
    return [PluginClass]
