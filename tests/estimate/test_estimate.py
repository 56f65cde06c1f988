"""What a plan says a run will take, and from what."""

from __future__ import annotations

import dataclasses

import pytest

from bench.api import Defense
from bench.estimate import estimate as module
from bench.estimate.estimate import Estimator, Pace, Row, duration, measure_pace
from bench.ssl.import_weights import Checkpoint


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (5399, "90 min"),
        (5400, "1.5 h"),
        (172_799, "48.0 h"),
        (172_800, "2 days"),
        (1_000_000, "12 days"),
    ],
)
def test_durations_in_words(seconds, text):
    assert duration(seconds) == text


def test_a_finished_run_is_measured_and_nothing_is_left(workshop, smoke):
    estimator = Estimator(workshop.pipeline())
    rows = estimator.rows()
    assert [(row.cached, row.basis) for row in rows] == [(True, "measured")] * 6
    assert rows[1].seconds == smoke[0].store.meta("pretrain", smoke[0].threat.key)["seconds"]
    assert estimator.total(rows) == "Everything is in the store: nothing will be computed."


def no_trial(pipeline):
    raise AssertionError("a trial was run")


def test_another_seed_takes_as_long_as_the_last(workshop, smoke, monkeypatch):
    monkeypatch.setattr(module, "measure_pace", no_trial)
    rows = Estimator(workshop.pipeline(seed=5)).rows()
    assert [row.cached for row in rows] == [False] * 6
    assert {row.basis for row in rows[:4]} == {"an earlier stage of the same kind"}
    found = smoke[0].store
    known = {found.meta(stage.name, stage.key)["seconds"] for stage in (smoke[0].threat, smoke[0].retrain)}
    assert rows[1].seconds in known
    assert rows[4].seconds == rows[1].seconds
    assert rows[5].seconds == rows[2].seconds


PASSES = dict.fromkeys(("features", "masking", "flip test"), 0.25)
PRICES = {**PASSES, "k-means": 0.001, "poison classifier": 0.1, "judging": 0.01}


def tried(pipeline):
    return Pace(training=0.5, encoding=0.25, batch=8, probing=0.1, prices=dict(PRICES))


def test_another_dataset_or_setting_is_not_of_the_same_kind(workshop, smoke, monkeypatch):
    """By hand: training 320 images at 0.5 s; encoding 80 + 80 + 80 at 0.25 s and 6 x 3 steps at 0.1 s; poisoncam's
    passes as it says itself, 160 x (10 + 32) of k-means, 5 members x 40 batches, 5 x 160 judgements."""
    monkeypatch.setattr(module, "measure_pace", tried)
    for changed in ("dataset.seed=9", "encoder.options.channels=[8, 8, 8, 8]"):
        pipeline = workshop.pipeline(changed, "defense.masks=7", "probe.epochs=6")
        rows = Estimator(pipeline).rows()
        assert (rows[1].seconds, rows[1].basis) == (160.0, "a trial of 8 images")
        assert rows[2].seconds == pytest.approx(61.8)
        forwards = pipeline.config.defense.filter.forwards(160, 32)
        assert rows[3].seconds == pytest.approx(0.25 * forwards + 6.72 + 20 + 8, abs=0.3)
        parts = "features 50 s, masking 2 min, flip test 13 min, poison classifier 20 s"  # what is 1 % or more
        assert rows[3].basis == f"a trial of each; {parts}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Silent(Defense):
    """Somebody's defense, which says what it encodes and no more."""

    name = "silent"
    needs = frozenset({"encoder"})

    def clean(self, view):
        raise AssertionError("it is not asked")


def test_a_defense_that_tells_no_costs_is_estimated_by_its_passes(workshop, monkeypatch):
    """By hand: 160 images at 0.25 s."""
    monkeypatch.setattr(module, "measure_pace", tried)
    pipeline = workshop.pipeline("dataset.seed=9")
    config = pipeline.config
    silent = dataclasses.replace(config, defense=dataclasses.replace(config.defense, filter=Silent()))
    row = Estimator(dataclasses.replace(pipeline, config=silent)).rows()[3]
    assert (row.seconds, row.basis) == (40.0, "160 encoder passes; a trial of 8 images; nothing else counted")


def test_a_trial_prices_each_cost_once(workshop, monkeypatch):
    monkeypatch.setattr(module, "measure_pace", lambda pipeline: Pace(training=0.5, encoding=0.25, batch=8))
    pipeline, paces = workshop.pipeline("dataset.seed=9"), {}
    first = Estimator(pipeline, paces).rows()[3]
    (pace,) = paces.values()
    assert pace.prices.keys() == PRICES.keys()
    assert all(0 < price < 1 for price in pace.prices.values())
    assert Estimator(pipeline, paces).rows()[3].seconds == first.seconds


def test_a_run_that_ends_early_is_estimated_so(workshop, smoke, monkeypatch):
    monkeypatch.setattr(module, "measure_pace", tried)
    row = Estimator(workshop.pipeline("train.max_steps=2")).rows()[1]
    assert row.seconds == 2 * 32 * 0.5


def test_the_total_adds_up_what_is_left(workshop):
    rows = [
        Row("a", True, 1000.0, ""),
        Row("b", False, 60.0, ""),
        Row("c", False, 20.0, ""),
        Row("d", False, None, ""),
    ]
    assert Estimator(workshop.pipeline()).total(rows) == (
        "To do: 3 of 4 stages, about 80 s on this machine as it is now."
    )
    assert [row.time for row in rows] == ["17 min", "60 s", "20 s", "?"]


def test_a_trial_measures_this_machine(workshop, monkeypatch):
    monkeypatch.setattr(module, "TRIAL_PIXELS", 16 * 32 * 32)
    pace = measure_pace(workshop.pipeline())
    assert pace.batch == 16
    assert 0 < pace.training < 10
    assert 0 < pace.encoding < 10


def test_an_imported_threat_model_takes_no_training_but_the_second_does(workshop, tmp_path, monkeypatch):
    """By hand: training 320 images at 0.5 s."""
    monkeypatch.setattr(module, "measure_pace", tried)
    (tmp_path / "a.pth").write_bytes(b"weights")
    pipeline = workshop.pipeline(store=tmp_path / "store")
    config = dataclasses.replace(pipeline.config, threat_checkpoint=Checkpoint.of(tmp_path / "a.pth"))
    rows = Estimator(dataclasses.replace(pipeline, config=config)).rows()
    assert (rows[1].title, rows[1].seconds) == ("import the encoder", 1.0)
    assert (rows[4].title, rows[4].seconds) == ("train again on what is kept", 160.0)
