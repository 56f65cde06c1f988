"""What `bench profile` measures, and that its sums are right."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.estimate import profiling
from bench.estimate.profiling import RowFunction, counted, machine_peak, part
from bench.pipeline.stage import Machine
from bench.plugins.manager import Plugins

CPU = torch.device("cpu")


def made(title="a", seconds=2.0, images=10, operations=100, memory=50.0):
    return RowFunction(title=title, seconds=seconds, images=images, operations=operations, memory=memory)


def test_rates_and_shares_by_hand():
    assert made().rate == 5.0
    assert made().share(200.0) == 0.25
    assert made(images=None).rate is None


def test_operations_are_counted():
    """A product of (3, 4) and (4, 5): 2 x 3 x 4 x 5; a convolution of 1 x 1 on 6 x 6 pixels, 2 to 7 channels."""
    one, two = torch.rand(3, 4), torch.rand(4, 5)
    assert counted(lambda: one @ two) == 120
    image, weight = torch.rand(1, 2, 6, 6), torch.rand(7, 2, 1, 1)
    with torch.inference_mode():
        assert counted(lambda: torch.conv2d(image, weight)) == 2 * 36 * 2 * 7


def test_a_part_is_run_once_to_count_and_thrice_to_time():
    runs = []
    found = part("x", 3, lambda: runs.append(1), CPU)
    assert len(runs) == 4
    assert (found.title, found.images, found.operations) == ("x", 3, 0)
    assert found.seconds >= 0
    assert found.memory > 1


def test_the_peak_is_one_of_a_computer(monkeypatch):
    monkeypatch.setattr(profiling, "SIDE", 64)
    assert 1e6 < machine_peak(CPU) < 1e15


def test_steps_of_one_kind_are_added_up():
    first, second = made("search", 2.0, 10, 100, 50.0), made("search", 3.0, None, 1, 70.0)
    assert profiling._sum("p: search", [first, second]) == made("p: search", 5.0, 10, 101, 70.0)


@pytest.mark.parametrize(
    ("arrays", "count"),
    [({"indices": [4, 5], "boxes": [0] * 9}, 2), ({"labels": [0] * 9}, 9), ({"weights": [0] * 4, "one": 3}, None)],
)
def test_what_a_step_is_about(arrays, count):
    assert profiling._handled({name: np.array(value) for name, value in arrays.items()}, 9) == count


def test_a_whole_profile(monkeypatch, global_rng):
    from bench.config.config import load_config

    monkeypatch.setattr(profiling, "STEPS", 4)
    small = ("defense.members=1", "defense.iterations=2", "defense.clusters=4", "defense.masks=8", "defense.top_k=5")
    config = load_config(Plugins.load(), "smoke", settings=small)
    images = config.dataset.load().train.images
    parts = list(profiling.profile(config, images, Machine(accelerator="cpu"), 96))
    titles = [one.title for one in parts]
    assert titles[0] == "read the images"
    assert titles[1].startswith("training step, ")
    assert titles[2:6] == ["- forward and backward", "- views", "- optimiser and momentum encoder", "encode"]
    kinds = {title.removeprefix("poisoncam: ") for title in titles[6:]}
    assert {"order", "clusters", "search", "classifier", "classifier-judgement"} <= kinds
    by_title = dict(zip(titles, parts, strict=True))
    assert by_title["- forward and backward"].operations > by_title["encode"].operations > 0
    assert parts[1].seconds > by_title["- forward and backward"].seconds * 0.5
    assert by_title["poisoncam: clusters"].images == 96
