"""How a pasted trigger looks on one image: its colours, its light, how far the image shines through, what a camera's or
website's JPEG makes of it."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

from bench import BenchError, Seeds

if TYPE_CHECKING:
    from torch import Tensor

Span = tuple[float, float]
JPEG_QUALITIES = range(1, 96)
"""Pillow's: above 95 files grow and look no better."""


def check_span(name: str, span: Span, low: float, high: float) -> None:
    """Raises BenchError unless low < span[0] <= span[1] <= high."""
    if not (math.isfinite(span[0]) and low < span[0] <= span[1] <= high):
        limit = f" and up to {high:g}" if math.isfinite(high) else ""
        raise BenchError(f"{name} is {list(span)}, expected two numbers, the lower first, above {low:g}{limit}.")


def drawn(seed: int, what: str, span: Span) -> float:
    """A number uniform in `span`, by arithmetic on the row's seed and the name of what is drawn."""
    if span[0] == span[1]:
        return span[0]
    return span[0] + (span[1] - span[0]) * Seeds(seed, what).value / 2**63


def coloured(patch: Tensor, saturation: float, contrast: float) -> Tensor:
    """A patch uint8 (3, w, w) in other colours: each pixel moved towards the mean of its channels (saturation 0: grey,
    1: as it is), then towards mid-grey, 127.5 (contrast 0: flat)."""
    if saturation == contrast == 1:
        return patch
    colours = patch.float()
    grey = colours.mean(0, keepdim=True)
    changed = 127.5 + contrast * (grey + saturation * (colours - grey) - 127.5)
    return changed.round().clamp(0, 255).to(patch.dtype)


def pasted(patch: Tensor, under: Tensor, brightness: float, opacity: float, degrees: float = 0.0) -> Tensor:
    """A patch uint8 (3, w, w) over the pixels `under`, of its shape: turned about its middle (what leaves the square is
    cut off, and its corners show what is under it), times `brightness`, then mixed with what is under it."""
    if degrees:
        patch, cover = _turned(patch, degrees)
        over = pasted(patch, under, brightness, opacity).float()
        return (cover * over + (1 - cover) * under.float()).round().to(under.dtype)
    if brightness == opacity == 1:
        return patch
    lit = (patch.float() * brightness).clamp(0, 255)
    return (opacity * lit + (1 - opacity) * under.float()).round().to(patch.dtype)


def _turned(patch: Tensor, degrees: float) -> tuple[Tensor, Tensor]:
    """A patch (3, w, w) turned counter-clockwise, and how far each pixel is covered by it, float (w, w) in [0, 1]."""
    import numpy as np
    import torch
    from PIL import Image

    picture = Image.fromarray(patch.permute(1, 2, 0).cpu().numpy()).rotate(degrees, Image.Resampling.BILINEAR)
    whole = Image.new("L", picture.size, 255).rotate(degrees, Image.Resampling.BILINEAR)
    found = torch.from_numpy(np.array(picture)).permute(2, 0, 1).to(patch.device)
    return found, torch.from_numpy(np.array(whole)).to(patch.device) / 255


def recompressed(image: Tensor, quality: int) -> Tensor:
    """An image uint8 (3, H, W) saved as JPEG of this quality and read again (Pillow; chroma at half the resolution)."""
    import numpy as np
    import torch
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).cpu().numpy()).save(file, "JPEG", quality=quality)
    with Image.open(file) as read:
        return torch.from_numpy(np.array(read)).permute(2, 0, 1).to(image.device)
