"""`bench plan --on`: the pace of an encoder on GPUs that are not at hand, from the operations that it needs."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.errors import BenchError, nearest
from bench.parallel.at_once import in_order
from bench.pipeline.pipeline import Pipeline

from .pace import Pace, random_encoder, trial_job

TERAFLOPS = {"a100": 312.0, "h100": 989.0, "h200": 989.0, "rtx3090": 71.0, "rtx4090": 165.0, "v100": 125.0}
"""Peak of dense bfloat16 matrix products that add up in float32 (float16 on a V100), in 10^12 operations a second, as
NVIDIA's data sheets give it."""
SHARE = 0.3
"""Assumed share of that peak which a run gets: common for a ViT-B in plain PyTorch; measure yours and scale."""
BATCH = 2  # the images whose operations are counted


@dataclass(frozen=True)
class Fleet:
    """So many GPUs of one kind."""

    name: str
    count: int

    @property
    def speed(self) -> float:
        """Operations a second."""
        return self.count * TERAFLOPS[self.name] * 1e12 * SHARE

    @property
    def assumptions(self) -> str:
        """What an estimate on this fleet takes for granted."""
        peak, many = TERAFLOPS[self.name], "" if self.count == 1 else f", {self.count} of them without loss"
        return (
            f"Assumed: {SHARE:.0%} of {self.name}'s peak of {peak:.0f} teraflops{many}; "
            "reading images and k-means cost nothing; nothing is in the store."
        )


def read_fleet(text: str) -> Fleet:
    """'h200' or '4xrtx3090' as a Fleet. Raises BenchError."""
    found = re.fullmatch(r"(?:([1-9]\d{0,4})x)?([a-z0-9]+)", text.lower())
    if found is None or found[2] not in TERAFLOPS:
        known = ", ".join(TERAFLOPS)
        name = found[2] if found else text
        raise BenchError(
            f"unknown GPUs {text!r}: expected a name like 'h200' or '4xrtx3090' ({known}).{nearest(name, TERAFLOPS)}"
        )
    return Fleet(found[2], int(found[1] or 1))


def pace_on(fleet: Fleet, pipeline: Pipeline) -> Pace:
    """The pace of the pipeline's encoder on the fleet."""
    training, encoding = count_operations(pipeline)
    basis = f"{training / 1e9:,.1f} gigaflops to train on an image, {encoding / 1e9:,.1f} to encode it"
    return Pace(training / fleet.speed, encoding / fleet.speed, basis)


def count_operations(pipeline: Pipeline) -> tuple[float, float]:
    """Floating-point operations per image: of a training step (all views, both encoders), and of the encoder alone."""
    from bench.ssl.train import pretrain

    config, images, machine = pipeline.config, pipeline.dataset.train.images, pipeline.machine
    encoder, inputs = random_encoder(config, images.size, machine), images.batch(np.arange(BATCH))
    with tempfile.TemporaryDirectory() as folder:
        job = trial_job(config, images, BATCH, 1, Path(folder))
        training = _counted(lambda: pretrain(job, lambda *_: None, 1, machine.accelerator))
    return training / BATCH, _counted(lambda: encoder(inputs)) / BATCH


def _counted(run: Callable[[], object]) -> int:
    """Floating-point operations of what `run` does, by torch's own counter."""
    from torch.utils.flop_counter import FlopCounterMode

    with in_order(), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())
