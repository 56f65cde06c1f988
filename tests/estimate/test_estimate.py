"""What a plan says a run will take, and from what."""

from __future__ import annotations

import dataclasses

import pytest

from bench.api import Defense
from bench.defenses.poisoncam import PoisonCAM
from bench.estimate import estimate as module
from bench.estimate.estimate import Estimator, StageEstimate, duration, encoder_passes
from bench.estimate.gpus import Fleet
from bench.estimate.pace import Pace, measure_pace
from bench.matrix.forecast import expected
from bench.ssl.import_weights import Checkpoint


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (172_800, "2 days")],
)
def test_durations_in_words(seconds, text):
    assert duration(seconds) == text


@pytest.fixture
def pace(monkeypatch):
    """Every trial gives this pace: 0.5 s to train on an image, 0.25 s to encode it."""
    monkeypatch.setattr(module, "measure_pace", lambda *_: Pace(0.5, 0.25, "a trial of 8 images"))


def test_a_finished_run_is_measured_and_nothing_is_left(workshop, smoke):
    estimator = Estimator(workshop.pipeline())
    rows = estimator.rows()
    assert [(row.cached, row.basis) for row in rows] == [(True, "measured")] * 6
    assert rows[1].seconds == smoke[0].store.meta("pretrain", smoke[0].threat.key)["seconds"]
    assert estimator.total(rows) == "Everything is in the store: nothing will be computed."


def test_another_seed_takes_as_long_as_the_last(workshop, smoke, monkeypatch):
    monkeypatch.setattr(module, "measure_pace", None)  # no trial may be made
    rows = Estimator(workshop.pipeline(seed=5)).rows()
    assert [row.cached for row in rows] == [False] * 6
    assert {row.basis for row in rows[:4]} == {"an earlier stage of the same kind"}
    found = smoke[0].store
    all_images, kept = (found.meta(stage.name, stage.key) for stage in (smoke[0].threat, smoke[0].retrain))
    assert kept["amount"] < all_images["amount"], "the second training is on fewer images, and is of the same kind"
    ways = {all_images["seconds"], kept["seconds"] * all_images["amount"] / kept["amount"]}
    assert rows[1].seconds in ways, "whichever of the two was finished last"
    assert (rows[4].seconds, rows[5].seconds) == (rows[1].seconds, rows[2].seconds)


@pytest.mark.parametrize("changed", ["dataset.seed=9", "encoder.options.channels=[8, 8, 8, 8]"])
def test_another_dataset_or_setting_is_not_of_the_same_kind(workshop, smoke, pace, changed):
    """By hand: training 320 images at 0.5 s; encoding 80 + 80 + 80 at 0.25 s; poisoncam's passes as it says itself, and
    four for each image of 5 members x 40 batches of 32."""
    pipeline = workshop.pipeline(changed, "defense.masks=7", "probe.epochs=6")
    rows = Estimator(pipeline).rows()
    assert (rows[1].seconds, rows[1].basis) == (160.0, "a trial of 8 images")
    assert rows[2].seconds == 60.0
    passes = pipeline.config.defense.filter.forwards(160, 32) + 4 * 5 * 40 * 32
    assert (rows[3].seconds, rows[3].basis) == (0.25 * passes, f"{passes:,} encoder passes; a trial of 8 images")


def test_what_a_defense_computes_besides_is_added(workshop, pace):
    """By hand: recur encodes 2 x 64 images with each of 33 patches (for kinship, 2 x 160 with one covered), 0.25 s
    each, and takes 0.01 s for each of 160."""
    row = Estimator(workshop.pipeline(defense="recur")).rows()[3]
    assert row.seconds == 0.25 * 4224 + 1.6
    assert row.basis == "4,224 encoder passes, 2 s besides; a trial of 8 images"
    assert Estimator(workshop.pipeline("defense.kinship=true", defense="recur")).rows()[3].seconds == 0.25 * 4544 + 1.6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Silent(Defense):
    """Somebody's defense, which says nothing of its work."""

    name = "silent"
    needs = frozenset({"encoder"})

    def clean(self, view):
        raise AssertionError("it is not asked")


