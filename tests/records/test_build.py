"""The record of a run is computed from what its stages stored."""

from __future__ import annotations

import numpy as np
import pytest

from bench.api import Verdict
from bench.data.manifest import Manifest
from bench.pipeline.runner import make_stage
from bench.records import record
from bench.records.build import build_record
from bench.store import read_arrays, write_arrays


@pytest.fixture(scope="module")
def built(smoke):
    return build_record(smoke[0])


def test_it_keeps_the_schema(built):
    record.validate(built)


def test_rates_are_those_of_the_stored_predictions(smoke, built):
    pipeline, _ = smoke
    for which, probe in (("none", pipeline.threat_probe), ("defended", pipeline.defended_probe)):
        found = read_arrays(pipeline.folder(probe) / "predictions.npz")
        labels, others = found["labels"], found["labels"] != 0
        np.testing.assert_array_equal(labels, pipeline.dataset.val.labels)
        for split, predicted in (("clean", found["clean"]), ("poisoned", found["trigger0"])):
            rates = built["metrics"][which][split]
            assert rates["acc"] == pytest.approx(100 * (predicted == labels).mean())
            assert rates["asr"] == pytest.approx(100 * (predicted[others] == 0).mean())


def test_detection_is_that_of_the_verdict_against_the_manifest(smoke, built):
    pipeline, _ = smoke
    removed, poisoned = ~pipeline.verdict.keep, pipeline.train_manifest.poisoned
    found = built["metrics"]["detection"]
    assert found["removed"] == removed.sum()
    assert found["recall"] == pytest.approx(100 * (removed & poisoned).sum() / poisoned.sum())
    assert found["precision"] == pytest.approx(100 * (removed & poisoned).sum() / removed.sum())
    assert {"5", "10"} <= built["metrics"]["localisation"].keys()
    lost = built["metrics"]["clean_removed"]
    assert list(lost) == list(pipeline.dataset.classes)
    assert sum(lost.values()) == (removed & ~poisoned).sum()


def test_poison_counts_by_hand(built):
    """Half of the 40 images of the target class, of 160."""
    assert built["poison"]["count"] == 20
    assert built["poison"]["rate_of_target"] == 50
    assert built["poison"]["rate_of_dataset"] == 12.5


def test_it_can_be_traced(smoke, built):
    pipeline, _ = smoke
    named = {"attack": "htba", "defense": "poisoncam", "preset": "smoke", "seed": 0, "control": False}
    asked = {"preset": "smoke", "choices": {}, "settings": [], "seed": 0}
    assert built["run"] == {**named, "asked": asked}
    assert built["config"] == pipeline.config.resolved
    assert built["dataset"]["fingerprint"] == pipeline.dataset.fingerprint
    assert built["dataset"]["counts"] == {"train": 160, "val": 80}
    assert built["seeds"]["root"] == 0
    assert built["seeds"]["pretrain"] == pipeline.config.seeds.child("pretrain").value
    assert built["stages"]["threat_model"]["key"] == pipeline.threat.key
    assert built["stages"]["retraining"]["key"] == pipeline.retrain.key
    assert all(stage["peak_memory_mb"] > 10 for stage in built["stages"].values())
    assert built["stages"]["threat_model"]["seconds"] > 0


def test_building_it_twice_gives_the_same_fingerprint(smoke, built):
    assert record.fingerprint(build_record(smoke[0])) == record.fingerprint(built)


def test_one_trigger_is_not_told_of_twice(built):
    assert "per_trigger" not in built["metrics"]
    assert all("placed" not in trigger for trigger in built["poison"]["triggers"])


def outcome(pipeline, monkeypatch, tmp_path, verdict, predictions):
    """The record of a pipeline of which only the poison is made: the rest is given."""
    write_arrays(tmp_path / "given" / "predictions.npz", predictions)
    folder = lambda stage: tmp_path / "given" if stage.name == "probe" else type(pipeline).folder(pipeline, stage)  # noqa: E731
    object.__setattr__(pipeline, "folder", folder)
    monkeypatch.setitem(pipeline.__dict__, "verdict", verdict)
    monkeypatch.setitem(pipeline.__dict__, "retrain", pipeline.threat)
    return build_record(pipeline)


