"""What is measured on the windows, on images made for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.api import Verdict
from bench.data.images import ArrayImages
from bench.scan.evidence import ALIKE, Evidence, gather, largest_group, suspects_of
from bench.scan.matching import borne, correlations, gap, likeness, matched, middles
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


def measured(images, suspected, **more):
    """What is measured where the windows of these images are the most suspicious of 20."""
    pixels, boxes = images
    scores = np.where(np.arange(COUNT) < 20, np.arange(COUNT), np.nan)
    scores[list(suspected)] += 100
    verdict = Verdict(keep=np.arange(COUNT) >= 10, trigger_score=scores, boxes=boxes)
    return gather(ArrayImages(pixels), Gaudy(), verdict, Seeds(0), lambda done, total: None, **more)


def test_a_trigger_is_one_thing_that_acts(images, global_rng):
    found = measured(images, range(10))
    assert sorted(found.suspects) == list(range(10))
    assert (found.top.alike, found.top.gap > 0.3, found.usual.gap < 0.05) == (10, True, True)
    assert found.alike.all()
    assert np.flatnonzero(found.holders).tolist() == list(range(10))
    assert found.top.pull > 0.8
    assert (found.usual.alike, found.usual.pull < 0.1) == (1, True)
    assert found.removed_share == pytest.approx(10 / COUNT)
    assert measured(images, range(10)).facts == found.facts
    again = Evidence.of(found.facts, found.arrays)
    assert (again.top, again.facts, again.suspects.tolist()) == (found.top, found.facts, found.suspects.tolist())


def test_windows_of_noise_are_none_of_that(images):
    found = measured(images, range(10, 20))
    assert sorted(found.suspects) == list(range(10, 20))
    assert (found.top.alike, found.top.pull < 0.1, found.top.gap < 0.05) == (1, True, True)


def test_the_largest_group_counts_not_the_mean_of_all(images):
    """Five that show the same patch, among five that show nothing."""
    found = measured(images, [0, 1, 2, 3, 4, 10, 11, 12, 13, 14])
    assert sorted(found.suspects[found.alike]) == [0, 1, 2, 3, 4]
    assert (found.top.alike, found.top.pull > 0.8) == (5, True)
    assert np.flatnonzero(found.holders).tolist() == list(range(10)), "also those that were no suspects"


def test_near_duplicates_of_one_picture_count_once(images):
    picture = np.arange(COUNT)
    picture[:9] = 0
    found = measured(images, range(10), picture=picture)
    assert len(set(picture[found.suspects])) == len(found.suspects) == 10
    assert found.top.alike == 2, "0 to 8 are one picture, 9 is another"
    assert found.top.gap < 0.05, "and two pictures are too few"


def test_the_pull_of_given_patches(images):
    pixels, boxes = images
    top, left, height, width = boxes[0]
    mosaic = torch.from_numpy(pixels[0, :, top : top + height, left : left + width])
    grey = torch.full((3, 5, 8), 120, dtype=torch.uint8)
    found = measured(images, range(10), patches=[mosaic, grey])
    assert (found.pulls[0] > 0.8, found.pulls[1] < 0.1, max(found.usual_pulls) < 0.1) == (True, True, True)


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


def test_groups_are_linked_either_way_and_of_equals_the_one_that_pulls_most_counts():
    pairs, pulls = np.eye(6), np.array([0.1, 0.1, 0.1, 0.9, 0.2, 0.2])
    for one, other in ((0, 1), (5, 4)):
        pairs[one, other] = ALIKE
    pairs[2, 3] = ALIKE - 0.01
    assert largest_group(pairs, pulls).tolist() == [False] * 4 + [True] * 2
    pairs[1, 2] = ALIKE
    assert largest_group(pairs, pulls).tolist() == [True] * 3 + [False] * 3


def test_the_gap_is_the_widest_in_the_upper_half_with_four_above_it():
    assert gap(np.array([0.1, 0.9, 0.2, 0.8, 0.3, 0.6, 0.7, 0.31])) == (pytest.approx(0.29), pytest.approx(0.455))
    assert gap(np.array([1.0, 0.5, 0.4])) == (0.0, 1.0)


def test_which_images_hold_a_patch_and_which_of_several(images):
    pixels, boxes = images
    shown = middles(torch.from_numpy(pixels[:3]), boxes[:3])
    assert shown.shape == (3, 3, 8, 8)
    scores = matched(ArrayImages(pixels), shown)
    assert np.flatnonzero(scores > 0.99).tolist() == list(range(10))
    width, limit = gap(scores)
    assert (width, limit) == (pytest.approx(1 - scores[10:].max()), pytest.approx((1 + scores[10:].max()) / 2))
    corners = {number: boxes[number, :2] for number in (15, 3)}
    patches = [
        torch.from_numpy(pixels[number])[:, top : top + WINDOW, left : left + WINDOW]
        for number, (top, left) in corners.items()
    ]
    rows = np.array([0, 9, 15])
    assert borne(ArrayImages(pixels), rows, boxes[rows], patches).tolist() == [1, 1, 0]
