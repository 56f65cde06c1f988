"""A statistic of the pixels alone, as a detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import Detector, View
from bench.defenses.baselines.colour import strongest_colour


@dataclass(frozen=True, kw_only=True)
class ColourTest(Detector):
    """Colour of a test image: the score of the baseline `colour`, on single images.

    No paper, no encoder: what any detector must beat where triggers are gaudy.
    """

    name: ClassVar[str] = "colour-test"
    baseline: ClassVar[bool] = True

    def score(self, view: View, known: View) -> NDArray[np.float64]:
        """See `colour`."""
        return strongest_colour(view)