def all_judged(pipeline, keep, scores):
    """A verdict that finds the upper left quarter of each image."""
    size = pipeline.dataset.size // 2
    boxes = np.tile([0, 0, size, size], (len(keep), 1))
    return Verdict(keep=keep, score=scores, trigger_score=scores, boxes=boxes)


@pytest.fixture
def two_targets(workshop, tmp_path, ear):
    """Targets 0 and 3 of four classes of 40, half of each poisoned: images of classes 0 and 3 by trigger 0 and 1."""
    pipeline = workshop.pipeline(attack="multi-target", store=tmp_path / "store")
    make_stage(pipeline.poison, pipeline.store, ear)
    return pipeline


def test_several_triggers_in_manifests(two_targets):
    truth, labels = two_targets.train_manifest, two_targets.dataset.train.labels
    assert [(truth.trigger == number).sum() for number in (0, 1)] == [20, 20]
    assert set(labels[truth.trigger == 0]) == {0}
    assert set(labels[truth.trigger == 1]) == {3}
    folder = two_targets.folder(two_targets.poison)
    for number, target in enumerate((0, 3)):
        val = Manifest.load(folder / f"val-{number}.jsonl")
        assert set(val.trigger) == {number}
        assert set(val.target) == {target}
    first, second = (images.batch([0]) for images in two_targets.triggered_val())
    assert not np.array_equal(first, second)


def test_several_triggers_in_the_record(two_targets, monkeypatch, tmp_path):
    """All of trigger 0 removed, nothing else; trigger 0 fools on all 60 images, trigger 1 on a third of them."""
    truth, labels = two_targets.train_manifest, two_targets.dataset.val.labels
    keep = truth.trigger != 0
    verdict = all_judged(two_targets, keep, np.where(keep, 0.0, 1.0))
    third = np.where(labels == 1, 3, labels)
    predictions = {"clean": labels, "trigger0": np.zeros_like(labels), "trigger1": third, "labels": labels}
    built = outcome(two_targets, monkeypatch, tmp_path, verdict, predictions)
    none = built["metrics"]["none"]
    assert none["poisoned"]["asr"] == pytest.approx((100 + 100 / 3) / 2)
    assert [each["poisoned"]["asr"] for each in none["per_trigger"]] == pytest.approx([100, 100 / 3])
    assert [each["target"] for each in none["per_trigger"]] == [0, 3]
    assert built["metrics"]["detection"]["recall"] == 50
    first, second = built["metrics"]["per_trigger"]
    assert (first["target"], second["target"]) == (0, 3)
    assert first["detection"] == {"poisoned": 20, "removed": 20, "recall": 100, "auroc": 100}
    assert second["detection"] == {"poisoned": 20, "removed": 0, "recall": 0, "auroc": 50}
    assert first["localisation"]["20"]["accuracy"] == 100
    assert first["localisation"]["20"]["cr"] == built["metrics"]["localisation"]["20"]["cr"] > 0
    assert second["localisation"]["20"] == {"accuracy": 0, "hit": None, "iou": None, "cr": None}
    assert [each["target"] for each in built["poison"]["triggers"]] == [
        two_targets.dataset.classes[target] for target in (0, 3)
    ]


def test_a_trigger_without_a_place_in_the_record(workshop, monkeypatch, tmp_path, ear):
    pipeline = workshop.pipeline(attack="ctrl", store=tmp_path / "store")
    make_stage(pipeline.poison, pipeline.store, ear)
    poisoned, labels = pipeline.train_manifest.poisoned, pipeline.dataset.val.labels
    verdict = all_judged(pipeline, ~poisoned, poisoned.astype(float))
    predictions = {"clean": labels, "trigger0": labels, "labels": labels}
    built = outcome(pipeline, monkeypatch, tmp_path, verdict, predictions)
    assert built["metrics"]["detection"]["recall"] == built["metrics"]["detection"]["auroc"] == 100
    assert built["metrics"]["localisation"]["10"] == {"accuracy": 100, "hit": None, "iou": None, "cr": None}
    assert built["poison"]["triggers"][0]["placed"] is False
    strengths = {row.strength for row in pipeline.train_manifest.poisons}
    assert strengths == {50.0}
    val = Manifest.load(pipeline.folder(pipeline.poison) / "val-0.jsonl")
    assert {row.strength for row in val.poisons} == {100.0}
