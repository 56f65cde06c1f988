"""Times of the views of a batch and of a training step of each SSL method, and how they compare with a bare one."""

from __future__ import annotations

import math

import pytest
import torch

from bench.data.augment import ViewSpec, draw, render
from bench.ssl import bench_ssl_methods
from bench.ssl.backbone import build
from bench.ssl.settings import TrainSettings
from bench.ssl.train import make_optimiser

SPECS = [ViewSpec(size=32, scale=(0.25, 1.0))] * 2 + [ViewSpec(size=16, scale=(0.05, 0.25))] * 4
METHODS = {method.name: method for method in bench_ssl_methods()}
OPTIONS = {
    "moco_v3": {"predictor": 0},
    "moco_v2": {"queue": 512},
    "byol": {"hidden": 512},
    "simsiam": {"bottleneck": 32},
}


def views(images):
    generator = torch.Generator().manual_seed(0)
    return [render(images, spec, draw(spec, len(images), generator)) for spec in SPECS]


@pytest.fixture
def images(amount):
    return torch.rand(amount(64, 8), 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.benchmark(group="training")
def test_views(benchmark, images):
    assert [view.shape[-1] for view in benchmark(views, images)] == [32, 32, 16, 16, 16, 16]


@pytest.mark.benchmark(group="training")
@pytest.mark.parametrize("name", METHODS)
def test_step(benchmark, images, name):
    """Forward, backward, optimiser and momentum encoder, on views that are there."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone, dim = build("resnet18", {"layers": (1, 1, 1, 1), "channels": (16, 32, 64, 128)}, 32, "small")
        learner = METHODS[name](projector=0, **OPTIONS.get(name, {})).learner(backbone, dim)
    optimiser, batch = make_optimiser(learner, TrainSettings()), views(images)

    def step():
        loss = learner(batch)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        learner.after_step(0.5)
        return loss.item()

    assert math.isfinite(benchmark(step))
