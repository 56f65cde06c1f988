import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score as sklearn_f1, roc_auc_score

from bench import BenchError, Seeds
from bench.defenses.search import classifier
from bench.defenses.search.classifier import EnsembleScores, TrainingData, build, ensemble, f1_score, split, train
from bench.defenses.search.defaults import scale
from bench.defenses.search.flip_test import cut


def test_the_split_by_hand():
    indices = np.array([7, 50, 3, 90, 21, 60, 99, 5, 8, 77])
    scores = np.array([9, 1, 9, 4, 2, 0, 8, 3, 5, 6])
    parts = split(100, indices, scores, 2, 0.4)
    assert parts.top.tolist() == [3, 7]  # of equals the lower index first
    assert parts.bottom.tolist() == [50, 60]
    assert parts.pool.tolist() == sorted(set(range(100)) - {3, 7, 99, 77, 50, 60})  # the highest 40 %: 3, 7, 99, 77
    parts = split(100, np.arange(10), np.arange(10), 3, 0.0)
    assert parts.pool.tolist() == [3, 4, 5, 6, *range(10, 100)]  # top and bottom are out even if nothing else is


@pytest.mark.parametrize(
    ("count", "scored", "said"),
    [(100, 9, "scored only 9 of 100 images, but top_k=5"), (40, 20, "Only 30 of 40 images are left")],
)
def test_too_few_to_split(count, scored, said):
    with pytest.raises(BenchError, match=said):
        split(count, np.arange(scored), np.arange(scored), 5, 0.1)


@pytest.mark.parametrize("seed", range(5))
def test_f1_agrees_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth, found = rng.random(30) < 0.5, rng.random(30) < 0.5
    assert f1_score(truth, found) == pytest.approx(sklearn_f1(truth, found))
    assert f1_score(np.zeros(3, bool), np.zeros(3, bool)) == 0


class TestNetwork:
    @pytest.mark.parametrize(("size", "parameters"), [(16, 310e3), (32, 310e3), (224, 4.9e6)])
    def test_any_size_gives_one_logit(self, size, parameters):
        network = build(size, 0).eval()
        with torch.no_grad():
            assert network(torch.zeros(1, 3, size, size)).shape == (1, 1)
        assert sum(p.numel() for p in network.parameters()) == pytest.approx(parameters, rel=0.02)
        assert [len(getattr(network, f"layer{i}")) for i in (1, 2, 3, 4)] == [1, 1, 1, 1]

    def test_weights_come_from_the_seed_and_the_global_generator_is_left_alone(self, global_rng):
        one, two, other = (build(32, seed).state_dict()["layer1.0.conv1.weight"] for seed in (1, 1, 2))
        assert torch.equal(one, two)
        assert not torch.equal(one, other)


def _lesson(planted):
    """Three true patches; 10 poisoned and 10 clean images held out."""
    poisoned, clean = np.flatnonzero(planted.poisoned), np.flatnonzero(~planted.poisoned)
    boxes = torch.cat([planted.places[:3], torch.full((3, 2), 6)], dim=1)
    held_out = np.concatenate([poisoned[:10], clean[:10]])
    return TrainingData(
        patches=cut(planted.images[poisoned[:3]], boxes),
        pool=np.setdiff1d(np.arange(240), held_out),
        held_out=planted.images[held_out],
        truth=np.arange(20) < 10,
    )


def training(**changes):
    """Settings of the classifier for the planted images."""
    given = {"patch_min": 3, "patch_max": 5, "margin": 1, "learning_rate": 0.01}
    return scale(16, 240, **{**given, "crops": 1.0, "decoys": 0.0, "batch": 100, **changes})


class TestTraining:
    def test_it_learns_a_planted_patch(self, planted, toy_view):
        settings = training(iterations=100, patch_min=6, patch_max=7, margin=0, learning_rate=0.04, crops=0.0)
        opinion = ensemble(toy_view(planted.images, None, 1), _lesson(planted), settings, 1)
        assert opinion.probability.shape == (240,)
        assert 0 <= opinion.probability.min() <= opinion.probability.max() <= 1
        assert roc_auc_score(planted.poisoned, opinion.probability) > 0.9
        assert [len(history) for history in opinion.f1] == [5]

    def test_killed_between_members_it_ends_the_same(self, planted, toy_view, global_rng):
        short, lesson = training(iterations=3), _lesson(planted)
        whole = ensemble(toy_view(planted.images, None, 1), lesson, short, 2)
        view = toy_view(planted.images, None, 1, stop="classifier-1")
        with pytest.raises(KeyboardInterrupt):
            ensemble(view, lesson, short, 2)
        view.stop = None
        again = ensemble(view, lesson, short, 2)
        np.testing.assert_array_equal(whole.probability, again.probability)
        assert view.computed == ["classifier-0", "classifier-1", "classifier-judgement"]

    def test_the_mean_of_the_logits_decides(self, planted, toy_view, monkeypatch):
        """Logits -3, 0.5 and 1: the mean is -0.5 and its sigmoid 0.3775, though two of three networks say poison.
        Logits -1, -1 and 4: the mean is 2/3, its sigmoid 0.6608; the mean of the probabilities, 0.5066, agrees here,
        and with 8 for 4 (mean 2) it would still be 0.5125."""
        view = toy_view(planted.images[:3], None, 1)
        votes = iter(torch.tensor([[-3, -1, -1], [0.5, -1, -1], [1, 4, 8]]))
        monkeypatch.setattr(classifier, "_logits", lambda network, images: next(votes))
        found = EnsembleScores(classifier.judge(view, [torch.nn.Identity()] * 3, 240), [])
        np.testing.assert_allclose(found.margin, [-0.5, 2 / 3, 2], atol=1e-6)
        np.testing.assert_allclose(found.probability, [0.377541, 0.660756, 0.880797], atol=1e-6)

    def test_the_score_keeps_the_order_of_very_unlikely_images(self):
        margin = np.array([-600.0, -50, -40, 0, 30])
        assert (np.diff(EnsembleScores(margin, []).probability) > 0).all()


class TestEarlyStopping:
    """`f1_score` is replaced by a script; checks come every 2 batches."""

    @pytest.fixture
    def stopped(self, planted, toy_view, monkeypatch):
        monkeypatch.setattr(classifier, "CHECK_EVERY", 2)

        def run(script, iterations):
            values = iter(script)
            monkeypatch.setattr(classifier, "f1_score", lambda truth, found: next(values))
            view = toy_view(planted.images, None, 1)
            found = train(view, _lesson(planted), training(iterations=iterations), Seeds(0), build(view.size, 0), "one")
            return found["f1"].tolist()

        return run

    @pytest.mark.parametrize(
        ("script", "iterations", "checks"),
        [
            ([0.2] * 3 + [0.7] * 20, 60, 13),  # ten equal checks stop it
            ([0.0] * 11, 22, 11),  # flat at 0 goes on
            ([0.1, 0.2, 0.3], 5, 3),  # the last batch is always checked
        ],
    )
    def test_when_it_stops(self, stopped, script, iterations, checks):
        assert stopped(script, iterations) == script[:checks]
