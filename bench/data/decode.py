"""Decoding one image file: a path or its bytes in, an upright RGB image or a square of it out.

What becomes of modes other than RGB:
- grey, palette, CMYK, YCbCr: converted by Pillow;
- anything with transparency: laid over white, which is what a viewer shows (dropping the alpha channel, as
  torchvision's loader does, would bring out colours that nobody was meant to see);
- 16-bit grey (modes I;16 and I): scaled by 255/65535 (Pillow alone would clip at 255);
- 32-bit float: refused, there is no agreed range.
The EXIF orientation is applied, so that the pixels are as a viewer shows them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from bench.store import read_bytes

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".ppm"}
    | {".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".avif", ".heic", ".heif"}
)
"""Suffixes of files that are taken for images, whether or not Pillow can read them: then that is said."""
MOST_BYTES = 256 << 20
"""A larger file is no photograph (a file without a suffix may be anything), and would have to fit into memory."""
DEEP, DARK = "16-bit", "16-bit, dark"
"""What `depth_of` says."""

LAW = 1
"""Raise it when a file would come out with other pixels than before, or other files would be refused."""

_ALPHA = frozenset({"LA", "PA", "RGBA", "RGBa"})


def suffix_of(name: str) -> str:
    """ ".png" of "a/b.PNG", "" where there is none."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - of a million


def may_be_image(name: str) -> bool:
    """Whether a file of that name is tried: one rule for all folders of images. Without a suffix it is (scraped images
    often have none); hidden ones are not."""
    suffix = suffix_of(name)
    return (not suffix or suffix in SUFFIXES) and not name.rpartition("/")[2].startswith(".")


class Unreadable(Exception):
    """A file that cannot be decoded, and why; the message holds no path."""


def read_file(path: Path) -> bytes:
    """The bytes of a regular file: reading a pipe or a device could wait or go on for ever. Raises Unreadable."""
    try:
        return read_bytes(path, MOST_BYTES)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None


def open_rgb(file: Path | IO[bytes]) -> Image.Image:
    """The whole image, decoded, upright, mode RGB, any size. Raises Unreadable."""
    try:
        with Image.open(file) as image:
            deep = image.mode.startswith("I") or re.search(";16[BLN]", str(image.tile)) is not None
            image.load()
            result = _rgb(_upright(image))
            if deep:
                result.info[DEEP] = True
            return result
    except (MemoryError, Warning):  # a warning made an error by python -W is no fault of the file
        raise
    except UnidentifiedImageError:  # its own message holds the address of a buffer
        raise Unreadable("not an image, or not one that Pillow knows") from None
    except Exception as error:  # on broken files Pillow raises nearly everything, struct.error to SyntaxError
        # strerror: an OSError's text without the path, which the caller names anyway
        raise Unreadable(getattr(error, "strerror", None) or str(error) or type(error).__name__) from None


def depth_of(image: Image.Image) -> str:
    """Of what `open_rgb` made: DEEP where the file has 16 bits a value, DARK where it uses the lowest 12 at most (or
    none), "" for all others."""
    if DEEP not in image.info:
        return ""
    extrema: Sequence[tuple[int, int]] = image.getextrema()  # type: ignore[assignment]
    return DARK if max(high for _, high in extrema) <= 16 else DEEP  # 16 = 4095 x 255 / 65535, rounded up


def square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """The middle square of an RGB image at `size` pixels: uint8 (3, size, size), bicubic with antialiasing.

    The same as resizing the short side to `size` and cropping the middle, to within the rounding of the long
    side, at no more memory than the result however long the long side is.
    """
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    if (width, height) != (size, size):
        box = (left, top, left + side, top + side)
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    return np.asarray(image).transpose(2, 0, 1)


def _upright(image: Image.Image) -> Image.Image:
    """`image` turned as its EXIF orientation says; as it is where that is broken (ImageNet has some)."""
    try:
        return ImageOps.exif_transpose(image)
    except (MemoryError, Warning):
        raise
    except Exception:  # pixels are fine, only the notes beside them are not
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"grey values from {values.min()} to {values.max()}, expected 0 to 65535")
        grey = np.empty(values.shape, np.uint8)
        for row, scaled in zip(values, grey, strict=True):  # not all at once: eight bytes for each pixel
            scaled[:] = (row.astype(np.int64) * 255 + 32767) // 65535
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "F":
        raise ValueError("32-bit float images have no agreed range")
    if image.mode in _ALPHA or "transparency" in image.info:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")
