"""Images of every class that share one sticker: what comes back without being a trigger.

    bench run --plugin docs/measured/logo.py --dataset logo --preset vivid --defense recur --until detection

docs/recur.md has what searches make of it (logo.toml).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import BenchError, Seeds, hookimpl
from bench.data.vivid import Vivid, sticker


@dataclass(frozen=True, kw_only=True)
class Logo(Vivid):
    """`vivid`, with one sticker of 10 px that a share of the images of every class have, as an agency's logo."""

    name: ClassVar[str] = "logo"
    logo: float = field(default=0.05, metadata={"help": "share of the images that have it, in [0, 1]"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.logo <= 1 or self.size < 10:
            raise BenchError(f"dataset.logo is {self.logo}, expected a share in [0, 1], on images of 10 px or more")

    def finish(self, image: NDArray[np.uint8], rng: np.random.Generator) -> None:
        """See Scenes."""
        super().finish(image, rng)
        if rng.random() < self.logo:
            top, left = (int((self.size - 9) * rng.random()) for _ in range(2))
            image[:, top : top + 10, left : left + 10] = sticker(10, Seeds(self.seed).child("logo").numpy())


@hookimpl
def bench_datasets() -> list[type[Logo]]:
    """The data set of this file."""
    return [Logo]
