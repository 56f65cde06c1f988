"""Pictures for the page: suspects, enlarged, the window framed; and patches, to and from the form that facts hold."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bench.errors import BenchError

if TYPE_CHECKING:
    from torch import Tensor

WIDTH = 160
"""px: about what a picture is enlarged to."""
LINE = (255, 0, 150)


def framed(pixels: NDArray[np.uint8], box: Sequence[int] | None) -> NDArray[np.uint8]:
    """(S, S, 3) -> (f S, f S, 3), f a whole number that brings it to about WIDTH, with the outline of `box` (top, left,
    height, width in px of the image; None or negative: no frame): LINE between white."""
    factor = max(1, round(WIDTH / len(pixels)))
    picture = Image.fromarray(pixels).resize((factor * len(pixels),) * 2, Image.Resampling.NEAREST)
    if box is not None and box[0] >= 0:
        top, left, height, width = (factor * int(value) for value in box)
        draw, right, bottom = ImageDraw.Draw(picture), left + width - 1, top + height - 1
        draw.rectangle((left, top, right, bottom), outline="white", width=4)
        if min(height, width) > 4:
            draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=LINE, width=2)
    return np.asarray(picture)


def opened(patch: Mapping[str, Any], most: int) -> Tensor:
    """The picture of a patch, uint8 (3, h, w), at its size in the images, of at most `most` px. Raises BenchError."""
    import torch

    try:
        height, width = (max(1, min(most, int(side))) for side in patch["size"])
        with Image.open(io.BytesIO(base64.b64decode(patch["picture"])), formats=["PNG"]) as image:
            pixels = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))
    except (OSError, ValueError, TypeError, SyntaxError) as error:
        raise BenchError(f"the picture of a patch that recurs cannot be read: {error}") from error
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def packed(pixels: Tensor) -> str:
    """uint8 (3, h, w) as a PNG in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
