"""What estimates and profiles try on this machine: a short training, a random encoder."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .config import Config
from .data.images import Subset
from .stages import Machine
from .types import Images

if TYPE_CHECKING:
    from .encoder import FrozenEncoder
    from .ssl.train import Job


def trial_job(config: Config, images: Images, batch: int, steps: int, folder: Path) -> Job:
    """A few steps of that training on its first images; its files go to `folder`."""
    from .ssl.train import Job

    return Job(
        images=Subset(images, np.arange(min(len(images), steps * batch))),
        method=config.ssl,
        encoder=config.encoder,
        views=config.views,
        train=dataclasses.replace(config.train, batch=batch, epochs=steps, warmup=0, max_steps=steps, loader_workers=0),
        seeds=config.seeds.child("trial"),
        work=folder,
        scratch=folder,
    )


def random_encoder(config: Config, size: int, machine: Machine) -> FrozenEncoder:
    """The configuration's encoder for images of `size` px, as it is before training."""
    import torch

    from .encoder import FrozenEncoder
    from .ssl.backbone import build

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seeds.child("trial").value)
        module, dim = build(config.encoder.backbone, config.encoder.options, size, config.encoder.stem)
    return FrozenEncoder(module, dim, machine.device)


def encoding_pace(encoder: FrozenEncoder, images: Images, batch: int) -> float:
    """Seconds an image takes: the first `batch` of them twice, of which the second is timed."""
    inputs = images.batch(np.arange(batch))
    encoder(inputs)
    start = time.monotonic()
    encoder(inputs).sum().item()
    return (time.monotonic() - start) / batch
