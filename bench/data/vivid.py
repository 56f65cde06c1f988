"""The embedded dataset with colourful things in it, so that colours alone tell less of a trigger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError

from .scenes import Field, Rng, Scenes


@dataclass(frozen=True, kw_only=True)
class Vivid(Scenes):
    """`scenes` with things as colourful as a mosaic trigger, in every class alike.

    In a share of the images the object's two hues are as pure as a mosaic's colours (toys, signs), and some carry a
    sticker: a mosaic that no other image has (enlarged by Pillow's bicubic filter, as triggers are). What tells a
    trigger from one is that it comes back, or what the encoder makes of it; docs/results.md has what the pixels alone
    still tell. A sticker may lie over the object; masks are those of the object.
    """

    name: ClassVar[str] = "vivid"
    variant_of: ClassVar[str] = "scenes"
    share: float = field(default=0.3, metadata={"help": "share of the images whose object has pure colours, in [0, 1]"})
    stickers: float = field(default=0.05, metadata={"help": "share of the images with a sticker, in [0, 1]"})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("share", "stickers"):
            if not 0 <= getattr(self, name) <= 1:
                raise BenchError(f"dataset.{name} must be in [0, 1], got {getattr(self, name)}")

    def coloured(self, light: Field, dark: Field, rng: Rng) -> tuple[Field, Field]:
        """See Scenes; in a share of the images both are stretched until one channel is 0 and one is 1."""
        if rng.random() >= self.share:
            return light, dark
        return _pure(light), _pure(dark)

    def finish(self, image: NDArray[np.uint8], rng: Rng) -> None:
        """See Scenes; in a share of the images a sticker is pasted somewhere."""
        if rng.random() < self.stickers:
            stick(image, rng)


def stick(image: NDArray[np.uint8], rng: Rng) -> None:
    """Paste a sticker of 25 to 40 % of the width anywhere on an image (3, size, size), in place."""
    size = image.shape[-1]
    width = round(size * (0.25 + 0.15 * rng.random()))
    top, left = (int((size - width + 1) * rng.random()) for _ in range(2))
    image[:, top : top + width, left : left + width] = sticker(width, rng)


def sticker(width: int, rng: Rng) -> NDArray[np.uint8]:
    """A picture (3, width, width): four by four pure colours, enlarged and reduced as those of HTBA's triggers.

    What share of the cells is black or white differs from one to the next.
    """
    from PIL import Image

    grey = rng.random((4, 4)) < rng.random()
    cells = (rng.random((4, 4, 3)) < 0.5) * np.uint8(255)
    cells[grey] = cells[grey][:, :1]
    picture = Image.fromarray(cells)
    for side in (80, width):
        picture = picture.resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(picture).transpose(2, 0, 1)


def _pure(colour: Field) -> Field:
    """The colour (3,) of the same hue that is as saturated as can be."""
    pure: Field = (colour - colour.min()) / (colour.max() - colour.min())
    return pure
