"""STRIP for an encoder without a classifier."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import BenchError, Detector, View

from .encode import unit_features


@dataclass(frozen=True, kw_only=True)
class Strip(Detector):
    """STRIP on features: a trigger keeps the feature where it is, whatever the image is blended with.

    Gao et al. blend the image with N others and take the entropy of the classes that a classifier then gives: low where
    a trigger decides. An encoder gives no classes. Here the score is the mean cosine similarity between the image's own
    feature and those of its blends. Blending is the authors': pixels added, weights 1 and 1, and clipped; N = 100. [?]
    The N images are drawn once, from the training images as scraped (theirs are clean), and serve every test image.
    """

    name: ClassVar[str] = "strip"
    paper: ClassVar[str] = "Gao et al., STRIP: A Defence Against Trojan Attacks on Deep Neural Networks, ACSAC 2019"
    url: ClassVar[str] = "https://arxiv.org/abs/1902.06531"
    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    toy_options: ClassVar[dict[str, int]] = {"blends": 8}

    blends: int = field(default=100, metadata={"help": "known images that each test image is blended with"})

    def __post_init__(self) -> None:
        if self.blends < 1:
            raise BenchError(f"blends is {self.blends}, expected 1 or more")

    def score(self, view: View, known: View) -> NDArray[np.float64]:
        """See the class."""
        import torch

        drawn = view.seeds("blends").numpy().choice(len(known), min(self.blends, len(known)), replace=False)
        others = known.batch(np.sort(drawn)).int()
        found = np.empty(len(view))
        for index in range(len(view)):
            image = view.batch([index])
            blended = (image.int() + others).clamp_max(255).to(torch.uint8)
            own, *moved = unit_features(view.encoder, torch.cat([image, blended])).split([1, len(others)])
            found[index] = float((moved[0] @ own[0]).mean())
            view.progress("images blended", index + 1, len(view))
        return found

    def forwards(self, count: int, size: int) -> int:
        """Each image and its blends."""
        return count * (1 + self.blends)
