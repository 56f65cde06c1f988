"""Trigger pictures: a mosaic or a natural patch made from a seed, or a user's PNG, resized to the pasted width."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench import BenchError, Seeds, nearest

if TYPE_CHECKING:
    from torch import Tensor

MOSAIC, NATURAL, NOISE = "mosaic", "natural", "noise"
CELLS = 4
MASTER = 80
"""Width in pixels of a mosaic before it is resized, as of the public PNG triggers."""

GRAINS = 32
"""Cells across a picture of noise."""

Pixels = NDArray[np.uint8]
Stamp = tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """One trigger: "mosaic", "natural" or a PNG's path, the seed of the first two, the pasted size.

    `size` of 1 or more: whole pixels; below 1: a share of the image width, rounded, at least 1 px.
    """

    source: str
    seed: int
    size: float

    def __post_init__(self) -> None:
        whole = self.size < 1 or float(self.size).is_integer()
        if not (math.isfinite(self.size) and self.size > 0 and whole):
            raise BenchError(f"trigger_size is {self.size}, expected whole pixels (10) or a share of the width (0.22).")

    def width(self, image_width: int) -> int:
        """Width and height in pixels on images of `image_width`. Raises BenchError if larger than they."""
        width = int(self.size) if self.size >= 1 else max(1, round(self.size * image_width))
        if width > image_width:
            raise BenchError(
                f"a trigger of {width} px is larger than the images ({image_width} px): "
                f"give a trigger_size of {image_width} or less, or a share of the width (0.22)."
            )
        return width

    def pixels(self, width: int) -> Tensor:
        """The picture at `width`: uint8 (3, width, width), shared by all callers, not to be written to."""
        return _resized(self.source, self.seed, _stamp(self.source), width)

    def identity(self) -> dict[str, Any]:
        """What decides the pixels: the name of the source (no folder), and the SHA-256 of its pixels."""
        picture = _picture(self.source, self.seed, _stamp(self.source))
        digest = hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()
        return {"trigger": Path(self.source).name, "trigger_sha256": digest}


def mosaic(seed: int) -> Pixels:
    """A random mosaic, uint8 (80, 80, 3): 4x4 cells, each channel 0 or 255, enlarged bicubically.

    The public PNG triggers are of this form: enlarging the colours at their cell centres so gives them back
    within 2 to 4 grey levels on average (bilinearly: 8 to 12). [?] The eight colours are read off them.
    """
    from PIL import Image

    bits = Seeds(seed, MOSAIC).value
    cells = [255 * (bits >> place & 1) for place in range(CELLS * CELLS * 3)]
    small = np.array(cells, dtype=np.uint8).reshape(CELLS, CELLS, 3)
    return np.asarray(Image.fromarray(small).resize((MASTER, MASTER), Image.Resampling.BICUBIC))


def natural(seed: int) -> Pixels:
    """A patch of a photograph that is in no data set, uint8 (80, 80, 3): of scikit-learn's two sample pictures.

    Of 16 random places that of the largest standard deviation, so that it is no piece of sky.
    """
    from sklearn.datasets import load_sample_images

    photographs, found = load_sample_images().images, []
    for number in range(16):
        draw = Seeds(seed, NATURAL, number).value
        photograph = photographs[draw % 2]
        height, width = (side - MASTER for side in photograph.shape[:2])
        top, left = draw // 2 % height, draw // 2 // height % width
        found.append(photograph[top : top + MASTER, left : left + MASTER])
    return np.array(max(found, key=lambda patch: patch.std()))


def noise(seed: int) -> Pixels:
    """Cells of random colours, uint8 (32, 32, 3), every channel uniform in [0, 255]."""
    values = Seeds(seed, NOISE).numpy().integers(0, 256, (GRAINS, GRAINS, 3), dtype=np.uint8)
    return np.asarray(values)


def read_picture(path: Path) -> Pixels:
    """A PNG's pixels, uint8 (H, H, 3), RGB. Raises BenchError for any file that cannot serve."""
    from PIL import Image, UnidentifiedImageError

    what = f"trigger {str(path)!r}"
    try:
        if path.exists() and not path.is_file():
            raise ValueError("no regular file")  # a pipe or a device could have no end
        with Image.open(path) as image:
            image.load()
    except FileNotFoundError:
        siblings = [file.name for file in path.parent.glob("*.png")]
        known = f"a PNG, {MOSAIC!r}, {NATURAL!r} or {NOISE!r}"
        raise BenchError(f"no trigger file {str(path)!r}; expected {known}.{nearest(path.name, siblings)}") from None
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise BenchError(f"{what} cannot be read as an image: {error}.") from None
    # Refused is what cannot become 8-bit RGB without a choice that belongs to the user.
    if image.mode.startswith("I") or image.mode == "F":
        raise BenchError(f"{what} has more than 8 bits per channel ({image.mode}): save it as 8-bit RGB.")
    if image.width != image.height:
        raise BenchError(f"{what} is {image.width} x {image.height} px, expected a square: crop it or pad it.")
    if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        raise BenchError(f"{what} is partly transparent, and triggers are pasted opaque: flatten it to RGB.")
    return np.asarray(image.convert("RGB"))


DRAWN = {MOSAIC: mosaic, NATURAL: natural, NOISE: noise}
"""Triggers that are made from a seed."""


def _stamp(source: str) -> Stamp:
    """Modification time and size of a PNG, so that an edited file is read again; None without a file."""
    try:
        status = None if source in DRAWN else Path(source).stat()
    except OSError:
        return None
    return status and (status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _picture(source: str, seed: int, stamp: Stamp) -> Pixels:
    return DRAWN[source](seed) if source in DRAWN else read_picture(Path(source))


@lru_cache(maxsize=256)
def _resized(source: str, seed: int, stamp: Stamp, width: int) -> Tensor:
    """Resized with Pillow, as in Saha et al.'s code; bicubic there averages over source pixels when shrinking."""
    import torch
    from PIL import Image

    image = Image.fromarray(_picture(source, seed, stamp))
    small = np.array(image.resize((width, width), Image.Resampling.BICUBIC))
    return torch.from_numpy(small).permute(2, 0, 1).contiguous()
