"""Pictures of suspects for the page: the image with its window, and the defense's map over it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WIDTH = 160
"""px: about what a picture is enlarged to."""
LINE = (255, 0, 150)


def enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(S, S, 3) -> (f S, f S, 3), f a whole number that brings it to about WIDTH."""
    factor = max(1, round(WIDTH / len(pixels)))
    return pixels.repeat(factor, 0).repeat(factor, 1)


def framed(picture: NDArray[np.uint8], box: Sequence[int] | None, size: int) -> NDArray[np.uint8]:
    """A copy of an enlarged picture with the outline of `box`, in px of the image of `size` px: LINE between white."""
    found = picture.copy()
    if box is None or box[0] < 0:
        return found
    factor = picture.shape[0] / size
    top, left, height, width = (round(value * factor) for value in box)
    for inset, colour in enumerate(((255, 255, 255), LINE, LINE, (255, 255, 255))):
        _outline(found, top + inset, left + inset, height - 2 * inset, width - 2 * inset, colour)
    return found


def _outline(
    picture: NDArray[np.uint8], top: int, left: int, height: int, width: int, colour: tuple[int, int, int]
) -> None:
    bottom, right = top + height - 1, left + width - 1
    if height < 1 or width < 1:
        return
    picture[[top, bottom], left : right + 1] = colour
    picture[top : bottom + 1, [left, right]] = colour