def test_the_passes_of_a_defense():
    """By hand: all images once; members stop between 200 and 400 batches, or cannot stop before the last."""
    assert encoder_passes(Silent(), 160, 32) == 160
    assert PoisonCAM(members=2, iterations=400).trained_on(240, 16) == pytest.approx(2 * 282.8427 * 32, abs=1)
    assert PoisonCAM(members=2, iterations=90).trained_on(240, 16) == 2 * 90 * 32


def test_a_run_that_ends_early_is_estimated_so(workshop, smoke, pace):
    assert Estimator(workshop.pipeline("train.max_steps=2")).rows()[1].seconds == 2 * 32 * 0.5


def test_estimators_that_share_their_paces_make_one_trial(workshop, monkeypatch):
    trials, paces = [], {}
    monkeypatch.setattr(module, "measure_pace", lambda *_: trials.append(1) or Pace(0.5, 0.25, ""))
    for masks in (7, 9):
        Estimator(workshop.pipeline("dataset.seed=9", f"defense.masks={masks}"), paces).rows()
    assert (trials, len(paces)) == ([1], 1)


def test_the_total_adds_up_what_is_left(workshop):
    rows = [
        StageEstimate("a", True, 1000.0, ""),
        StageEstimate("b", False, 60.0, ""),
        StageEstimate("c", False, 20, ""),
    ]
    said = Estimator(workshop.pipeline()).total(rows)
    assert said == "To do: 2 of 3 stages, about 80 s on this machine as it is now."
    assert [row.time for row in rows] == ["17 min", "60 s", "20 s"]


def test_a_trial_measures_this_machine(workshop, monkeypatch):
    monkeypatch.setattr("bench.estimate.pace.TRIAL_PIXELS", 16 * 32 * 32)
    pipeline = workshop.pipeline()
    what = (pipeline.config, pipeline.dataset.train.images, pipeline.machine)
    pace = measure_pace(*what)
    assert pace.basis == "a trial of 16 images"
    assert 0 < pace.encoding < pace.training < 10
    assert measure_pace(*what, training=False).training == 0


def test_an_imported_threat_model_takes_no_training_but_the_second_does(workshop, tmp_path, pace):
    (tmp_path / "a.pth").write_bytes(b"weights")
    pipeline = workshop.pipeline(store=tmp_path / "store")
    config = dataclasses.replace(pipeline.config, threat_checkpoint=Checkpoint.of(tmp_path / "a.pth"))
    rows = Estimator(dataclasses.replace(pipeline, config=config)).rows()
    assert (rows[1].title, rows[1].seconds) == ("import the encoder", 1.0)
    assert (rows[4].title, rows[4].seconds) == ("train again on what is kept", 160.0)


def test_a_repair_is_estimated_by_its_own_length(workshop, tmp_path, pace):
    """By hand: half of 2 epochs of 160 images, at 0.5 s."""
    pipeline = workshop.pipeline("defense.length=0.5", defense="recur+distill", store=tmp_path)
    rows = Estimator(pipeline).rows()
    assert [(rows[n].title, rows[n].seconds) for n in (1, 4)] == [
        ("train on the poisoned images", 160.0),
        ("repair the encoder", 80.0),
    ]
    assert expected(pipeline)[0][0] == "repair the encoder"


def test_on_a_fleet_every_stage_is_estimated_by_its_operations(workshop, smoke, monkeypatch):
    """By hand: 320 images of training at 1e14 operations, two A100 at 0.3 of 312 teraflops; nothing is cached."""
    monkeypatch.setattr("bench.estimate.gpus.count_operations", lambda pipeline: (1e14, 1e13))
    pipeline, speed = workshop.pipeline(), 2 * 312e12 * 0.3
    estimator = Estimator(pipeline, fleet=Fleet("a100", 2))
    rows = estimator.rows()
    assert not any(row.cached for row in rows)
    assert rows[1].seconds == pytest.approx(320 * 1e14 / speed)
    assert rows[2].seconds == pytest.approx(240 * 1e13 / speed)
    assert rows[3].seconds == pytest.approx(encoder_passes(pipeline.config.defense.filter, 160, 32) * 1e13 / speed)
    assert rows[1].basis == "100,000.0 gigaflops to train on an image, 10,000.0 to encode it"
    assert "30% of a100's peak of 312 teraflops, 2 of them" in estimator.total(rows)
