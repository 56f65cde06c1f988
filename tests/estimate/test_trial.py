"""Prices of costs: what is timed, and what is remembered."""

from __future__ import annotations

import time

import numpy as np
import pytest

from bench.api import Cost
from bench.data.images import ArrayImages, Subset
from bench.estimate import trial
from bench.estimate.trial import cost_seconds, price, probing_pace, sample_size
from bench.pipeline.stage import Machine
from bench.ssl.settings import ProbeSettings

CPU = Machine(accelerator="cpu")


@pytest.fixture
def clock(monkeypatch):
    """A list of what the next runs take; the clock moves by nothing else."""
    now, left = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def run():
        now[0] += left.pop(0)

    return left, run


def test_a_price_is_the_median_after_a_first_run(clock):
    left, run = clock
    left += [9.0, 0.1, 0.3, 0.2]
    assert price(4, run, CPU) == pytest.approx(0.2 / 4)
    assert left == []


def test_what_takes_long_is_timed_once(clock):
    left, run = clock
    left += [9.0, 2.0]
    assert price(1, run, CPU) == 2.0


@pytest.mark.parametrize(
    ("count", "size", "encoding", "few"),
    [(5000, 32, 1e-4, 1024), (5000, 224, 1e-4, 20), (5000, 32, 0.02, 100), (5000, 224, 1.0, 8), (5, 224, 1.0, 5)],
)
def test_a_sample_is_of_so_many_pixels_or_seconds(count, size, encoding, few):
    images = ArrayImages(np.broadcast_to(np.zeros(1, np.uint8), (count, 3, size, size)))
    assert sample_size(images, encoding) == few


def test_only_what_has_no_price_is_timed(workshop, monkeypatch):
    """By hand: 10 at 2 s that are known; 6 at 0.5 s, of which the sample does 4 in 2 s."""
    monkeypatch.setattr(trial, "price", lambda units, run, machine: run() / units)
    config, seen = workshop.pipeline().config, []
    images = Subset(workshop.pipeline().dataset.train.images, range(8))

    def sample(view):
        seen.append((len(view), view.encoder.dim))
        return 4, lambda: 2.0

    costs, prices = [Cost("old", 10, sample), Cost("new", 6, sample)], {"old": 2.0}
    chooser = config.defense.filter
    assert cost_seconds(costs, prices, config, chooser, images, CPU) == {"old": 20.0, "new": 3.0}
    assert seen == [(8, 64)]
    assert prices == {"old": 2.0, "new": 0.5}
    assert cost_seconds(costs, prices, config, chooser, images, CPU) == {"old": 20.0, "new": 3.0}
    assert len(seen) == 1


def test_a_step_of_the_probe_takes_some_time():
    assert 0 < probing_pace(ProbeSettings(batch=8), 4, 3) < 1
