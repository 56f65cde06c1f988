"""The pace of one encoder on this machine, measured by a short trial: seconds per image in training and in encoding."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from bench.api import Images
from bench.config.config import Config
from bench.data.images import Subset
from bench.parallel.threads import computing_with
from bench.pipeline.check import laid_out
from bench.pipeline.stage import Machine

if TYPE_CHECKING:
    from bench.ssl.encoder import FrozenEncoder
    from bench.ssl.train import Job

TRIAL_PIXELS = 256 * 32 * 32
"""A batch of the trial has at most so many pixels: enough to fill two cores, and within memory for any backbone. Of
smaller batches, as many are timed as make up for it."""
LARGE, SHARE = 20_000_000, 4
"""For networks of more than so many weights a batch of the trial is so many times smaller, not to take minutes."""


@dataclass(frozen=True)
class Pace:
    """Seconds per image: of a training step, and of the encoder alone. basis: what both come from, in words."""

    training: float
    encoding: float
    basis: str


def measure_pace(config: Config, images: Images, machine: Machine, *, training: bool = True) -> Pace:
    """Time a few training steps (unless `training` is False: then that pace is 0) and two passes of the encoder, at the
    full size of model and image, with the configuration's threads."""
    networks = laid_out(config, images.size)
    large = networks is not None and sum(each.numel() for each in networks.parameters()) > LARGE
    pixels = TRIAL_PIXELS // SHARE if large else TRIAL_PIXELS
    warm = 1 if large else 2
    batch = max(2, min(config.train.batch, len(images), pixels // images.size**2))
    with computing_with(config.threads):
        return Pace(
            training=_step_seconds(config, images, machine, batch, pixels, warm) / batch if training else 0.0,
            encoding=_encoding_seconds(config, images, machine, batch) / batch,
            basis=f"a trial of {batch} images",
        )


def _step_seconds(config: Config, images: Images, machine: Machine, batch: int, pixels: int, warm: int) -> float:
    """Of one optimisation step: the median but for the first `warm`, which is 1 where a step takes seconds: there,
    what the first does besides hardly counts."""
    from bench.ssl.train import pretrain

    steps = warm + max(1, pixels // (batch * images.size**2))
    ticks: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        job = trial_job(config, images, batch, steps, Path(folder))
        pretrain(job, lambda *_: ticks.append(time.monotonic()), 1, machine.accelerator)
    return median(later - earlier for earlier, later in pairwise(ticks[warm - 1 :]))


def _encoding_seconds(config: Config, images: Images, machine: Machine, batch: int) -> float:
    """Of one batch: the second of two passes."""
    encoder = random_encoder(config, images.size, machine)
    inputs = images.batch(np.arange(batch))
    encoder(inputs)
    start = time.monotonic()
    encoder(inputs).sum().item()  # waits for a GPU
    return time.monotonic() - start


def trial_job(config: Config, images: Images, batch: int, steps: int, folder: Path) -> Job:
    """A few steps of the configuration's training on its first images; its files go to `folder`."""
    from bench.ssl.train import Job

    return Job(
        images=Subset(images, np.arange(min(len(images), steps * batch))),
        method=config.ssl,
        encoder=config.encoder,
        views=config.views,
        train=dataclasses.replace(config.train, batch=batch, epochs=steps, warmup=0, max_steps=steps, loader_workers=0),
        threads=config.threads,
        seeds=config.seeds.child("trial"),
        work=folder,
        scratch=folder,
    )


def random_encoder(config: Config, size: int, machine: Machine) -> FrozenEncoder:
    """The configuration's encoder for images of `size` px, as it is before training."""
    import torch

    from bench.ssl.backbone import build_encoder
    from bench.ssl.encoder import FrozenEncoder

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seeds.child("trial").value)
        module, dim = build_encoder(config.encoder, size)
    return FrozenEncoder(module, dim, machine.device)
