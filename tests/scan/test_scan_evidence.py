"""What is measured on the windows, on images made for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.api import Verdict
from bench.data.images import ArrayImages
from bench.scan.evidence import Evidence, among_neighbours, correlations, gather, likeness, suspects_of
from bench.seeds import Seeds

COUNT, SIZE, WINDOW = 300, 32, 12


class Gaudy:
    """An encoder that a red patch takes over: beside it, the grey of 16 places counts for nothing."""

    dim, device = 17, torch.device("cpu")

    def __call__(self, images):
        scaled = images.float() / 255
        red = (scaled[:, 0] - scaled[:, 1:].amax(1)).clamp_min(0).flatten(1).sum(1) / 20
        rest = torch.nn.functional.avg_pool2d(scaled.mean(1), 8).flatten(1) - 0.5
        return torch.cat([red[:, None], rest], dim=1)


@pytest.fixture(scope="module")
def images():
    """Noise, in the first ten at different places the same red mosaic."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (COUNT, 3, SIZE, SIZE), np.uint8)
    pixels[:] = pixels.mean(1, keepdims=True)
    boxes = np.full((COUNT, 4), -1)
    corners = generator.integers(0, SIZE - WINDOW + 1, (20, 2))
    boxes[:20] = np.concatenate([corners, np.full((20, 2), WINDOW)], 1)
    mosaic = np.zeros((3, WINDOW, WINDOW), np.uint8)
    mosaic[0] = np.kron(generator.integers(120, 256, (4, 4)), np.ones((3, 3)))
    for number in range(10):
        top, left = corners[number]
        pixels[number, :, top : top + WINDOW, left : left + WINDOW] = mosaic
    return pixels, boxes


def measured(images, suspected):
    """What is measured where the windows of these images are the most suspicious of 20."""
    pixels, boxes = images
    scores = np.where(np.arange(COUNT) < 20, np.arange(COUNT), np.nan)
    scores[list(suspected)] += 100
    verdict = Verdict(keep=np.arange(COUNT) >= 10, trigger_score=scores, boxes=boxes)
    return gather(ArrayImages(pixels), Gaudy(), verdict, Seeds(0), lambda done, total: None)


def test_a_trigger_is_one_thing_that_acts_and_acts_alike(images, global_rng):
    found = measured(images, range(10))
    assert sorted(found.suspects) == list(range(10))
    assert min(found.top.likeness, found.top.agreement) > 0.95
    assert found.top.pull > 0.8
    assert found.usual.likeness < 0.6
    assert found.usual.pull < 0.1
    assert found.removed_share == pytest.approx(10 / COUNT)
    assert measured(images, range(10)).facts == found.facts
    again = Evidence.of(found.facts, found.suspects)
    assert (again.top, again.facts) == (found.top, found.facts)


def test_windows_of_noise_are_none_of_that(images):
    found = measured(images, range(10, 20))
    assert sorted(found.suspects) == list(range(10, 20))
    assert found.top.likeness < 0.6
    assert found.top.pull < 0.1


def test_a_defense_that_locates_nothing(images):
    score = np.linspace(0, 1, COUNT)
    found = gather(ArrayImages(images[0]), Gaudy(), Verdict(keep=score < 0.5, score=score), Seeds(0), lambda *_: None)
    assert found.top is found.usual is None
    assert found.suspects.tolist() == list(range(COUNT - 1, COUNT - 11, -1))
    assert found.undecided == pytest.approx(0.8, abs=0.01)


def test_suspects_by_trigger_score_then_score_and_only_those_scored():
    trigger, score = np.array([3.0, np.nan, 5.0, 3.0]), np.array([0.1, 0.9, 0.2, 0.8])
    found = suspects_of(Verdict(keep=np.ones(4, bool), score=score, trigger_score=trigger), 10)
    assert found.tolist() == [2, 3, 0]


def test_correlation_is_that_of_numpy():
    generator = torch.Generator().manual_seed(0)
    windows, fields = (torch.rand((n, 3, side, side), generator=generator) * 255 for n, side in ((2, 4), (3, 6)))
    found = correlations(windows, fields)
    assert found.shape == (2, 3)
    places = [fields[2, :, y : y + 4, x : x + 4].flatten().numpy() for y in range(3) for x in range(3)]
    every = [np.corrcoef(windows[1].flatten().numpy(), place)[0, 1] for place in places]
    assert float(found[1, 2]) == pytest.approx(max(every), abs=1e-5)


def test_plain_windows_are_like_nothing():
    plain = torch.full((2, 3, SIZE, SIZE), 255, dtype=torch.uint8)
    boxes = np.array([[0, 0, WINDOW, WINDOW], [20, 20, WINDOW, WINDOW]])
    assert (likeness(plain, boxes) == 0).all()


@pytest.mark.parametrize("window", [5, 9, 12, 60])
def test_the_same_patch_is_found_a_few_pixels_off(window):
    size = 4 * window
    generator = np.random.default_rng(1)
    pixels = generator.integers(0, 256, (2, 3, size, size)).astype(np.uint8)
    patch = np.kron(generator.integers(0, 256, (3, 4, 4)), np.ones((1, window // 4 + 1, window // 4 + 1), int))
    patch = patch[:, :window, :window]
    pixels[0, :, window : 2 * window, window : 2 * window] = patch
    pixels[1, :, 2 * window : 3 * window, :window] = patch
    off = max(1, window // 6)
    boxes = np.array([[window, window, window, window], [2 * window - off, off, window, window]])
    found = likeness(torch.from_numpy(pixels), boxes)
    assert found[0, 1] > 0.8
    other = np.array([[window, window, window, window], [0, 2 * window, window, window]])
    assert likeness(torch.from_numpy(pixels), other)[0, 1] < 0.6


def test_neighbours_leave_out_oneself_and_forgive_several_triggers():
    pairs = torch.block_diag(torch.ones(4, 4), torch.ones(4, 4))
    assert among_neighbours(pairs) == 1
    assert among_neighbours(torch.eye(5)) == 0
    assert among_neighbours(torch.tensor([[9.0, 0.5], [0.3, 9.0]])) == pytest.approx(0.4)
