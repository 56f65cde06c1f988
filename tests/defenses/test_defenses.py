"""PoisonCAM and PatchSearch as wholes, on planted triggers."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from bench import BenchError, Verdict
from bench.defenses import NoDefense, PatchSearch, PoisonCAM, bench_defenses
from bench.defenses.search.search import TriggerSearch

QUICK = {"window": 6, "clusters": 10, "top_k": 8, "members": 1, "batch": 256}
LEARN = {"iterations": 120, "learning_rate": 0.04, "patch_min": 6, "patch_max": 7, "crops": 0.0, "decoys": 0.0}
OWN = {PoisonCAM: {"masks": 64}, PatchSearch: {"layer": "match"}}
both = pytest.mark.parametrize("plugin", OWN)


def quick(plugin, **more):
    return plugin(**{**QUICK, **OWN[plugin], "iterations": 2, **more})


@pytest.fixture(scope="module")
def view(toy_view, planted):
    """view() -> a view of the planted images."""
    return lambda **more: toy_view(planted.images, planted.features, 4, **more)


@pytest.fixture(scope="module")
def whole(view):
    """whole[plugin] -> the verdict of the quick defense, and the view that it had. Read only."""
    found = {}
    for plugin in OWN:
        given = view()
        found[plugin] = quick(plugin).clean(given), given
    return found


def _same(one, two):
    for name in ("keep", "score", "trigger_score", "boxes"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert one.facts == two.facts


def test_the_plugin_offers_all():
    baselines = [
        "colour",
        "palette",
        "colour-count",
        "spectral",
        "compactness",
        "knn-density",
        "isolation-forest",
        "activation-clustering",
    ]
    baselines.append("cognitive-distillation")
    names = ["none", "patchsearch", "poisoncam", "recur", "icutmix", "finetune", "distill", *baselines]
    names += ["oracle", "random", "trusted", "untrusted", "clean-set"]
    names += ["strip", "masking", "recur-templates", "colour-test", "decree", "pull"]
    assert [cls.name for cls in bench_defenses()] == names
    assert [cls.name for cls in bench_defenses() if getattr(cls, "baseline", False)] == [*baselines, "colour-test"]
    assert (PoisonCAM.needs, NoDefense.needs) == ({"encoder"}, frozenset())


def test_none_keeps_everything(toy_view):
    verdict = NoDefense().clean(toy_view(torch.zeros(5, 3, 4, 4), None, 1))
    assert (verdict.keep.tolist(), verdict.keep.dtype) == ([True] * 5, np.bool_)
    assert verdict.score is verdict.boxes is verdict.trigger_score is None


def test_what_patchsearch_has_of_its_own():
    shared = {item.name: item.default for item in dataclasses.fields(TriggerSearch)}
    assert {**shared, "layer": "auto"} == {item.name: item.default for item in dataclasses.fields(PatchSearch)}
    assert (PatchSearch.flip_kind, PatchSearch.cluster_score) == ("own", "max")


@pytest.mark.parametrize(("plugin", "right", "near", "share"), [(PoisonCAM, 0.9, 1, 0.7), (PatchSearch, 1, 2, 1)])
def test_it_finds_and_removes_the_planted_trigger(view, planted, plugin, right, near, share, global_rng):
    before = planted.images.clone()
    verdict = quick(plugin, **LEARN).clean(view())
    assert torch.equal(planted.images, before)
    assert roc_auc_score(planted.poisoned, verdict.score) > 0.9
    np.testing.assert_array_equal(verdict.keep, verdict.score <= 0.5)
    if plugin is PoisonCAM:
        assert (~verdict.keep & planted.poisoned).sum() >= 18  # of 24
        assert (~verdict.keep & ~planted.poisoned).sum() <= 22  # of 216
    top = np.argsort(-np.nan_to_num(verdict.trigger_score, nan=-np.inf))[:8]
    assert planted.poisoned[top].mean() >= right
    assert np.isfinite(verdict.trigger_score[top]).all()
    places = dict(zip(np.flatnonzero(planted.poisoned), planted.places.numpy(), strict=True))
    off = [np.abs(verdict.boxes[i, :2] - places[i]).max() for i in top if planted.poisoned[i]]
    assert np.mean(np.array(off) <= near) >= share


@both
def test_the_verdict_has_the_right_form(whole, plugin):
    verdict, _ = whole[plugin]
    assert verdict.keep.shape == verdict.score.shape == verdict.trigger_score.shape == (240,)
    assert (verdict.boxes.shape, verdict.boxes.dtype) == ((240, 4), np.int64)
    np.testing.assert_array_equal(verdict.keep, verdict.score <= 0.5)
    scored = np.isfinite(verdict.trigger_score)
    assert scored.sum() == verdict.facts["images_scored"] < 240
    assert (verdict.boxes[~scored] == -1).all()
    assert (verdict.boxes[scored, 2:] == 6).all()
    assert ((verdict.boxes[scored, :2] >= 0) & (verdict.boxes[scored, :2] <= 10)).all()
    assert json.loads(json.dumps(verdict.facts)) == verdict.facts


@both
def test_the_same_again_whatever_the_batch_and_other_with_another_seed(view, whole, plugin):
    one, _ = whole[plugin]
    _same(one, quick(plugin).clean(view()))
    small = quick(plugin, batch=100).clean(view())
    np.testing.assert_array_equal(one.boxes, small.boxes)
    np.testing.assert_array_equal(one.trigger_score, small.trigger_score)
    assert not np.array_equal(one.boxes, quick(plugin).clean(view(root=1)).boxes)


@pytest.mark.parametrize("stop", ["clusters", "search-001", "classifier-0", "classifier-judgement"])
def test_killed_and_started_again(view, whole, stop):
    stopped = view(stop=stop)
    with pytest.raises(KeyboardInterrupt):
        quick(PoisonCAM).clean(stopped)
    stopped.stop = None
    _same(whole[PoisonCAM][0], quick(PoisonCAM).clean(stopped))
    assert len(set(stopped.computed)) == len(stopped.computed)


@pytest.mark.parametrize(
    "options", [{}, {"strategy": "random"}, {"strategy": "interval"}, {"fill": "mean"}, {"fill": "black"}]
)
def test_clean_data_and_other_masks(toy_view, planted, options):
    clean = planted.images[torch.tensor(~planted.poisoned)]
    verdict = quick(PoisonCAM, iterations=1, **options).clean(toy_view(clean, planted.features, 4))
    assert verdict.keep.shape == (216,)
    np.testing.assert_array_equal(verdict.keep, verdict.score <= 0.5)  # one batch: all scores are near 0.5
    assert verdict.score.min() > 0.2


@both
def test_forwards_says_how_many_images_are_encoded(view, plugin):
    given, images = view(), []
    hook = given.encoder.module.register_forward_hook(lambda module, inputs, output: images.append(len(output)))
    defense = quick(plugin, iterations=1)
    facts = defense.clean(given).facts
    hook.remove()
    if plugin is PoisonCAM:
        assert sum(images) == pytest.approx(defense.forwards(240, 16), rel=0.1)
        return
    scored, flips = facts["images_scored"], facts["flip_set"]
    assert sum(images) + scored == 240 + 1 + flips + scored * (2 + flips)  # the backward counts as one; 1: the layer
    assert defense.forwards(240, 16) == 240 + flips + 78 * (2 + flips)  # 78, where no cluster runs out of images
    assert 60 <= scored <= 78


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strategy": "ful"}, "strategy='ful' is not known. Did you mean 'full'"),
        ({"fill": "white"}, "fill='white' is not known. Known: black, grey, mean"),
        ({"search": "bf61"}, r"'bf61'.*bf16"),
        ({"search": "fast", "strategy": "random"}, r"search='fast' masks whole windows.*'random'"),
        ({"masks": 1}, "masks=1: expected 2 or more"),
        ({"blocks": 1}, "blocks=1"),
        ({"samples": 0}, "samples=0"),
        ({"members": 0}, "members=0"),
        ({"drop": 0.0}, r"drop=0.0: expected a share in \(0, 1\]"),
        ({"drop": 1.5}, "drop=1.5"),
        ({"leave_out": 1.0}, r"leave_out=1.0: expected a share in \[0, 1\)"),
    ],
)
def test_options_that_cannot_be(options, said):
    with pytest.raises(BenchError, match=said):
        PoisonCAM(**options)


@pytest.mark.parametrize(
    ("features", "more", "said"),
    [
        (None, {"clusters": 500}, "240 images cannot fill 500 clusters"),
        (lambda images: torch.ones(len(images), 4), {}, r"scored only 2 of 240 .* nearly the same features"),
        (lambda images: torch.full((len(images), 4), float("nan")), {}, "features for 240 of 240 images"),
    ],
)
def test_what_cannot_be_searched(toy_view, planted, features, more, said):
    with pytest.raises(BenchError, match=said):
        quick(PoisonCAM, **more).clean(toy_view(planted.images, features, 4))


class TestPictures:
    def test_patchsearchs_windows_are_those_of_the_verdict(self, view, whole):
        verdict, given = whole[PatchSearch]
        scored = np.flatnonzero(np.isfinite(verdict.trigger_score))[[5, 0, 9]]
        for again in (given, view()):  # with the saved steps, and without them
            maps, boxes = quick(PatchSearch).attention(again, scored)
            assert (maps.shape, maps.dtype) == ((3, 16, 16), np.float32)
            np.testing.assert_array_equal(boxes, verdict.boxes[scored])

    @both
    def test_the_groups_are_the_clusters_with_the_scores_of_the_search(self, view, whole, plugin):
        defense, given = quick(plugin), whole[plugin][1]
        mark = {3: 5.0, 50: -2.0, 120: 7.0, 121: 1.0, 200: 0.0}
        score = np.full(240, np.nan)
        score[list(mark)] = list(mark.values())
        verdict = Verdict(keep=np.ones(240, bool), trigger_score=score)
        found = defense.grouping(given, verdict)
        assert found.labels.shape == (240,)
        np.testing.assert_array_equal(found.labels, defense.grouping(view(), verdict).labels)
        together = max if defense.cluster_score == "max" else sum
        for cluster, value in enumerate(found.score):
            scores = [mark[index] for index in mark if found.labels[index] == cluster]
            assert value == together(scores) if scores else np.isnan(value)
        assert defense.grouping(given, Verdict(keep=verdict.keep)) is None

    def test_poisoncams_maps_depend_on_the_image_alone(self, whole, planted):
        given, poisoned = whole[PoisonCAM][1], np.flatnonzero(planted.poisoned)[:4]
        maps, boxes = quick(PoisonCAM).attention(given, poisoned)
        np.testing.assert_array_equal(maps[2:3], quick(PoisonCAM).attention(given, poisoned[2:3])[0])
        assert maps.min() >= 0
        assert (np.abs(boxes[:, :2] - planted.places[:4].numpy()).max(1) <= 3).sum() >= 3
