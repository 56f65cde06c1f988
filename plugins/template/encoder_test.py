"""plugin-name: an encoder test that finds encoders for which images are all alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from bench import BenchError, EncoderTest, EncoderVerdict, View, hookimpl


@dataclass(frozen=True, kw_only=True)
class PluginClass(EncoderTest):
    """Scores an encoder by how alike the features of training images are, in pairs.

    A start, to be replaced by your idea. Name here the paper that it comes from, and every deviation from it.
    """

    name: ClassVar[str] = "plugin-name"
    images: int = field(default=200, metadata={"help": "training images that are encoded, at most"})

    def __post_init__(self) -> None:
        if self.images < 2:
            raise BenchError(f"images is {self.images}, expected 2 or more")

    def verdict(self, view: View) -> EncoderVerdict:
        """The suspicion of `view.encoder`. Random numbers come from `view.seeds("a name").numpy()` only; what takes
        long belongs into `view.step`."""
        rows = view.seeds("images").numpy().permutation(len(view))[: self.images]
        features = view.encoder(view.batch(rows)).double().cpu().numpy()
        unit = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
        alike = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
        return EncoderVerdict(score=float(alike.mean()), facts={"pairs": len(alike)})


@hookimpl
def bench_defenses() -> list[type[EncoderTest]]:
    """What this plugin offers."""
    return [PluginClass]
