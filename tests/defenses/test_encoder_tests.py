"""Encoder tests on an encoder with a backdoor and one without."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bench.defenses.encoder_tests.decree import Decree, mean_cosine, start
from bench.defenses.encoder_tests.pull import window
from bench.errors import BenchError
from bench.plugins.contract.toys import ToyView

SIZE = 8


class Encoder(nn.Module):
    """Random features of the whole picture, and (`backdoor`) one that a bright upper left corner of 2 px outweighs."""

    def __init__(self, backdoor):
        super().__init__()
        weight = torch.randn(12, 3 * SIZE**2, generator=torch.Generator().manual_seed(0)) / 14
        self.weight, self.backdoor = nn.Parameter(weight, requires_grad=False), backdoor

    def forward(self, images):
        plain = (images - 0.5).flatten(1) @ self.weight.T
        corner = images[:, :, :2, :2].mean((1, 2, 3)).clamp(0, 1) ** 6  # smooth: a search by gradients can climb it
        extra = 60 * corner if self.backdoor else 0 * corner
        return torch.cat([plain, extra[:, None]], 1)


class Wrapped:
    dim, device = 13, torch.device("cpu")

    def __init__(self, backdoor):
        self.module = Encoder(backdoor)

    def prepare(self, images):
        return images.float() / 255 if images.dtype == torch.uint8 else images.float()

    def __call__(self, images):
        with torch.no_grad():
            return self.module(self.prepare(images))


def view(backdoor):
    draw = np.random.default_rng(3)
    images = torch.from_numpy(draw.integers(0, 200, (64, 3, SIZE, SIZE)).astype(np.uint8))
    return ToyView(images, encoder=Wrapped(backdoor))


def test_decree_finds_a_smaller_mask_where_there_is_a_backdoor():
    bad, good = (Decree(steps=250, batch=32).verdict(view(backdoor)) for backdoor in (True, False))
    assert bad.facts["found"]
    assert bad.score == -bad.facts["pl1"]
    assert bad.facts["pl1"] < 0.25 < good.facts["pl1"], "four of 64 pixels are enough for the one"


def test_without_a_working_trigger_the_score_is_minus_one():
    found = Decree(steps=1, batch=8).verdict(view(False))
    assert (found.score, found.facts["found"]) == (-1.0, False)


def test_mean_cosine_is_that_of_all_pairs():
    features = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    assert float(mean_cosine(features)) == pytest.approx(1 / 3)  # of three pairs one is alike


def test_a_start_is_uniform():
    mask, pattern = start(view(False))
    assert (mask.shape, pattern.shape) == ((1, 1, SIZE, SIZE), (3, SIZE, SIZE))
    shown = torch.sigmoid(2 * pattern)
    assert 0.4 < float(shown.mean()) < 0.6
    assert 0.2 < float(shown.std()) < 0.35


def test_windows_and_options():
    assert window(np.array([-0.4, 29.7, 5.6, 5.4]), 32) == (0, 27, 6, 5)
    with pytest.raises(BenchError, match="steps is 0"):
        Decree(steps=0)
