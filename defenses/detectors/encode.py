"""What detectors ask of an encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from bench import Encoder

PIXELS = 2**17
"""On a CPU so many go through the encoder at once (see bench.defenses.search.clusters)."""


def unit_features(encoder: Encoder, images: Tensor) -> Tensor:
    """The features of images (B, 3, S, S), uint8 or float in [0, 1], each of length 1: (B, dim) float32 on the
    encoder's device. A feature of zeros stays one."""
    import torch
    from torch.nn.functional import normalize

    step = max(8, PIXELS // images.shape[-1] ** 2)
    if encoder.device.type != "cpu":
        step *= 8
    return torch.cat([normalize(encoder(part).float(), dim=1) for part in images.split(step)])
