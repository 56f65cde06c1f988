"""`bench plan --on`: how long a run would take on GPUs that are not at hand, from the operations it needs."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bench.api import Defense
from bench.errors import BenchError, nearest
from bench.pipeline.pipeline import Pipeline
from bench.pipeline.stage import Stage

from .estimate import Estimator, Pace, Row, duration
from .profiling import counted
from .trial import trial_job

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
        peak, many = TERAFLOPS[self.name], "" if self.count == 1 else f", {self.count} of them without loss"
        return (
            f"Assumed: {SHARE:.0%} of {self.name}'s peak of {peak:.0f} teraflops{many}; "
            "reading images, k-means and the defense's own classifier cost nothing; nothing is in the store."
        )


def read_fleet(text: str) -> Fleet:
    """'h200' or '4xrtx3090'. Raises BenchError."""
    found = re.fullmatch(r"(?:([1-9]\d{0,4})x)?([a-z0-9]+)", text.lower())
    if found is None or found[2] not in TERAFLOPS:
        known = ", ".join(TERAFLOPS)
        name = found[2] if found else text
        raise BenchError(
            f"unknown GPUs {text!r}: a name like 'h200' or '4xrtx3090' ({known}).{nearest(name, TERAFLOPS)}"
        )
    return Fleet(found[2], int(found[1] or 1))


class ElsewhereEstimator(Estimator):
    """Estimates every stage of one pipeline on a fleet."""

    def __init__(self, pipeline: Pipeline, fleet: Fleet) -> None:
        super().__init__(pipeline)
        self._fleet = fleet

    def row(self, stage: Stage) -> Row:
        return self._trial(stage)

    def total(self, rows: Sequence[Row]) -> str:
        seconds = sum(row.seconds or 0.0 for row in rows)
        return f"In all about {duration(seconds)}. {self._fleet.assumptions}"

    @cached_property
    def _pace(self) -> Pace:
        training, encoding = count_operations(self._pipeline)
        return Pace(training / self._fleet.speed, encoding / self._fleet.speed, BATCH)

    def _search(self, defense: Defense) -> tuple[float, str]:
        return self._encoding(defense)  # what is timed on this machine says nothing of theirs

    def _basis(self) -> str:
        training, encoding = (pace * self._fleet.speed for pace in (self._pace.training, self._pace.encoding))
        return f"{training / 1e9:,.1f} gigaflops to train on an image, {encoding / 1e9:,.1f} to encode it"


def count_operations(pipeline: Pipeline) -> tuple[float, float]:
    """Floating-point operations per image: of a training step (all views, both encoders), and of the encoder alone."""
    from bench.pipeline.pretrain import encoder_of
    from bench.ssl.train import pretrain

    with tempfile.TemporaryDirectory() as folder:
        job = trial_job(pipeline.config, pipeline.dataset.train.images, BATCH, 1, Path(folder))
        training = counted(lambda: pretrain(job, lambda *_: None, 1, pipeline.machine.accelerator))
        encoder = encoder_of(Path(folder), pipeline.config, job.images.size, pipeline.machine)
        images = job.images.batch(np.arange(BATCH))
        encoding = counted(lambda: encoder(images))
    return training / BATCH, encoding / BATCH
