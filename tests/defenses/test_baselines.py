"""The baselines: their one rule, and what each finds where it is plain."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.defenses.baselines import ActivationClustering, Colour, Compactness, IsolationForest, KNNDensity, Spectral
from bench.defenses.baselines.baseline import modified_z


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        # median 3, distances 2 1 0 1 97: MAD 1; 0.6745 * 97 = 65.4265
        ([1, 2, 3, 4, 100], [-1.349, -0.6745, 0, 0.6745, 65.4265]),
        # MAD 0: the mean distance, 10 / 5 = 2, times 1.253314 stands in: 10 / 2.506628
        ([5, 5, 5, 5, 15], [0, 0, 0, 0, 3.98942]),
        ([7, 7, 7], [0, 0, 0]),
    ],
)
def test_modified_z_by_hand(scores, expected):
    assert modified_z(np.array(scores, float)) == pytest.approx(expected, abs=1e-4)


@pytest.fixture
def view_of(toy_view):
    """view_of(features): numbered images of 8 px whose features are given."""

    def view(features):
        images = torch.zeros(len(features), 3, 8, 8, dtype=torch.uint8)
        images[:, 0, 0, 0] = torch.arange(len(features))
        found = torch.as_tensor(features, dtype=torch.float32)
        return toy_view(images, lambda seen: found[(seen[:, 0, 0, 0] * 255).round().long()], found.shape[1])

    return view


def spread_with_a_tight_group(count=200, tight=20):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(count, 8))
    features[:tight] = 3 + 0.01 * rng.normal(size=(tight, 8))
    return features, np.arange(count) < tight


@pytest.mark.parametrize(
    "defense", [Spectral(), Compactness(clusters=8), KNNDensity(k=10), ActivationClustering(clusters=2, dimensions=4)]
)
def test_a_tight_group_away_from_the_rest_scores_highest(defense, view_of):
    features, tight = spread_with_a_tight_group()
    verdict = defense.clean(view_of(features))
    assert verdict.score[tight].min() > np.median(verdict.score[~tight])
    assert set(np.argsort(-verdict.score, kind="stable")[:20]) == set(np.flatnonzero(tight))


def test_an_isolation_forest_calls_single_points_far_out_suspicious(view_of):
    features = np.random.default_rng(0).normal(size=(200, 4))
    features[:3] = [[40, 0, 0, 0], [0, -40, 0, 0], [0, 0, 40, 40]]
    assert set(np.argsort(-IsolationForest().clean(view_of(features)).score)[:3]) == {0, 1, 2}


def test_colour_is_the_mean_of_the_strongest_spreads(toy_view):
    images = torch.full((4, 3, 8, 8), 90, dtype=torch.uint8)
    images[1, 0, :4, :4] = 250  # 16 pixels with a spread of 160
    images[2, 0, :2, :4] = 250  # 8 of them: half the mean
    assert Colour().clean(toy_view(images, None, 1)).score.tolist() == [0, 160, 80, 0]


def test_less_than_half_of_the_images_are_ever_removed(view_of):
    features, _ = spread_with_a_tight_group(count=60, tight=40)
    for defense in (Spectral(limit=0.1), KNNDensity(k=5, limit=0.1)):
        assert defense.clean(view_of(features)).keep.mean() >= 0.5
