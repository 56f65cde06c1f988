"""The baselines: their one rule, and what each finds where it is plain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from bench import BenchError
from bench.defenses.baselines import (
    ActivationClustering,
    CognitiveDistillation,
    Colour,
    ColourCount,
    Compactness,
    IsolationForest,
    KNNDensity,
    Palette,
    Spectral,
    cognitive_distillation,
)
from bench.defenses.baselines.baseline import modified_z
from bench.defenses.baselines.cognitive_distillation import variation


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


@pytest.mark.parametrize("seed", range(6))
def test_a_half_of_which_the_sample_for_the_silhouette_has_no_image_is_not_scored(seed):
    rows = np.random.default_rng(0).normal(size=(4000, 4))
    rows[:2] += 500
    score = ActivationClustering(dimensions=2)._split(rows, seed)
    assert (score[2:] == 0).all()
    assert set(score[:2]) == {0.0} or score[:2].min() > 0.9


def test_an_isolation_forest_calls_single_points_far_out_suspicious(view_of):
    features = np.random.default_rng(0).normal(size=(200, 4))
    features[:3] = [[40, 0, 0, 0], [0, -40, 0, 0], [0, 0, 40, 40]]
    assert set(np.argsort(-IsolationForest().clean(view_of(features)).score)[:3]) == {0, 1, 2}


def test_colour_is_the_mean_of_the_strongest_spreads(toy_view):
    images = torch.full((4, 3, 8, 8), 90, dtype=torch.uint8)
    images[1, 0, :4, :4] = 250  # 16 pixels with a spread of 160
    images[2, 0, :2, :4] = 250  # 8 of them: half the mean
    assert Colour().clean(toy_view(images, None, 1)).score.tolist() == [0, 160, 80, 0]


def test_palette_counts_the_pure_colours_of_an_image(toy_view):
    images = torch.full((4, 3, 8, 8), 90, dtype=torch.uint8)
    images[1, :, 0, 0] = torch.tensor([250, 3, 12])  # red, nearly
    images[1, :, 0, 1:3] = torch.tensor([0, 0, 255])[:, None]  # blue, twice
    images[2, :, 0, 0] = torch.tensor([255, 128, 0])  # saturated, but no corner of the cube
    for corner in range(8):
        images[3, :, 1, corner] = torch.tensor([255 * (corner >> bit & 1) for bit in range(3)])
    assert Palette().clean(toy_view(images, None, 1)).score.tolist() == [0, 2, 0, 8]


def test_colour_count_counts_colours_to_32_levels(toy_view):
    images = torch.full((4, 3, 8, 8), 90, dtype=torch.uint8)
    images[1, :, 0, 0] = torch.tensor([95, 64, 90])  # of the same levels
    images[2, :, 0, 0] = torch.tensor([96, 90, 90])  # of the next one
    images[2, :, 0, 1:3] = 255  # another, twice
    for place in range(64):
        images[3, :, place // 8, place % 8] = torch.tensor([4 * place, 252 - 4 * place, 0])
    assert ColourCount().clean(toy_view(images, None, 1)).score.tolist() == [1, 1, 3, 8]


def test_less_than_half_of_the_images_are_ever_removed(view_of):
    features, _ = spread_with_a_tight_group(count=60, tight=40)
    for defense in (Spectral(limit=0.1), KNNDensity(k=5, limit=0.1)):
        assert defense.clean(view_of(features)).keep.mean() >= 0.5


class Mean(nn.Module):
    """Features of images of one colour: that colour (channel means), one output after another."""

    def forward(self, images):
        return images.mean((2, 3))


class Overriding(nn.Module):
    """Features: the colours of 4 x 4 parts of the image; where the planted trigger is seen, nothing but that."""

    def __init__(self, trigger):
        super().__init__()
        self.pattern = trigger * 2 - 1

    def forward(self, images):
        match = nn.functional.conv2d(images - 0.5, self.pattern[None]).amax((1, 2, 3))[:, None]  # at most 54
        seen = ((match - 40) / 2).sigmoid()
        return seen + (1 - seen) * nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)


QUICK = CognitiveDistillation(steps=15, window=6, alpha=0.003)


@pytest.fixture(scope="module")
def planted_view(toy_view, planted):
    """planted_view() -> a view of the planted images whose encoder is Overriding."""
    top, left = planted.places[0]
    trigger = planted.images[planted.poisoned][0, :, top : top + 6, left : left + 6] / 255
    return lambda **more: toy_view(planted.images, Overriding(trigger), 48, **more)


@pytest.fixture(scope="module")
def verdict(planted_view):
    """What it says of the planted images."""
    return QUICK.clean(planted_view())


class TestCognitiveDistillation:
    def test_a_trigger_that_decides_the_features_leaves_a_small_mask_on_it(self, verdict, planted):
        poisoned = planted.poisoned
        assert roc_auc_score(poisoned, verdict.score) > 0.9
        off = np.abs(verdict.boxes[poisoned][:, :2] - planted.places.numpy()).max(1)
        assert np.mean(off <= 2) > 0.8
        assert (verdict.boxes[:, 2:] == 6).all()
        np.testing.assert_array_equal(verdict.trigger_score, verdict.score)
        assert -256 <= verdict.score.min() <= verdict.score.max() <= 0

    def test_an_image_alone_is_judged_as_among_others_in_any_order(self, verdict, planted_view):
        view = planted_view()
        masks, boxes = QUICK.attention(view, [200, 3, 77])
        np.testing.assert_allclose(-masks.sum((1, 2)), verdict.score[[200, 3, 77]], rtol=1e-4)
        np.testing.assert_array_equal(boxes, verdict.boxes[[200, 3, 77]])
        other = QUICK.clean(planted_view(root=1))
        assert not np.array_equal(other.score, verdict.score), "the noise comes from the seed"

    def test_a_killed_run_goes_on_after_its_last_batch(self, verdict, planted_view, monkeypatch, global_rng):
        monkeypatch.setattr(cognitive_distillation, "PIXELS", 100 * 16**2)
        view = planted_view(stop="masks-0000200")
        with pytest.raises(KeyboardInterrupt):
            QUICK.clean(view)
        assert view.computed == ["distance", "masks-0000000", "masks-0000100"]
        view.stop = None
        again = QUICK.clean(view)
        np.testing.assert_allclose(again.score, verdict.score, rtol=1e-4)  # batches of 100 for one of 240: rounding
        assert view.computed.count("masks-0000000") == 1
        assert view.told[-1] == ("masks", 240, 240)

    def test_the_objective_by_hand(self):
        """A mask of 2 x 2, m = [[1, 0.5], [0, 0]], on an image of 1 with noise 0: the mixture is m itself, with mean
        3/8, so each of three channels is 5/8 off: |f(x) - f(x_cp)| = 15/8, times a unit of 2: 3.75. |m| as on 32 x 32:
        1024 x 3/8 = 384, times alpha 0.01: 3.84. TV: down 1 + 0.25, across 0.25 + 0, over 4 pixels 0.375, beta 2: 0.75.
        """
        masks = torch.tensor([[[[1, 0.5], [0, 0]]]])
        assert variation(masks).tolist() == [0.375]
        images, noise = torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
        defense = CognitiveDistillation(beta=2.0)
        loss = defense._losses(masks, images, noise, Mean()(images), Mean(), 2.0)
        assert loss.tolist() == pytest.approx([3.75 + 3.84 + 0.75])

    def test_distances_are_in_units_of_those_between_images(self, view_of):
        """Features 0, 3 and 9: to the one before (of the first the last) 9, 3 and 6, on average 6; 5 / 6."""
        assert CognitiveDistillation()._unit(view_of([[0.0], [3.0], [9.0]])) == pytest.approx(5 / 6)
        assert CognitiveDistillation()._unit(view_of([[2.0]] * 3)) == 1

    def test_forwards_says_how_many_images_are_encoded(self, planted_view):
        view, images = planted_view(), []
        hook = view.encoder.module.register_forward_hook(lambda module, inputs, output: images.append(len(output)))
        CognitiveDistillation(steps=3).clean(view)
        hook.remove()
        assert sum(images) + 3 * 240 == CognitiveDistillation(steps=3).forwards(240, 16)  # and as many passes back

    @pytest.mark.parametrize(
        ("options", "said"),
        [({"steps": 0}, "steps=0"), ({"alpha": -1.0}, "alpha=-1.0"), ({"limit": 0.0}, "limit is 0.0")],
    )
    def test_options_that_cannot_be(self, options, said):
        with pytest.raises(BenchError, match=said):
            CognitiveDistillation(**options)
