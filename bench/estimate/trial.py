"""What estimates and profiles try on this machine: a short training, a random encoder, a little of each cost."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.api import Arrays, Cost, Defense, Images
from bench.config.config import Config
from bench.data.images import Subset
from bench.pipeline.stage import Machine
from bench.ssl.probe_settings import ProbeSettings

if TYPE_CHECKING:
    import torch

    from bench.isolation.view import DefenderView
    from bench.ssl.encoder import FrozenEncoder
    from bench.ssl.train import Job

SAMPLE_PIXELS, SAMPLE_WORK = 1024 * 32 * 32, 2.0
"""A sample of a cost is about as much work as to encode images of so many pixels in all, or as takes so many seconds
where that is less; 8 images at least."""
SAMPLE_SECONDS = 0.5
"""A sample is timed three times, or until so much time has gone."""


def trial_job(config: Config, images: Images, batch: int, steps: int, folder: Path) -> Job:
    """A few steps of that training on its first images; its files go to `folder`."""
    from bench.ssl.train import Job

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

    from bench.ssl.backbone import build
    from bench.ssl.encoder import FrozenEncoder

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


def probing_pace(settings: ProbeSettings, dim: int, classes: int) -> float:
    """Seconds a step of the probe's own training takes: eight, after as many to warm up."""
    import torch

    from bench.seeds import Seeds
    from bench.ssl.linear_probe import fit

    features = torch.rand(8 * settings.batch, dim, generator=torch.Generator().manual_seed(0))
    labels, once = np.arange(len(features), dtype=np.int64) % classes, dataclasses.replace(settings, epochs=1)
    run = lambda: fit(features, labels, classes, once, Seeds(0))  # noqa: E731
    run()
    return clocked(run, features.device) / 8


def defense_view(
    config: Config,
    defense: Defense,
    images: Images,
    encoder: FrozenEncoder,
    machine: Machine,
    step: Callable[[str, Callable[[], Arrays]], Arrays] = lambda name, compute: compute(),
) -> DefenderView:
    """What `defense` would see of `images`; nobody is told of its progress."""
    from bench.isolation.view import DefenderView

    return DefenderView(
        images,
        name=defense.name,
        encoder=(lambda device: encoder) if "encoder" in defense.needs else None,
        seeds=config.seeds.child("trial"),
        step=step,
        device=machine.device,
    )


def sample_size(images: Images, encoding: float) -> int:
    """How many images the view of a sample has. encoding: seconds that an image takes."""
    few = max(8, min(SAMPLE_PIXELS // images.size**2, int(SAMPLE_WORK / max(encoding, 1e-9))))
    return min(len(images), few)


def cost_seconds(
    costs: Iterable[Cost], prices: dict[str, float], config: Config, defense: Defense, few: Images, machine: Machine
) -> dict[str, float]:
    """Seconds of each of the defense's costs, by what it is. prices: those of a unit; what is missing is timed on
    a view of the images `few` and added."""
    wanted = list(costs)
    missing = [cost for cost in wanted if cost.what not in prices]
    if missing:
        view = defense_view(config, defense, few, random_encoder(config, few.size, machine), machine)
        prices.update({cost.what: price(*cost.sample(view), machine) for cost in missing})
    return {cost.what: cost.amount * prices[cost.what] for cost in wanted}


def price(units: float, run: Callable[[], object], machine: Machine) -> float:
    """Seconds of a unit: the median of a few runs, after one that warms up."""
    run()
    found: list[float] = []
    while len(found) < 3 and sum(found) < SAMPLE_SECONDS:
        found.append(clocked(run, machine.device))
    return statistics.median(found) / units


def clocked(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of `run`, of what it left to a GPU as well."""
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
    return time.perf_counter() - start
