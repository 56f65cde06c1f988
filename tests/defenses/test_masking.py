import itertools

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torchvision.transforms.v2.functional import normalize

from bench import Seeds
from bench.defenses.search.clusters import Clusters
from bench.defenses.search.locator import best_window
from bench.defenses.search.masking import (
    ActivationMasking,
    Draws,
    attention,
    cyclic_masks,
    draw,
    fill_colour,
    hide,
    neutral,
    outlier_scores,
)


def _everywhere(size):
    """Every corner of the image once, as the draws of one image."""
    tops, lefts = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return Draws(tops.reshape(1, -1), lefts.reshape(1, -1))


def _at(top, left, blocks=None):
    """One mask of one image, its corner there."""
    return Draws(torch.tensor([[top]]), torch.tensor([[left]]), blocks)


class TestEquations:
    @pytest.mark.parametrize(
        ("labels", "distances", "scores"),
        [
            # Cluster 2 is the most frequent; its distances 1, 3, 2 are scaled over ALL masks: min 1, max 9.
            ([2, 2, 2, 5], [1.0, 3.0, 2.0, 9.0], [0.0, 0.25, 0.125, 1.0]),
            ([1, 0, 1], [4.0, 2.0, 3.0], [1.0, 1.0, 0.5]),  # an outlier is nearest
            ([1, 1, 0], [4.0, 4.0, 4.0], [0.0, 0.0, 1.0]),  # equal distances scale to 0
            ([3, 1, 3, 1], [0.0, 1.0, 2.0, 4.0], [1.0, 0.25, 1.0, 1.0]),  # of equally frequent clusters the lowest
        ],
    )
    def test_equation_2_by_hand(self, labels, distances, scores):
        assert outlier_scores(torch.tensor([labels]), torch.tensor([distances])).tolist() == [scores]

    def test_equation_3_by_hand(self):
        masks = torch.tensor([[[[1, 0], [0, 0]], [[1, 1], [0, 0]], [[0, 0], [1, 1]], [[0, 1], [0, 1]]]]).bool()
        scores = torch.tensor([[0.0, 0.25, 0.125, 1.0]])
        assert attention(scores, masks).tolist() == [[[0.25, 1.25], [0.125, 1.125]]]
        # the pixels are covered by 2, 2, 1 and 2 masks
        assert attention(scores, masks, normalise=True).tolist() == [[[0.125, 0.625], [0.125, 0.5625]]]
        masks = masks[:, :1]  # a pixel that no mask covers has attention 0
        assert attention(torch.tensor([[0.5]]), masks, normalise=True).tolist() == [[[0.5, 0.0], [0.0, 0.0]]]


