import dataclasses
import json

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from bench import BenchError
from bench.defenses import NoDefense, PoisonCAM, bench_defenses

QUICK = {"window": 6, "clusters": 10, "masks": 64, "top_k": 8, "members": 1, "batch": 256}
LEARN = {"iterations": 120, "learning_rate": 0.04, "patch_min": 6, "patch_max": 7, "crops": 0.0, "decoys": 0.0}


def _view(toy_view, planted, **more):
    return toy_view(planted.images, planted.features, 4, **more)


def _same(one, two):
    for name in ("keep", "score", "trigger_score", "boxes"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert one.facts == two.facts


def test_the_plugin_offers_all():
    assert [cls.name for cls in bench_defenses()] == [
        *("none", "patchsearch", "poisoncam", "icutmix"),
        *("oracle", "random", "clean-set"),
    ]
    assert PoisonCAM.needs == {"encoder"}
    assert NoDefense.needs == frozenset()


def test_every_option_says_what_it_does():
    assert all(field.metadata["help"] for field in dataclasses.fields(PoisonCAM))
    json.dumps(PoisonCAM().identity())


def test_none_keeps_everything(toy_view):
    verdict = NoDefense().clean(toy_view(torch.zeros(5, 3, 4, 4), None, 1))
    assert verdict.keep.tolist() == [True] * 5
    assert verdict.keep.dtype == np.bool_
    assert verdict.score is verdict.boxes is verdict.trigger_score is None


class TestPoisonCAM:
    def test_it_finds_and_removes_the_planted_trigger(self, toy_view, planted):
        before = planted.images.clone(), torch.get_rng_state()
        view = _view(toy_view, planted)
        verdict = PoisonCAM(**QUICK, **LEARN).clean(view)
        assert torch.equal(planted.images, before[0])
        assert torch.equal(torch.get_rng_state(), before[1])
        assert roc_auc_score(planted.poisoned, verdict.score) > 0.9
        np.testing.assert_array_equal(verdict.keep, verdict.score <= 0.5)
        assert (~verdict.keep & planted.poisoned).sum() >= 18  # of 24
        assert (~verdict.keep & ~planted.poisoned).sum() <= 22  # of 216
        top = np.argsort(-np.nan_to_num(verdict.trigger_score, nan=-np.inf))[:8]
        assert planted.poisoned[top].mean() >= 0.9
        assert np.isfinite(verdict.trigger_score[top]).all()
        places = dict(zip(np.flatnonzero(planted.poisoned), planted.places.numpy(), strict=True))
        off = [np.abs(verdict.boxes[i, :2] - places[i]).max() for i in top if planted.poisoned[i]]
        assert np.mean(np.array(off) <= 1) >= 0.7

    def test_the_verdict_has_the_right_form(self, toy_view, planted):
        verdict = PoisonCAM(**QUICK, iterations=1).clean(_view(toy_view, planted))
        assert verdict.keep.shape == verdict.score.shape == verdict.trigger_score.shape == (240,)
        assert verdict.boxes.shape == (240, 4)
        assert verdict.boxes.dtype == np.int64
        np.testing.assert_array_equal(verdict.keep, verdict.score <= 0.5)  # one batch: all scores are near 0.5
        assert verdict.score.min() > 0.2
        scored = np.isfinite(verdict.trigger_score)
        assert scored.sum() == verdict.facts["images_scored"] < 240
        assert (verdict.boxes[~scored] == -1).all()
        assert (verdict.boxes[scored, 2:] == 6).all()
        assert ((verdict.boxes[scored, :2] >= 0) & (verdict.boxes[scored, :2] <= 10)).all()
        assert json.loads(json.dumps(verdict.facts)) == verdict.facts

    def test_the_same_again_whatever_the_batch_and_other_with_another_seed(self, toy_view, planted):
        one, two = (PoisonCAM(**QUICK, iterations=2).clean(_view(toy_view, planted)) for _ in range(2))
        _same(one, two)
        small = PoisonCAM(**{**QUICK, "batch": 100}, iterations=2).clean(_view(toy_view, planted))
        np.testing.assert_array_equal(one.boxes, small.boxes)
        np.testing.assert_array_equal(one.trigger_score, small.trigger_score)
        other = PoisonCAM(**QUICK, iterations=2).clean(_view(toy_view, planted, root=1))
        assert not np.array_equal(one.boxes, other.boxes)

    @pytest.mark.parametrize("stop", ["clusters", "search-001", "classifier-0", "classifier-judgement"])
    def test_killed_and_started_again(self, toy_view, planted, stop):
        defense = PoisonCAM(**QUICK, iterations=2)
        whole = defense.clean(_view(toy_view, planted))
        view = _view(toy_view, planted, stop=stop)
        with pytest.raises(KeyboardInterrupt):
            defense.clean(view)
        view.stop = None
        _same(whole, defense.clean(view))
        assert len(set(view.computed)) == len(view.computed)

    @pytest.mark.parametrize("options", [{"strategy": "random"}, {"strategy": "interval"}, {"fill": "mean"}])
    def test_other_masks(self, toy_view, planted, options):
        verdict = PoisonCAM(**QUICK, iterations=1, **options).clean(_view(toy_view, planted))
        assert verdict.keep.shape == (240,)

    def test_clean_data_runs(self, toy_view, planted):
        clean = planted.images[torch.tensor(~planted.poisoned)]
        verdict = PoisonCAM(**QUICK, iterations=1).clean(toy_view(clean, planted.features, 4))
        assert verdict.keep.shape == (216,)


def test_forwards_tells_how_many_images_are_encoded(toy_view, planted):
    view = _view(toy_view, planted)
    images = []
    function = view.encoder.function
    view.encoder.function = lambda batch: (images.append(len(batch)), function(batch))[1]
    defense = PoisonCAM(**QUICK, iterations=1)
    defense.clean(view)
    assert sum(images) == pytest.approx(defense.forwards(240, 16), rel=0.1)


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"strategy": "ful"}, "strategy='ful' is not known. Did you mean 'full'"),
            ({"fill": "white"}, "fill='white' is not known. Known: black, mean"),
            ({"masks": 1}, "masks=1: expected 2 or more"),
            ({"blocks": 1}, "blocks=1"),
            ({"samples": 0}, "samples=0"),
            ({"members": 0}, "members=0"),
            ({"drop": 0.0}, r"drop=0.0: expected a share in \(0, 1\]"),
            ({"drop": 1.5}, "drop=1.5"),
            ({"leave_out": 1.0}, r"leave_out=1.0: expected a share in \[0, 1\)"),
        ],
    )
    def test_options(self, options, said):
        with pytest.raises(BenchError, match=said):
            PoisonCAM(**options)

    def test_fewer_images_than_clusters(self, toy_view, planted):
        with pytest.raises(BenchError, match="240 images cannot fill 500 clusters"):
            PoisonCAM(clusters=500).clean(_view(toy_view, planted))

    def test_a_collapsed_encoder_is_named(self, toy_view, planted):
        view = toy_view(planted.images, lambda images: torch.ones(len(images), 4), 4)
        with pytest.raises(BenchError, match=r"scored only 2 of 240 .* nearly the same features"):
            PoisonCAM(**QUICK).clean(view)

    def test_nan_features(self, toy_view, planted):
        view = toy_view(planted.images, lambda images: images.mean((2, 3)) * float("nan"), 3)
        with pytest.raises(BenchError, match="features for 240 of 240 images"):
            PoisonCAM(**QUICK).clean(view)
