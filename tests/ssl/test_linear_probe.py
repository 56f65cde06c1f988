"""The linear probe: whom it learns from, what it can separate, and that it is always the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bench.errors import BenchError
from bench.seeds import Seeds
from bench.ssl.linear_probe import fit, labelled_subset
from bench.ssl.settings import ProbeSettings

SEEDS = Seeds(0)
QUICK = ProbeSettings(epochs=10, batch=16)


def clouds(count=90, classes=3, spread=0.1, seed=0):
    """L2-normalised points around one axis for each class: (count, 8) float32, and their labels."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % classes
    points = np.eye(8)[labels] + spread * draw.normal(size=(count, 8))
    return F.normalize(torch.from_numpy(points).float(), dim=1), labels


def test_labelled_subset_takes_a_share_of_each_class():
    """Of 10, 25 and 3 images at 10 %: 1, 2 (of 2.5, to the even number) and at least 1."""
    labels = np.repeat([0, 1, 2], [10, 25, 3])
    chosen = labelled_subset(labels, 0.1, SEEDS)
    assert np.bincount(labels[chosen]).tolist() == [1, 2, 1]
    assert (np.diff(chosen) > 0).all()
    assert chosen.dtype == np.int64
    assert labelled_subset(labels, 1.0, SEEDS).tolist() == list(range(38))


def test_labelled_subset_follows_from_the_seed_and_its_own_class():
    labels = np.arange(200) % 4
    chosen = labelled_subset(labels, 0.2, SEEDS)
    assert chosen.tolist() == labelled_subset(labels, 0.2, SEEDS).tolist()
    assert chosen.tolist() != labelled_subset(labels, 0.2, Seeds(1)).tolist()
    without = np.where(labels == 3, 7, labels)  # another class 3 changes nothing for the rest
    rest = labelled_subset(without, 0.2, SEEDS)
    assert chosen[labels[chosen] < 3].tolist() == rest[labels[rest] < 3].tolist()


def test_separable_features_are_separated():
    features, labels = clouds()
    probe = fit(features, labels, 3, QUICK, SEEDS)
    unseen, truth = clouds(seed=1)
    found = probe.predict(unseen)
    assert found.dtype == np.int64
    assert (found == truth).mean() == 1.0


def test_labels_that_have_nothing_to_do_with_the_features_are_not_learnt():
    features, _ = clouds(count=300)
    labels = np.random.default_rng(3).integers(0, 3, 300)
    unseen, _ = clouds(count=300, seed=1)
    found = fit(features, labels, 3, QUICK, SEEDS).predict(unseen)
    assert (found == np.random.default_rng(4).integers(0, 3, 300)).mean() < 0.5


@pytest.mark.usefixtures("global_rng")
def test_the_same_seed_gives_the_same_probe():
    features, labels = clouds(spread=0.6)
    weights = [fit(features, labels, 3, QUICK, Seeds(seed)).linear.weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not weights[0].requires_grad
    probe = fit(features, labels, 3, QUICK, SEEDS)
    torch.testing.assert_close(probe.mean, features.mean(0))
    torch.testing.assert_close(probe.std, features.std(0), atol=2e-6, rtol=0)


def test_a_unit_that_is_silent_in_training_has_no_say():
    """The reason for starting at zero: standardising blows such a unit up a million times."""
    features, labels = clouds()
    silent = torch.cat([features, torch.zeros(len(features), 1)], 1)
    probe = fit(silent, labels, 3, QUICK, SEEDS)
    assert (probe.linear.weight[:, 8] == 0).all()
    loud = silent.clone()
    loud[:, 8] = 1.0
    assert (probe.predict(loud) == probe.predict(silent)).all()


def test_the_rate_falls_at_three_and_six_eighths(monkeypatch):
    seen = []
    step = torch.optim.SGD.step
    monkeypatch.setattr(
        torch.optim.SGD, "step", lambda self, *a, **k: (seen.append(self.param_groups[0]["lr"]), step(self, *a, **k))[1]
    )
    features, labels = clouds(count=16)
    fit(features, labels, 3, ProbeSettings(epochs=8, batch=16, lr=0.01), SEEDS)
    assert seen == pytest.approx([0.01] * 3 + [0.001] * 3 + [0.0001] * 2)


@pytest.mark.parametrize("bad", [{"fraction": 0.0}, {"fraction": 1.5}, {"epochs": 0}, {"batch": 0}, {"lr": 0.0}])
def test_settings_out_of_range_and_one_class_alone(bad):
    with pytest.raises(ValueError, match="probe"):
        ProbeSettings(**bad)
    with pytest.raises(BenchError, match="two or more classes"):
        fit(clouds()[0], np.zeros(90, np.int64), 3, QUICK, SEEDS)
