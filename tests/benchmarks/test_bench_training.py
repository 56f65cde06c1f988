"""Times of views and of a training step: `pytest tests/benchmarks --benchmark-enable` (else they run once, untimed)."""

from __future__ import annotations

import pytest
import torch

from bench.ssl.augment import ViewSpec, draw, render
from bench.ssl.backbone import build
from bench.ssl.moco_v3 import MoCoV3

BATCH = 64
SPECS = [ViewSpec(size=32, scale=(0.25, 1.0))] * 2 + [ViewSpec(size=16, scale=(0.05, 0.25))] * 4


def views(images: torch.Tensor) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [render(images, spec, draw(spec, len(images), generator)) for spec in SPECS]


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.benchmark(group="training step")
def test_views(benchmark, images):
    assert [view.shape[-1] for view in benchmark(views, images)] == [32, 32, 16, 16, 16, 16]


@pytest.mark.benchmark(group="training step")
def test_forward_and_backward(benchmark, images):
    with torch.random.fork_rng(devices=[]):
        backbone, dim = build("resnet18", {"layers": (1, 1, 1, 1), "channels": (16, 32, 64, 128)}, 32, "small")
        learner = MoCoV3(projector=0, predictor=0).learner(backbone, dim)
    batch = views(images)

    def step() -> float:
        learner.zero_grad()
        loss = learner(batch)
        loss.backward()
        return float(loss.detach())

    assert benchmark(step) > 0
