"""PatchSearch: a planted example worked out by hand, and the whole on planted triggers."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from bench import Verdict
from bench.defenses import PatchSearch, PoisonCAM
from bench.defenses.search.clusters import Clustering, Clusters
from bench.defenses.search.iterate import Search, survivors
from bench.defenses.search.search import TriggerSearch

QUICK = {"window": 6, "clusters": 10, "top_k": 8, "members": 1, "batch": 256, "layer": "match"}
LEARN = {"iterations": 120, "learning_rate": 0.04, "patch_min": 6, "patch_max": 7, "crops": 0.0, "decoys": 0.0}


class Weighted(nn.Module):
    """Features (mean red, 4 x mean green, 16 x mean blue, 0.2); the layer "scaled" gives them pixel by pixel."""

    def __init__(self):
        super().__init__()
        self.scaled = nn.Identity()

    def forward(self, images):
        weights = torch.tensor([1.0, 4.0, 16.0, 0.2])[:, None, None]
        ones = torch.ones_like(images[:, :1])
        return self.scaled(torch.cat([images, ones], 1) * weights).mean((2, 3))


BLACK, RED, GREEN, BLUE = (torch.tensor(c)[:, None, None] for c in ([0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]))


class TestByHand:
    """Images of 4 x 4 px, window 2 x 2, clusters black, red, green, blue; the trigger is a blue box.

    A pasted patch is a quarter of an image: it wins where its colour's weight is over three times that of what is
    below: blue on all (16/4 : 4*3/4), green on red and black, red on black (0.25 : 0.2), black on none.
    The flip set holds each cluster's image nearest to its centre, the plain one. So of the four, after the paste
    in the own cluster, less the one before: black 1 - 1, red 2 - 1, green 3 - 1, blue 4 - 1.
    """

    labels = np.array([0, 0, 1, 1, 2, 2, 3, 3, 3])
    box = (1, 2)  # of the trigger in the last image

    @pytest.fixture
    def images(self):
        pixels = torch.zeros(9, 3, 4, 4, dtype=torch.uint8)
        for index, colour in enumerate([BLACK, BLACK, RED, RED, GREEN, GREEN, BLUE, BLACK, RED]):
            pixels[index] = colour
        pixels[8, :, 1:3, 2:4] = BLUE
        return pixels

    @pytest.fixture
    def scored(self, toy_view, images):
        """Every image scored in one round, by its index: (scores, boxes)."""
        centres = torch.tensor([[0, 0, 0, 1.0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
        view = toy_view(images, Weighted(), 4)
        clusters = Clusters(view.encoder, centres, 64)
        distances = np.array([0, 1, 0, 1, 0, 1, 0, 9, 8], dtype=np.float32)
        defense = PatchSearch(window=2, flip_set=4, layer="scaled", margin=0, patch_min=1, patch_max=2, top_k=1)
        settings = dataclasses.replace(defense.settings(4, 9), clusters=4)
        score = defense._scorer(view, Clustering(clusters, self.labels, distances), settings)
        search = Search(samples=3, drop=defense.drop, cluster_score=defense.cluster_score)
        found = search(view, self.labels, score)
        order = np.argsort(found.indices)
        assert found.indices[order].tolist() == list(range(9))
        return found.scores[order], found.boxes[order], found.rounds

    def test_the_candidate_window_is_the_trigger(self, scored):
        assert scored[1][8].tolist() == [1, 2, 2, 2]
        assert (scored[1][:8] == [0, 0, 2, 2]).all()  # plain images: equal evidence everywhere, the first window

    def test_the_flip_score_counts_the_own_cluster(self, scored):
        # Image 7 is black in the blue cluster: its black patch brings no image there, 1 - 1.
        assert scored[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 0, 3]

    def test_clusters_go_by_their_maximum_a_quarter_each_round(self, scored):
        assert scored[2] == 4  # 4 -> 3 (25 %) -> 2 -> 1 -> 0 (25 % rounds to 0: one)
        best = np.full(4, -9)
        np.maximum.at(best, self.labels, scored[0])
        assert best.tolist() == [0, 1, 2, 3]
        live, gone = np.arange(4), []
        while len(live):
            left = survivors(live, best[live], PatchSearch().drop)
            gone += sorted(set(live.tolist()) - set(left.tolist()))
            live = left
        assert gone == [0, 1, 2, 3]

    def test_the_lowest_maximum_goes_first_where_the_sum_would_keep_it(self, toy_view):
        """Scores (3, 0) and (2, 2): by maximum the second cluster goes first, by sum the first."""
        rounds = {}
        for kind in (PatchSearch.cluster_score, PoisonCAM.cluster_score):
            view = toy_view(torch.zeros(6, 3, 4, 4, dtype=torch.uint8), None, 1)
            scores = np.array([3, 0, 0, 2, 2, 2])

            def score(indices, seeds, tell, scores=scores):
                return scores[indices], np.zeros((len(indices), 4), dtype=np.int64)

            labels = np.array([0, 0, 0, 1, 1, 1])
            Search(samples=3, cluster_score=kind)(view, labels, score)
            first = survivors(np.arange(2), np.array([3, 2]) if kind == "max" else np.array([3, 6]), 0.25)
            rounds[kind] = first.tolist()
        assert rounds == {"max": [0], "sum": [1]}


class Backdoored(nn.Module):
    """The planted encoder (conftest.py); the layer "match" says where the trigger fits."""

    def __init__(self, template):
        super().__init__()
        self.register_buffer("template", template)
        self.match = nn.Identity()

    def forward(self, images):
        match = self.match(nn.functional.conv2d(images - 0.5, self.template)).amax((1, 2, 3))
        return torch.cat([images.mean((2, 3)), (match[:, None] - 30).clamp_min(0) / 4], dim=1)


@pytest.fixture
def view(toy_view, planted):
    top, left = planted.places[0].tolist()
    poisoned = planted.images[int(np.flatnonzero(planted.poisoned)[0])].float() / 255
    template = (poisoned[None, :, top : top + 6, left : left + 6] * 2 - 1).round()

    def make(**more):
        return toy_view(planted.images, Backdoored(template), 4, **more)

    return make


def _same(one, two):
    for name in ("keep", "score", "trigger_score", "boxes"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert one.facts == two.facts


class TestWhole:
    def test_it_finds_and_removes_the_planted_trigger(self, view, planted):
        verdict = PatchSearch(**QUICK, **LEARN).clean(view())
        assert roc_auc_score(planted.poisoned, verdict.score) > 0.9
        np.testing.assert_array_equal(verdict.keep, verdict.score <= 0.5)
        top = np.argsort(-np.nan_to_num(verdict.trigger_score, nan=-np.inf))[:8]
        assert planted.poisoned[top].all()
        places = dict(zip(np.flatnonzero(planted.poisoned), planted.places.numpy(), strict=True))
        off = np.array([np.abs(verdict.boxes[i, :2] - places[i]).max() for i in top])
        assert (off <= 2).all()
        assert json.loads(json.dumps(verdict.facts)) == verdict.facts

    def test_the_same_again_in_any_batch(self, view):
        one, two = (PatchSearch(**QUICK, iterations=2).clean(view()) for _ in range(2))
        _same(one, two)
        small = PatchSearch(**{**QUICK, "batch": 100}, iterations=2).clean(view())
        np.testing.assert_array_equal(one.boxes, small.boxes)
        np.testing.assert_array_equal(one.trigger_score, small.trigger_score)

    def test_forwards_tells_how_many_images_are_encoded(self, view):
        given, images = view(), []
        hook = given.encoder.module.register_forward_hook(lambda module, inputs, output: images.append(len(output)))
        defense = PatchSearch(**QUICK, iterations=1)
        verdict = defense.clean(given)
        hook.remove()
        scored = verdict.facts["images_scored"]
        flips = verdict.facts["flip_set"]
        assert sum(images) + scored == 240 + 1 + flips + scored * (
            2 + flips
        )  # the backward counts as one; 1: the layer
        assert defense.forwards(240, 16) == 240 + flips + 78 * (2 + flips)  # 78, where no cluster runs out of images
        assert 60 <= scored <= 78

    def test_what_differs_from_poisoncam(self):
        assert issubclass(PatchSearch, TriggerSearch)
        shared = {item.name: item.default for item in dataclasses.fields(TriggerSearch)}
        own = {item.name: item.default for item in dataclasses.fields(PatchSearch)}
        assert {**shared, "layer": "auto"} == own
        assert (PatchSearch.flip_kind, PatchSearch.cluster_score) == ("own", "max")
        assert all(item.metadata["help"] for item in dataclasses.fields(PatchSearch))


class TestAttention:
    def test_patchsearchs_windows_are_those_of_the_verdict(self, view):
        defense, given = PatchSearch(**QUICK, iterations=1), view()
        verdict = defense.clean(given)
        scored = np.flatnonzero(np.isfinite(verdict.trigger_score))[[5, 0, 9]]
        for again in (given, view()):  # with the saved steps, and without them
            maps, boxes = defense.attention(again, scored)
            assert maps.shape == (3, 16, 16)
            assert maps.dtype == np.float32
            np.testing.assert_array_equal(boxes, verdict.boxes[scored])

    @pytest.mark.parametrize("defense", [PatchSearch(**QUICK, iterations=1), PoisonCAM(window=6, clusters=10, masks=8)])
    def test_the_groups_are_the_clusters_with_the_scores_of_the_search(self, view, defense):
        given = view()
        mark = {3: 5.0, 50: -2.0, 120: 7.0, 121: 1.0, 200: 0.0}
        score = np.full(240, np.nan)
        score[list(mark)] = list(mark.values())
        verdict = Verdict(keep=np.ones(240, bool), trigger_score=score)
        found = defense.grouping(given, verdict)
        np.testing.assert_array_equal(found.labels, defense.grouping(view(), verdict).labels)
        assert found.labels.shape == (240,)
        together = max if defense.cluster_score == "max" else sum
        for cluster, value in enumerate(found.score):
            scores = [mark[index] for index in mark if found.labels[index] == cluster]
            assert value == together(scores) if scores else np.isnan(value)
        assert defense.grouping(given, Verdict(keep=verdict.keep)) is None

    def test_poisoncams_maps_hang_on_the_image_alone(self, toy_view, planted):
        given = toy_view(planted.images, planted.features, 4)
        defense = PoisonCAM(window=6, clusters=10, masks=64)
        poisoned = np.flatnonzero(planted.poisoned)[:4]
        maps, boxes = defense.attention(given, poisoned)
        one, _ = defense.attention(given, poisoned[2:3])
        np.testing.assert_array_equal(maps[2:3], one)
        assert maps.min() >= 0
        assert (np.abs(boxes[:, :2] - planted.places[:4].numpy()).max(1) <= 3).sum() >= 3
