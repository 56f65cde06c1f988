"""The linear probe: whom it learns from, what it can separate, and that it is always the same."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn

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
def test_the_seed_decides_and_no_other_generator():
    features, labels = clouds(spread=0.6)
    zero, one = (fit(features, labels, 3, QUICK, Seeds(seed)).linear.weight for seed in (0, 1))
    assert not torch.equal(zero, one)
    assert not zero.requires_grad


def test_a_unit_that_is_silent_in_training_has_no_say():
    """The reason for starting at zero: standardising blows such a unit up a million times."""
    features, labels = clouds()
    silent = torch.cat([features, torch.zeros(len(features), 1)], 1)
    probe = fit(silent, labels, 3, QUICK, SEEDS)
    assert (probe.linear.weight[:, 8] == 0).all()
    loud = silent.clone()
    loud[:, 8] = 1.0
    assert (probe.predict(loud) == probe.predict(silent)).all()


def whole_fit(features, labels, classes, settings, seeds):
    """The probe with all features standardised at once: its weight."""
    inputs = (features - features.mean(0)) / (features.std(0) + 1e-6)
    linear = nn.utils.skip_init(nn.Linear, features.shape[1], classes)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    optimiser = torch.optim.SGD(linear.parameters(), settings.lr, momentum=0.9, weight_decay=settings.weight_decay)
    decay = torch.optim.lr_scheduler.MultiStepLR(optimiser, [settings.epochs * 3 // 8, settings.epochs * 6 // 8])
    for epoch in range(settings.epochs):
        order = torch.from_numpy(seeds.child("order", epoch).numpy().permutation(len(inputs)))
        for rows in order.split(settings.batch):
            optimiser.zero_grad()
            F.cross_entropy(linear(inputs[rows]), torch.from_numpy(labels)[rows]).backward()
            optimiser.step()
        decay.step()
    return linear.weight


@settings(deadline=None, max_examples=15)
@given(st.integers(4, 60), st.integers(1, 16), st.integers(0, 99))
def test_the_probe_is_that_of_features_standardised_at_once(count, batch, seed):
    points = torch.rand((count, 7), generator=Seeds(seed).torch())
    features, labels = F.normalize(points, dim=1), np.arange(count) % 3
    chosen = ProbeSettings(epochs=8, batch=batch)
    found = fit(features, labels, 3, chosen, Seeds(seed))
    assert torch.equal(found.linear.weight, whole_fit(features, labels, 3, chosen, Seeds(seed)))
    whole = found.linear((features - found.mean) / found.std).argmax(1)
    assert np.array_equal(found.predict(features), whole.numpy())


@pytest.mark.parametrize(("epochs", "rates"), [(1, [1]), (2, [1, 0.1]), (3, [1, 0.1, 0.01]), (8, [1] * 3 + [0.1] * 3)])
def test_the_rate_falls_after_three_and_six_eighths_of_the_epochs_and_never_before_the_first(
    monkeypatch, epochs, rates
):
    used = []
    step = torch.optim.SGD.step
    monkeypatch.setattr(
        torch.optim.SGD, "step", lambda self, *a: (used.append(self.param_groups[0]["lr"]), step(self, *a))[1]
    )
    points = F.normalize(torch.rand((6, 3), generator=Seeds(0).torch()), dim=1)
    fit(points, np.arange(6) % 2, 2, ProbeSettings(epochs=epochs, batch=6, lr=1.0), Seeds(0))
    assert used[: len(rates)] == pytest.approx(rates)


@pytest.mark.parametrize("bad", [{"fraction": 0.0}, {"fraction": 1.5}, {"epochs": 0}, {"batch": 0}, {"lr": 0.0}])
def test_settings_out_of_range_and_one_class_alone(bad):
    with pytest.raises(ValueError, match="probe"):
        ProbeSettings(**bad)
    with pytest.raises(BenchError, match="two or more classes"):
        fit(clouds()[0], np.zeros(90, np.int64), 3, QUICK, SEEDS)
