"""What an encoder's images are normalised by. Reading this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

Channels = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Of images in [0, 1], by channel (R, G, B): less `mean`, then over `std`."""

    mean: Channels
    std: Channels


IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""What nearly everybody trains with, and every encoder that is trained here."""
