"""Pictures of suspects for the page: enlarged, the window framed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

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
