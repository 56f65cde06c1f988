"""The embedded dataset with pure colours in it, so that a trigger is not given away by its saturation alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from bench.errors import BenchError

from .scenes import Field, Rng, Scenes


@dataclass(frozen=True, kw_only=True)
class Vivid(Scenes):
    """`scenes`, where in a share of the images of every class the object's two hues are as pure as a mosaic's colours.

    Things are as colourful as they like: toys, signs, labels. How saturated a mosaic trigger is does not tell it from
    these; how many colours it has still does (docs/results.md).
    """

    name: ClassVar[str] = "vivid"
    variant_of: ClassVar[str] = "scenes"
    share: float = field(default=0.3, metadata={"help": "share of the images whose object has pure colours, in [0, 1]"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise BenchError(f"dataset.share must be in [0, 1], got {self.share}")

    def coloured(self, light: Field, dark: Field, rng: Rng) -> tuple[Field, Field]:
        """See Scenes; in a share of the images both are stretched until one channel is 0 and one is 1."""
        if rng.random() >= self.share:
            return light, dark
        return _pure(light), _pure(dark)


def _pure(colour: Field) -> Field:
    """The colour (3,) of the same hue that is as saturated as can be."""
    pure: Field = (colour - colour.min()) / (colour.max() - colour.min())
    return pure
