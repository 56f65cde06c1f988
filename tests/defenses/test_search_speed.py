"""Every way to search that is called exact gives what the plain loop gives; the others come close."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from bench import Seeds
from bench.defenses import PatchSearch, PoisonCAM
from bench.defenses.search.clusters import Clusters
from bench.defenses.search.defaults import scale
from bench.defenses.search.flip_test import FlipTest, flip_set
from bench.defenses.search.halving import SEEN, Outcome, halved, rungs, seen_on_average
from bench.defenses.search.masking import ActivationMasking, Draws, around, cyclic_masks, draw, grid, repeats
from bench.defenses.search.quick import SEARCHES, QuickEncoder, folded, quickened

QUICK = {"window": 5, "clusters": 8, "masks": 32, "flip_set": 24, "top_k": 10, "members": 1, "batch": 64}


class Network(nn.Module):
    """Convolutions and batch norms with statistics of their own, one of them beside a shortcut."""

    def __init__(self):
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
        self.second, self.norm2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)

    def forward(self, images):
        once = self.norm1(self.first(images * 4 - 2)).relu()
        return (self.norm2(self.second(once)) + once).relu().mean((2, 3))


@pytest.fixture
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = Network().eval()
        for norm in (made.norm1, made.norm2):
            for values, low in ((norm.running_mean, -0.3), (norm.running_var, 0.5), (norm.weight.data, 0.5)):
                values.uniform_(low, low + 1)
    return made.requires_grad_(False)


def _scored(defense, view):
    clustering, settings = defense._clustered(view)
    return clustering, defense._searched(view, clustering, defense._scorer(view, clustering, settings), settings)


class TestAgainstThePlainLoop:
    @pytest.mark.parametrize("search", ["exact", "folded"])
    @pytest.mark.parametrize("more", [{}, {"normalise": True}, {"fill": "black"}, {"fill": "mean"}])
    def test_the_same_images_scores_and_boxes(self, toy_view, planted, network, plain_search, search, more):
        defense = PoisonCAM(**QUICK, search=search, **more)
        view = toy_view(planted.images, network, 8)
        view.encoder.prepare = lambda images: images / 255 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]
        clustering, found = _scored(defense, view)
        chosen = flip_set(clustering.labels, clustering.distances, 24, view.seeds("flip set"))
        plain = plain_search(view.encoder, clustering.clusters.centres, view.batch(chosen), window=5, masks=32, **more)
        wanted = plain.search(view, clustering.labels, samples=defense.samples, drop=defense.drop)
        assert found.indices.tolist() == list(wanted)
        scores, boxes = zip(*wanted.values(), strict=True)
        assert len(set(scores)) > 5, "or else any ranking would do"
        assert found.scores.tolist() == list(scores)
        assert found.boxes.tolist() == [list(box) for box in boxes]


class TestQuickEncoder:
    def test_folding_takes_the_batch_norms_out_and_changes_only_rounding(self, network):
        images = torch.rand(5, 3, 16, 16, generator=Seeds(0).torch())
        fused = folded(network)
        assert not any(isinstance(part, nn.BatchNorm2d) for part in fused.modules())
        torch.testing.assert_close(fused(images), network(images), atol=1e-5, rtol=1e-5)
        assert sum(isinstance(part, nn.BatchNorm2d) for part in network.modules()) == 2, "the given one is whole"

    def test_a_network_that_cannot_be_followed_is_copied(self):
        class Turning(Network):
            def forward(self, images):
                return super().forward(images) if images.sum() > 0 else images.mean((2, 3))

        own, images = Turning().eval(), torch.rand(2, 3, 8, 8, generator=Seeds(1).torch())
        assert torch.equal(folded(own)(images), own(images))

    def test_bf16_comes_close(self, toy_view, planted, network):
        encoder = toy_view(planted.images, network, 8).encoder
        quick = QuickEncoder(encoder, torch.bfloat16)
        features, wanted = quick(planted.images[:50]), encoder(planted.images[:50])
        assert features.dtype == torch.float32
        assert not torch.equal(features, wanted)
        torch.testing.assert_close(features, wanted, atol=0.03, rtol=0.03)
        assert quick.module is network

        clusters = Clusters(encoder, torch.eye(8), 16)
        assert quickened(clusters, "exact") is clusters
        assert torch.equal(quickened(clusters, "bf16").centres, clusters.centres)


@pytest.mark.parametrize(
    ("count", "size", "batch", "calls"), [(300, 32, 1024, 3), (20, 224, 334, 3), (20, 224, 5, 4), (64, 16, 1024, 1)]
)
def test_on_a_cpu_what_fits_the_cache_is_encoded_at_once(toy_view, count, size, batch, calls):
    """By hand: 128 images of 32 px, 8 of 224 px (2 would be too few), 512 of 16 px; never over the batch."""
    images = torch.zeros(count, 3, size, size, dtype=torch.uint8)
    encoder = toy_view(images, lambda x: x.mean((2, 3)), 3).encoder
    labels, distances = Clusters(encoder, torch.eye(3), batch).assign(images)
    assert encoder.calls == calls
    assert labels.shape == distances.shape == (count,)


class TestRepeatedMasks:
    def test_by_hand(self):
        draws = Draws(torch.tensor([[0, 1, 0], [0, 0, 0]]), torch.tensor([[2, 0, 2], [2, 2, 2]]))
        first, which = repeats(draws, 4)
        assert which.tolist() == [0, 1, 0, 2, 2, 2]  # of image 0 two, of image 1 one
        assert tuple(first.tolist()) in itertools.product((0, 2), (1,), (3, 4, 5))
        assert repeats(draw(2, 9, 4, Seeds(0), strategy="random", blocks=2), 4) is None  # blocks: all are looked at

    def test_the_maps_are_the_same_bit_by_bit_with_fewer_passes(self, toy_view, planted, network):
        clusters = Clusters(toy_view(planted.images, network, 8).encoder, torch.eye(8), 4096)
        finder, images = ActivationMasking(clusters=clusters, window=5, masks=256), planted.images[:4]
        draws = draw(4, 256, 16, Seeds(2), strategy="full", blocks=4)
        assert len(repeats(draws, 16)[0]) < 0.7 * 4 * 256  # 256 places: 1 - 1/e of them are drawn
        maps = finder.maps(images, torch.zeros(4), Seeds(2))
        assert torch.equal(maps, finder.attention(images, cyclic_masks(draws, 16, 5)))


class TestCoarseMasks:
    @pytest.mark.parametrize(("size", "window", "masks"), [(32, 12, 256), (224, 60, 256), (16, 3, 8), (33, 5, 64)])
    def test_the_grid_covers_every_pixel(self, size, window, masks):
        draws = grid(size, window, masks)
        assert cyclic_masks(draws, size, window).any(1).all()
        assert draws.tops.shape[1] == len({*zip(draws.tops[0].tolist(), draws.lefts[0].tolist(), strict=True)})

    def test_around_by_hand(self):
        made = grid(32, 12, 256).tops.numel() + around(torch.tensor([[4, 4, 12, 12]]), 32, 256).tops.numel()
        assert PoisonCAM(search="fast").passes(32, 12) == made == 9 + 4
        assert PoisonCAM(search="fast").passes(224, 60) == 16 + 4  # three windows would leave 44 px out
        draws = around(torch.tensor([[0, 10, 8, 8]]), 12, 256)  # two by two, a quarter of the window off each side
        places = {*zip(draws.tops[0].tolist(), draws.lefts[0].tolist(), strict=True)}
        assert places == {(10, 8), (10, 0), (2, 8), (2, 0)}

    def test_it_finds_the_planted_triggers(self, toy_view, planted):
        """Of 24 poisoned images; the search with all 256 masks divided finds all but a few to the pixel."""
        view = toy_view(planted.images, planted.features, 4)
        defense = PoisonCAM(window=6, clusters=10, search="fast", top_k=8)
        clustering, settings = defense._clustered(view)
        poisoned = planted.images[torch.tensor(planted.poisoned)]
        found = defense.locator(clustering, settings)(poisoned, torch.zeros(24), Seeds(0))
        assert ((found[:, :2] - planted.places).abs().amax(1) <= 2).float().mean() >= 0.8


class TestHalving:
    """200 candidates: the i-th changes i of 200 images, in a random order, and pulls each by i and some noise."""

    whole, truth = 200, np.arange(200)

    @pytest.fixture
    def test(self):
        rng = np.random.default_rng(0)
        order = rng.permuted(np.tile(np.arange(self.whole), (200, 1)), axis=1)
        changes, pulls = order < self.truth[:, None], self.truth[:, None] + rng.normal(0, 10, (200, 200))
        return lambda rows, start, stop: Outcome(changes[rows, start:stop].sum(1), pulls[rows, start:stop].sum(1))

    def first(self, test):
        return test(np.arange(200), 0, SEEN[0])

    def test_the_best_are_tested_on_all_and_none_is_above_them_by_chance(self, test):
        found = halved(self.first(test), self.whole, 4, test)
        best = np.argsort(-found, kind="stable")[:6]  # one and a half times 4
        assert found[best].tolist() == self.truth[best].tolist()
        assert self.truth[best[:4]].tolist() == [199, 198, 197, 196]
        assert np.delete(found, best).max() < found[best].min()
        assert len(set(found)) == 200
        assert float(np.corrcoef(found.argsort().argsort(), self.truth)[0, 1]) > 0.95

    def test_few_candidates_are_all_tested_on_all(self, test):
        assert halved(self.first(test), self.whole, 200, test).tolist() == self.truth.tolist()

    def test_a_flip_set_that_all_have_seen_decides_by_itself(self):
        first = Outcome(np.array([0, 2, 1]), np.array([3.0, 2.0, 1.0]))
        assert halved(first, 3, 1, lambda *_: pytest.fail("nothing is left to see")).tolist() == [0, 2, 1]

    def test_by_hand(self):
        """Eight candidates and top_k 1: three go on from 4 images to 12, and two of them to all 14."""
        pulls, flips = np.array([8.0, 7, 6, 5, 4, 3, 2, 1]), np.array([0, 4, 4, 4, 0, 0, 0, 0])
        asked = []

        def test(rows, start, stop):
            asked.append((rows.tolist(), start, stop))
            return Outcome(np.full(len(rows), stop - start), np.array([0.0, -9, 0])[rows])

        found = halved(Outcome(flips, pulls), 14, 1, test)
        assert asked == [([0, 1, 2], 4, 12), ([0, 2], 12, 14)]
        # The second has 12 of 12: its rate, 12 * 14 / 16, is over the 10 of the first, the least of those that went on.
        # The fourth has 4 of 4, 4 * 14 / 8 = 7; those behind it none.
        assert found[[0, 2]].tolist() == [10, 14]
        assert found[[1, 3, 4, 5, 6, 7]].tolist() == pytest.approx(
            [10 - 1 / 7, 7 - 2 / 7, *(-k / 7 for k in range(3, 7))]
        )

    def test_what_it_costs_by_hand(self):
        """272 candidates: 4 images each, 68 of them 8 more, 30 of them 24 more, 15 of them the last 92."""
        assert list(rungs(128, 272, 10)) == [(12, 68), (36, 30), (128, 15)]
        assert seen_on_average(128, 272, 10) == pytest.approx(4 + (8 * 68 + 24 * 30 + 92 * 15) / 272)
        assert list(rungs(10, 272, 10)) == [(10, 15)]
        assert list(rungs(3, 272, 10)) == []
        assert seen_on_average(3, 272, 10) == 3
        assert PoisonCAM(search="fast", window=12).flips(scale(32, 2000), 272) == seen_on_average(128, 272, 10)

    def test_a_part_of_the_flip_set_counts_what_is_left_of_the_whole(self, toy_view):
        """64 images, red 0 to 63 in some order: a patch with green p changes the cluster of those under p."""
        images = torch.zeros(64, 3, 4, 4, dtype=torch.uint8)
        images[:, 0] = torch.randperm(64, generator=Seeds(8).torch())[:, None, None]
        encoder = toy_view(images, lambda x: x[:, :2].amax((2, 3)) * 255 + torch.tensor([0.5, 0.0]), 2).encoder
        flip, own = FlipTest(Clusters(encoder, torch.eye(2), 16), images), torch.zeros(4, dtype=torch.long)
        patches = torch.zeros(4, 3, 2, 2, dtype=torch.uint8)
        patches[:, 1] = torch.tensor([0, 17, 40, 63])[:, None, None]
        parts = [flip.tested(patches, own, Seeds(1), start, stop) for start, stop in ((0, 14), (14, 42), (42, 64))]
        whole = flip.tested(patches, own, Seeds(1))
        assert torch.equal(sum(flips for flips, _ in parts), whole[0])
        assert whole[0].tolist() == [0, 17, 40, 63]
        torch.testing.assert_close(sum(pulls for _, pulls in parts), whole[1])
        assert (whole[1].diff() > 0).all(), "the greener, the farther"


class TestTheOption:
    def test_the_exact_search_keeps_the_name_it_had(self):
        assert "search" not in PoisonCAM().identity()
        assert PoisonCAM(search="bf16").identity() == {**PoisonCAM().identity(), "search": "bf16"}
        assert PoisonCAM(search="fast").identity() == {**PoisonCAM().identity(), "search": "fast, edition 2"}

    def test_a_plan_counts_every_mask_once_and_what_the_halving_sees(self):
        """By hand: 3 masks on 2 x 2 places, each place drawn with 1 - (3/4)^3; at 224 px next to none twice."""
        assert PoisonCAM(masks=3).encoded(2, 1) == pytest.approx(4 * 37 / 64)
        assert PoisonCAM().encoded(224, 60) == pytest.approx(255.4, abs=0.1)
        assert PoisonCAM(strategy="random").encoded(2, 1) == 256
        each = PoisonCAM(window=12).encoded(32, 12) + 128
        fast = PoisonCAM(window=12, search="fast")
        assert each / (fast.encoded(32, 12) + fast.flips(scale(32, 2000), 272)) > 13
        assert (2 + 128) / (2 + PatchSearch(window=12, search="fast").flips(scale(32, 2000), 272)) > 8
        assert PoisonCAM().forwards(2000, 32) > 6 * PoisonCAM(search="fast").forwards(2000, 32)  # with the clustering

    def test_the_plan_is_what_is_encoded(self, toy_view, planted):
        passed = []

        class Counted(nn.Module):
            def forward(self, images):
                passed.append(len(images))
                return planted.features(images)

        defense = PoisonCAM(window=6, clusters=10, top_k=8, search="fast")
        view = toy_view(planted.images, Counted(), 4)
        clustering, settings = defense._clustered(view)
        score = defense._scorer(view, clustering, settings)
        before = sum(passed)
        assert before == len(planted.images) + settings.flip_set  # the clusters, and those of the flip set
        score(np.arange(40), Seeds(1), lambda done: None)
        assert sum(passed) - before == 40 * (defense.passes(16, 6) + SEEN[0])

    @pytest.mark.parametrize("plugin", [PoisonCAM, PatchSearch])
    @pytest.mark.parametrize("search", SEARCHES)
    def test_every_search_ranks_the_poisoned_first(self, toy_view, planted, plugin, search):
        layer = {"layer": "match"} if plugin is PatchSearch else {"masks": 64}
        defense = plugin(window=6, clusters=10, top_k=8, batch=256, search=search, **layer)
        _, found = _scored(defense, toy_view(planted.images, planted.features, 4))
        ranked = found.indices[np.lexsort((found.indices, -found.scores))]
        assert planted.poisoned[ranked[:8]].mean() >= 0.75
        assert dataclasses.asdict(defense)["search"] == search
