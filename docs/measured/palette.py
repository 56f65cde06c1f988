"""How many of the eight pure colours an image has: a statistic that finds most mosaics also where `colour` does not.

    bench run --plugin docs/measured/palette.py --defense palette --preset vivid --until detection --seeds 0-4

docs/results.md has its average precision; it removes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bench import Defense, Verdict, View, hookimpl

NEAR = 12  # grey levels from 0 or 255 at which a channel counts as pure: JPEG and noise move it


@dataclass(frozen=True, kw_only=True)
class Palette(Defense):
    """The number of corners of the colour cube that any pixel of the image lies near."""

    name: ClassVar[str] = "palette"

    def clean(self, view: View) -> Verdict:
        """See the class."""
        images = view.batch(range(len(view))).flatten(2)
        high = images >= 255 - NEAR
        pure = (high | (images <= NEAR)).all(1)
        corner = high[:, 0] * 4 + high[:, 1] * 2 + high[:, 2] * 1
        score = sum(((corner == each) & pure).any(1).double() for each in range(8))
        return Verdict(keep=np.ones(len(view), bool), score=score.numpy())


@hookimpl
def bench_defenses() -> list[type[Defense]]:
    """The defense of this file."""
    return [Palette]