class TestMasks:
    @given(st.integers(2, 12), st.data())
    def test_every_mask_covers_w_squared_pixels_and_agrees_with_the_paper(self, size, data):
        window = data.draw(st.integers(1, size - 1))
        top, left = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size - 1))
        mask = cyclic_masks(_at(top, left), size, window)[0, 0]
        expected = {((top + i) % size, (left + j) % size) for i in range(window) for j in range(window)}
        assert {tuple(pixel) for pixel in mask.nonzero().tolist()} == expected
        assert mask.sum() == window**2

    def test_random_positions_are_uniform(self):
        draws = draw(1, 40_000, 8, Seeds(1), strategy="full", blocks=4)
        counts = torch.bincount((draws.tops * 8 + draws.lefts).flatten(), minlength=64).double()
        chi_square = float(((counts - 625) ** 2 / 625).sum())
        assert 30 < chi_square < 107  # 63 degrees of freedom: outside by chance less than once in 1,000

    def test_interval_is_a_chessboard(self):
        blocks = draw(1, 1, 6, Seeds(0), strategy="interval", blocks=2).blocks
        mask = cyclic_masks(_at(0, 0, blocks), 6, 4)
        assert mask[0, 0].int().tolist() == [[1, 1, 0, 0, 0, 0]] * 2 + [[0, 0, 1, 1, 0, 0]] * 2 + [[0] * 6] * 2
        assert torch.equal(mask.roll((5, 4), (2, 3)), cyclic_masks(_at(5, 4, blocks), 6, 4))  # it wraps too

    @given(st.integers(2, 10), st.integers(2, 5), st.integers(0, 99))
    @settings(max_examples=30)
    def test_blocks_never_reach_outside_the_window(self, window, blocks, seed):
        full = draw(2, 5, 11, Seeds(seed), strategy="full", blocks=blocks)
        part = draw(2, 5, 11, Seeds(seed), strategy="random", blocks=blocks)
        assert torch.equal(full.tops, part.tops)
        outside = cyclic_masks(part, 11, window) & ~cyclic_masks(full, 11, window)
        assert not outside.any()

    def test_random_blocks_hide_half_the_window_on_average(self):
        draws = draw(1, 4000, 9, Seeds(3), strategy="random", blocks=4)
        share = cyclic_masks(draws, 9, 8)[0].double().mean() * 81 / 64
        assert float(share) == pytest.approx(0.5, abs=0.01)

    @pytest.mark.parametrize(
        ("fill", "first", "last"),
        [
            ("black", [[[0, 20], [30, 41]], [[0, 0], [0, 8]], [[0, 9], [9, 9]]], [0, 0, 0]),
            ("mean", [[[25, 20], [30, 41]], [[2, 0], [0, 8]], [[9, 9], [9, 9]]], [25, 2, 9]),  # red 25.25
            ("grey", [[[124, 20], [30, 41]], [[116, 0], [0, 8]], [[104, 9], [9, 9]]], [124, 116, 104]),
        ],
    )
    def test_hidden_pixels_by_hand(self, toy_view, fill, first, last):
        image = torch.tensor([[[10, 20], [30, 41]], [[0, 0], [0, 8]], [[9, 9], [9, 9]]], dtype=torch.uint8)[None]
        masks = torch.tensor([[[[1, 0], [0, 0]], [[0, 0], [0, 1]]]]).bool()
        hidden = hide(image, masks, fill_colour(image, fill, _standardised(toy_view)))
        assert (hidden.shape, hidden.dtype) == ((1, 2, 3, 2, 2), torch.uint8)
        assert hidden[0, 0].tolist() == first
        assert hidden[0, 1, :, 1, 1].tolist() == last

    def test_the_grey_that_is_0_once_normalised(self, toy_view):
        """255 x ImageNet's means: 123.675, 116.28 and 103.53, each to the nearest level."""
        encoder = _standardised(toy_view)
        found = neutral(encoder, 8)
        assert found.flatten().tolist() == [124, 116, 104]
        nearby = torch.cat([encoder.prepare(found + step).flatten(1).abs() for step in (-1, 0, 1)])
        assert nearby.argmin(0).tolist() == [1, 1, 1]
        plain = toy_view(torch.zeros(1, 3, 8, 8), lambda images: images, 1).encoder
        assert neutral(plain, 8).flatten().tolist() == [0, 0, 0], "an encoder without a normalisation has black"


def _standardised(toy_view):
    """A toy encoder whose images are normalised as ImageNet's are."""
    encoder = toy_view(torch.zeros(1, 3, 8, 8), lambda images: images.mean((2, 3)), 3).encoder
    plain, mean, std = encoder.prepare, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    encoder.prepare = lambda images: normalize(plain(images), mean, std)
    return encoder


def _planted_clusters(toy_view, top, left, batch=64):
    """A linear encoder that sees a trigger only at (top, left): (mean of green, 4 x mean of red in the 4 x 4 box)."""

    def linear(images):
        red = images[:, 0, top : top + 4, left : left + 4].mean((1, 2))
        return torch.stack([images[:, 1].mean((1, 2)), 4 * red], dim=1)

    encoder = toy_view(torch.zeros(1, 3, 16, 16), linear, 2).encoder
    centres = torch.tensor([[1.0, 0.0], [0.2425, 0.9701]])  # without the trigger; with it: (1, 4), normalised
    return Clusters(encoder, centres, batch)


