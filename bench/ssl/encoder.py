"""A trained backbone, frozen: what the probe measures and what a defense may question."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.api import Arrays, Images, ProgressCallback, RowFunction
from bench.data.augment import normalise
from bench.data.images import Subset
from bench.errors import BenchError, counted

from .backbone import build_encoder
from .settings import EncoderSettings

if TYPE_CHECKING:
    from bench.parallel.shards import Shards


BATCH = 256  # images encoded at once


class FrozenEncoder:
    """An Encoder (see bench.Encoder) in evaluation mode, float32."""

    def __init__(
        self, module: nn.Module, dim: int, device: torch.device, settings: EncoderSettings | None = None
    ) -> None:
        self.module = module.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.module.requires_grad_(False)
        self.dim, self.device = dim, device
        self._normalisation = settings.normalisation if settings else {}

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 [0, 255] or float [0, 1] images (B, 3, S, S) -> normalised float32 on the device: by ImageNet's mean
        and deviation, or by those of the section [encoder]."""
        images = images.to(self.device, non_blocking=True)
        scaled = images.float() / 255 if images.dtype == torch.uint8 else images.float()
        return normalise(scaled, **self._normalisation).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, dim), float32, not normalised."""
        features: Tensor = self.module(self.prepare(images))
        return features.float()


def load_encoder(path: Path, settings: EncoderSettings, size: int, device: torch.device) -> FrozenEncoder:
    """The encoder saved at `path` (safetensors). Raises BenchError when it does not fit `settings`."""
    with torch.random.fork_rng(devices=[]):
        module, dim = build_encoder(settings, size)
    try:
        module.load_state_dict(load_file(path))
    except (RuntimeError, OSError, SafetensorError) as error:
        raise BenchError(f"the encoder {path} does not fit backbone {settings.backbone!r}: {error}") from error
    return FrozenEncoder(module, dim, device, settings)


def feature_maker(
    source: Callable[[torch.device], FrozenEncoder], device: torch.device, shards: Shards
) -> Callable[[Images], Tensor]:
    """Images -> their `normalised_features` by the encoder that `source` loads: on `device`, or by all of several."""
    if shards.devices == 1:
        encoder = source(device)
        return lambda images: normalised_features(encoder, images)
    mapper = shards.map_rows(partial(_encoding, source))

    def make(images: Images) -> Tensor:
        return torch.from_numpy(mapper(images, len(images), BATCH, lambda done: None)["features"])

    return make


def _encoding(source: Callable[[torch.device], FrozenEncoder], device: torch.device) -> RowFunction:
    """The row function whose rows are the features of the given images."""
    encoder = source(device)

    def encode(images: Images, start: int, stop: int, done: ProgressCallback) -> Arrays:
        features = normalised_features(encoder, Subset(images, np.arange(start, stop)))
        done(stop - start)
        return {"features": features.numpy()}

    return encode


def normalised_features(encoder: FrozenEncoder, images: Images, batch: int = BATCH) -> Tensor:
    """L2-normalised features (N, dim) float32 on the CPU, `batch` images at a time, in one array that is made once.

    Raises BenchError when any is not finite, with their number.
    """
    features, bad = torch.empty((len(images), encoder.dim)), 0
    for start in range(0, len(images), batch):
        rows = features[start : start + batch]
        rows.copy_(F.normalize(encoder(images.batch(np.arange(start, start + len(rows)))), dim=1))
        bad += int((~torch.isfinite(rows).all(1)).sum())
    if bad:
        of = counted(len(features), "image has", "images have")
        raise BenchError(f"{bad} of {of} features that are not finite: the encoder is broken")
    return features
