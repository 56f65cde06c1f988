"""Toys for the tests of SSL methods."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.seeds import Seeds


class Spy(nn.Module):
    """Flattens, then one linear layer; remembers how many images came at once."""

    def __init__(self, width):
        super().__init__()
        self.linear, self.calls = nn.Linear(width, width, bias=False), []

    def forward(self, images):
        self.calls.append(len(images))
        return self.linear(images.flatten(1))


@pytest.fixture
def spy_learner():
    """spy_learner(method) -> its learner around a Spy, the same at every call; `plain` ones have no heads and W = 1."""

    def make(method, width=4, plain=False):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            model = method.learner(Spy(width), width)
        if plain:
            model.predictor = nn.Identity()
            encoders = [model.backbone, *([model.momentum[0]] if hasattr(model, "momentum") else [])]
            for encoder in encoders:
                nn.init.eye_(encoder.linear.weight)
        return model

    return make


@pytest.fixture
def spy_views():
    """spy_views(3, 3, 5) -> views of so many random images, the same at every call."""

    def make(*counts, width=4, seed=0):
        generator = Seeds(seed).torch()
        return [torch.randn(count, width, 1, 1, generator=generator) for count in counts]

    return make


@pytest.fixture
def rows():
    """rows([1, 0], [0, 1]) -> a view of two images of two numbers each."""
    return lambda *images: torch.tensor(images, dtype=torch.float32)[:, :, None, None]
