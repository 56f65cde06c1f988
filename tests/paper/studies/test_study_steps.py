"""Values by rule from a preset's own."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from bench.errors import BenchError
from bench.paper.studies.catalogue import find
from bench.paper.studies.steps import Base, Epochs, Multiples, Once, Step, Values, setting

LAPTOP = Base(
    values={
        "defense.window": 12,
        "defense.masks": 16,
        "defense.clusters": 32,
        "defense.flip_set": 128,
        "defense.top_k": 10,
        "defense.patch_min": 8,
        "defense.patch_max": 16,
        "attack.rate": 0.9,
    },
    steps=1240,
    epochs=20,
)


def xs(steps):
    return [step.x for step in steps]


def test_multiples_of_the_value_in_force_whole_and_in_range():
    steps = Multiples(option="defense.masks", by=(1 / 16, 1 / 8, 1, 2), least=2).of(LAPTOP)
    assert steps == [
        Step(2, "2", ("defense.masks=2",)),
        Step(16, "16", ()),  # the preset's own run: shared with every other study
        Step(32, "32", ("defense.masks=32",)),
    ]


def test_the_window_study_keeps_the_classifier_as_it_is():
    steps = find("window").steps.of(LAPTOP)
    assert xs(steps) == [8, 10, 12, 14, 16]
    assert steps[0].settings == ("defense.window=8", "defense.patch_min=8", "defense.patch_max=16")
    assert steps[2].settings == ()


def test_the_clusters_study_keeps_flip_set_and_top_k():
    steps = find("clusters").steps.of(LAPTOP)
    assert xs(steps) == [3, 6, 16, 32, 64]
    assert steps[-1].settings == ("defense.clusters=64", "defense.flip_set=128", "defense.top_k=10")


def test_the_paper_gives_the_papers_values():
    paper = Base(
        values={**LAPTOP.values, "defense.window": 60, "defense.clusters": 1000, "attack.rate": 0.5}, steps=10, epochs=1
    )
    assert xs(find("window").steps.of(paper)) == [40, 50, 60, 70, 80]
    assert xs(find("clusters").steps.of(paper)) == [100, 200, 500, 1000, 2000]
    assert find("augmentation").steps.of(paper) == [
        Step(0.5, "rate 0.5", ()),
        Step(1.0, "rate 1", ("attack.rate=1.0",)),
    ]


def test_a_rate_that_cannot_be_doubled_stays_alone():
    assert find("augmentation").steps.of(LAPTOP) == [Step(0.9, "rate 0.9", ())]


def test_values_are_fixed_and_the_presets_own_changes_nothing():
    assert Values(option="defense.top_k", values=(5, 10)).of(LAPTOP) == [
        Step(5, "5", ("defense.top_k=5",)),
        Step(10, "10", ()),
    ]


def test_epochs_stop_the_one_training():
    steps = Epochs(shares=(0.1, 0.5, 1)).of(LAPTOP)
    assert steps == [
        Step(2.0, "2", ("train.max_steps=124",)),
        Step(10.0, "10", ("train.max_steps=620",)),
        Step(20.0, "20", ()),
    ]
    few = Epochs(shares=(0.1, 0.2, 0.3, 1)).of(Base(values={}, steps=4, epochs=2))
    assert [(step.x, step.settings) for step in few] == [(0.5, ("train.max_steps=1",)), (2.0, ())]


def test_an_option_without_a_value_is_named():
    with pytest.raises(BenchError, match=r"changes defense\.masks, which has no value here"):
        Multiples(option="defense.masks", by=(1,)).of(Base(values={}, steps=1, epochs=1))


def test_settings_are_toml():
    assert setting("attack.target_classes", ["a b", 3]) == 'attack.target_classes=["a b", 3]'
    assert Once().of(LAPTOP) == [Step("", "", ())]


@given(now=st.integers(1, 500), by=st.lists(st.floats(0.05, 4), min_size=1, max_size=8))
def test_multiples_rise_and_stay_in_range(now, by):
    base = Base(values={"defense.masks": now}, steps=1, epochs=1)
    found = xs(Multiples(option="defense.masks", by=by, least=2, most=400).of(base))
    assert found == sorted(set(found))
    assert all(2 <= x <= 400 for x in found)
