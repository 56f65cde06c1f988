"""What a plan says a run will take, and from what."""

from __future__ import annotations

import dataclasses

import pytest

from bench import estimate as module
from bench.estimate import Estimator, Pace, Row, duration, measure_pace
from bench.ssl.importing import Checkpoint


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


def test_another_dataset_or_setting_is_not_of_the_same_kind(workshop, smoke, monkeypatch):
    """By hand: training 320 images at 0.5 s; encoding 80 + 80 + 80 at 0.25 s; poisoncam as it says itself."""
    monkeypatch.setattr(module, "measure_pace", lambda pipeline: Pace(training=0.5, encoding=0.25, batch=8))
    for changed in ("dataset.seed=9", "encoder.options.channels=[8, 8, 8, 8]"):
        pipeline = workshop.pipeline(changed, "defense.masks=7", "probe.epochs=6")
        rows = Estimator(pipeline).rows()
        assert (rows[1].seconds, rows[1].basis) == (160.0, "a trial of 8 images")
        assert rows[2].seconds == 60.0
        assert rows[3].seconds == 0.25 * pipeline.config.defense.chooser.forwards(160, 32)
        assert f"{pipeline.config.defense.chooser.forwards(160, 32):,} encoder passes" in rows[3].basis


def test_a_run_that_ends_early_is_estimated_so(workshop, smoke, monkeypatch):
    monkeypatch.setattr(module, "measure_pace", lambda pipeline: Pace(training=0.5, encoding=0.25, batch=8))
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
    monkeypatch.setattr(module, "measure_pace", lambda pipeline: Pace(training=0.5, encoding=0.25, batch=8))
    (tmp_path / "a.pth").write_bytes(b"weights")
    pipeline = workshop.pipeline(store=tmp_path / "store")
    config = dataclasses.replace(pipeline.config, threat_checkpoint=Checkpoint.of(tmp_path / "a.pth"))
    rows = Estimator(dataclasses.replace(pipeline, config=config)).rows()
    assert (rows[1].title, rows[1].seconds) == ("import the encoder", 1.0)
    assert (rows[4].title, rows[4].seconds) == ("train again on what is kept", 160.0)
