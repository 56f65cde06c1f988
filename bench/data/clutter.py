"""The embedded dataset with colourful things in it, so that strong colours give no trigger away."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from bench.errors import BenchError

from .scenes import TEXTURES, Field, Rng, Scenes, direction, grid


@dataclass(frozen=True, kw_only=True)
class Clutter(Scenes):
    """`scenes`, in a share of which lies one more thing of pure colours, as large as a trigger and of its own look.

    Photographs have such things: toys, signs, labels. A thing is a disc or a square at any place and angle, with one of
    the textures in two of the eight corners of the colour cube; which, and how fine, differs from image to image and
    tells no class. A mosaic trigger is then found by what comes back, not by its colours.
    """

    name: ClassVar[str] = "clutter"
    variant_of: ClassVar[str] = "scenes"
    share: float = field(default=0.5, metadata={"help": "share of the images with such a thing, in [0, 1]"})
    thing_size: tuple[float, float] = field(
        default=(0.22, 0.36), metadata={"help": "smallest and largest thing, as a share of the width"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise BenchError(f"dataset.share must be in [0, 1], got {self.share}")
        if not 0 < self.thing_size[0] <= self.thing_size[1] <= 1:
            raise BenchError("dataset.thing_size must be two shares of the width, 0 < low <= high <= 1")

    def overlaid(self, canvas: Field, rng: Rng) -> Field:
        """See Scenes: in a share of the images a thing of two pure colours."""
        if rng.random() >= self.share:
            return canvas
        x, y = grid(self.size)
        low, high = self.thing_size
        width = low + (high - low) * rng.random()
        cx, cy = (0.5 + (1.0 - width) * (rng.random() - 0.5) for _ in range(2))
        c, n = direction(rng)
        u, v = (c * (x - cx) + n * (y - cy)) / (0.5 * width), (c * (y - cy) - n * (x - cx)) / (0.5 * width)
        inside = u * u + v * v < 1.0 if rng.random() < 0.5 else np.maximum(np.abs(u), np.abs(v)) < 0.87
        texture = tuple(TEXTURES.values())[int(rng.integers(len(TEXTURES)))]
        zoom = 0.7 + 0.8 * rng.random()
        first, second = rng.permutation(8)[:2].tolist()
        colours = [np.array([first >> bit & 1, second >> bit & 1], float) for bit in range(3)]
        pattern = texture(u * zoom, v * zoom) * 1.0
        paint = np.stack([one * pattern + other * (1.0 - pattern) for one, other in colours])
        return np.where(inside, paint, canvas)