def _triggered():
    images = torch.zeros(3, 3, 16, 16, dtype=torch.uint8)
    images[:, :2] = 255
    return images


class TestPlantedTrigger:
    @pytest.mark.parametrize(("top", "left"), [(0, 0), (5, 9), (12, 12), (0, 12), (7, 1)])
    @pytest.mark.parametrize("normalise", [False, True])
    def test_all_positions_find_the_box_exactly(self, toy_view, top, left, normalise):
        finder = ActivationMasking(clusters=_planted_clusters(toy_view, top, left), window=4, normalise=normalise)
        masks = cyclic_masks(_everywhere(16), 16, 4)
        heat = finder.attention(_triggered()[:1], masks)
        assert best_window(heat, 4).tolist() == [[top, left, 4, 4]]

    def test_random_masks_find_the_box_exactly(self, toy_view):
        finder = ActivationMasking(clusters=_planted_clusters(toy_view, 5, 9), window=4, masks=4000, normalise=True)
        found = finder(_triggered(), torch.zeros(3, dtype=torch.long), Seeds(0))
        assert found.tolist() == [[5, 9, 4, 4]] * 3

    @pytest.mark.parametrize("strategy", ["full", "interval", "random"])
    @pytest.mark.parametrize("fill", ["grey", "black", "mean"])
    def test_vectorised_as_a_plain_loop(self, toy_view, planted, strategy, fill):
        encoder = toy_view(planted.images, planted.features, 4).encoder
        encoder.prepare = lambda images: images / 255 - 0.31  # 0 at 79.05
        clusters = Clusters(encoder, torch.eye(4) * 0.7 + 0.1, 32)
        finder = ActivationMasking(clusters=clusters, window=5, masks=24, strategy=strategy, fill=fill, blocks=3)
        images, seeds = planted.images[:5], Seeds(4, "oracle")
        draws = draw(5, 24, 16, seeds, strategy=strategy, blocks=3)
        maps = finder.maps(images, torch.zeros(5).long(), seeds)
        for i in range(5):
            torch.testing.assert_close(maps[i], _oracle(images[i], draws, i, clusters, fill), atol=1e-5, rtol=0)

    def test_the_batch_budget_does_not_change_the_result(self, toy_view):
        clusters = [_planted_clusters(toy_view, 3, 4, batch) for batch in (1, 50, 1024)]
        finders = [ActivationMasking(clusters=each, window=4, masks=40) for each in clusters]
        boxes = [finder(_triggered(), torch.zeros(3).long(), Seeds(7)).tolist() for finder in finders]
        assert boxes[0] == boxes[1] == boxes[2]


def _oracle(image, draws, i, clusters, fill):
    """Equations 2 and 3 for image i, in loops over masks and pixels."""
    size, window, parts = 16, 5, 3
    colour = {"mean": image.float().mean((1, 2)).round(), "grey": torch.full((3,), 79.0), "black": torch.zeros(3)}[fill]
    masks = torch.zeros(draws.tops.shape[1], size, size)
    for m, a, b in itertools.product(range(len(masks)), range(window), range(window)):
        y, x = int(draws.tops[i, m] + a) % size, int(draws.lefts[i, m] + b) % size
        masks[m, y, x] = 1 if draws.blocks is None else draws.blocks[i, m, a * parts // window, b * parts // window]
    hidden = [torch.where(mask.bool(), colour.byte()[:, None, None], image) for mask in masks]
    labels, distances = clusters.assign(torch.stack(hidden))
    heat, spread = torch.zeros(size, size), distances.max() - distances.min()
    for mask, label, distance in zip(masks, labels, distances, strict=True):
        scaled = (distance - distances.min()) / spread if spread else 0.0
        heat += mask * (1.0 if label != labels.mode().values else scaled)
    return heat
