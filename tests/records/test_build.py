"""The record of a run is computed from what its stages stored."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bench.api import Verdict
from bench.data.manifest import Manifest
from bench.pipeline.runner import make_stage
from bench.records import record
from bench.records.build import build_record, record_path
from bench.store import read_arrays, write_arrays


@pytest.fixture(scope="module")
def built(smoke):
    return build_record(smoke[0])


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


def test_poison_and_detection_are_those_of_the_verdict_and_the_manifest(smoke, built):
    """Poisoned are half of the 40 images of the target class, of 160. One trigger is not listed twice."""
    pipeline, _ = smoke
    poison, found = built["poison"], built["metrics"]["detection"]
    assert [poison[name] for name in ("count", "rate_of_target", "rate_of_dataset")] == [20, 50, 12.5]
    assert all("placed" not in trigger for trigger in poison["triggers"])
    removed, poisoned = ~pipeline.verdict.keep, pipeline.train_manifest.poisoned
    assert found["removed"] == removed.sum()
    assert found["recall"] == pytest.approx(100 * (removed & poisoned).sum() / poisoned.sum())
    assert found["precision"] == pytest.approx(100 * (removed & poisoned).sum() / removed.sum())
    assert {"5", "10"} <= built["metrics"]["localisation"].keys()
    assert "per_trigger" not in built["metrics"]
    lost = built["metrics"]["clean_removed"]
    assert list(lost) == list(pipeline.dataset.classes)
    assert sum(lost.values()) == (removed & ~poisoned).sum()


def test_it_can_be_traced(smoke, built):
    pipeline, _ = smoke
    record.validate(built)
    assert record.fingerprint(build_record(pipeline)) == record.fingerprint(built)
    named = {"attack": "htba", "defense": "poisoncam", "preset": "smoke", "seed": 0, "until": "end"}
    asked = {"preset": "smoke", "choices": {}, "settings": [], "seed": 0}
    assert built["run"] == {**named, "control": False, "baseline": False, "asked": asked}
    assert built["config"] == pipeline.config.resolved
    assert built["dataset"]["fingerprint"] == pipeline.dataset.fingerprint
    assert built["dataset"]["counts"] == {"train": 160, "val": 80}
    assert (built["seeds"]["root"], built["seeds"]["pretrain"]) == (0, pipeline.config.seeds.child("pretrain").value)
    stages = built["stages"]
    keys = [stages[name]["key"] for name in ("threat_model", "retraining")]
    assert keys == [pipeline.threat.key, pipeline.retrain.key]
    assert all(stage["peak_memory_mb"] > 10 for stage in stages.values())
    assert stages["threat_model"]["seconds"] > 0


def test_a_run_until_detection_has_all_but_the_second_training(workshop, smoke, built, monkeypatch):
    """Its stages are those of the run to the end, so that one later finds them all."""
    short = workshop.pipeline(until="detection")
    assert [stage.key for stage in short.stages()] == [stage.key for stage in smoke[0].stages()][:4]
    monkeypatch.setattr(type(short), "retrain", None)
    made = build_record(short)
    assert made["run"]["until"] == made["run"]["asked"]["until"] == "detection"
    assert made["metrics"] == {name: part for name, part in built["metrics"].items() if name != "defended"}
    assert made["stages"].keys() == built["stages"].keys() - {"retraining", "defended_probe"}
    assert record_path(short) != record_path(smoke[0])


def test_a_baseline_is_marked_and_with_a_training_change_it_is_none(workshop, monkeypatch):
    from bench.defenses.poisoncam import PoisonCAM

    monkeypatch.setattr(PoisonCAM, "baseline", True, raising=False)
    names = ("poisoncam", "poisoncam+icutmix", "icutmix")
    assert [workshop.pipeline(defense=name).config.defense.baseline for name in names] == [True, False, False]


def test_a_run_in_which_nothing_is_poisoned(poisoned, monkeypatch, tmp_path):
    pipeline = poisoned("htba")
    truth, labels = pipeline.train_manifest, pipeline.dataset.val.labels
    monkeypatch.setitem(pipeline.__dict__, "train_manifest", Manifest(truth.ids, []))
    keep = np.arange(160) >= 40
    verdict = all_judged(pipeline, keep, np.arange(160.0))
    predictions = {"clean": labels, "trigger0": labels, "labels": labels}
    built = outcome(pipeline, monkeypatch, tmp_path, verdict, predictions)
    found = built["metrics"]["detection"]
    assert [found[name] for name in ("removed", "false_removal", "precision", "f1")] == [40, 25, 0, 0]
    names = ("recall", "auroc", "average_precision", "precision_at_p", "recall_at_1")
    assert [found[name] for name in names] == [None] * 5
    assert built["poison"]["triggers"] == [{"target": pipeline.dataset.classes[0], "count": 0, "rate_of_target": 0}]
    assert built["metrics"]["localisation"]["10"] == {"accuracy": 0, "hit": None, "iou": None, "cr": None}


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
def poisoned(workshop, tmp_path, ear):
    """poisoned(attack) -> a pipeline of which only the poison is made."""

    def make(attack):
        pipeline = workshop.pipeline(attack=attack, store=tmp_path / "store")
        make_stage(pipeline.poison, pipeline.store, ear)
        return pipeline

    return make


def test_several_triggers(poisoned, monkeypatch, tmp_path):
    """Targets 0 and 3 of four classes of 40, half of each poisoned, by trigger 0 and 1. All of trigger 0 removed,
    nothing else; trigger 0 fools on all 60 images, trigger 1 on a third of them."""
    pipeline = poisoned("multi-target")
    truth, labels = pipeline.train_manifest, pipeline.dataset.val.labels
    folder = pipeline.folder(pipeline.poison)
    for number, target in enumerate((0, 3)):
        assert (truth.trigger == number).sum() == 20
        assert set(pipeline.dataset.train.labels[truth.trigger == number]) == {target}
        val = Manifest.load(folder / f"val-{number}.jsonl")
        assert (set(val.trigger), set(val.target)) == ({number}, {target})
    one, other = (images.batch([0]) for images in pipeline.triggered_val())
    assert not np.array_equal(one, other)

    keep, third = truth.trigger != 0, np.where(labels == 1, 3, labels)
    verdict = all_judged(pipeline, keep, np.where(keep, 0.0, 1.0))
    predictions = {"clean": labels, "trigger0": np.zeros_like(labels), "trigger1": third, "labels": labels}
    built = outcome(pipeline, monkeypatch, tmp_path, verdict, predictions)
    none = built["metrics"]["none"]
    assert none["poisoned"]["asr"] == pytest.approx((100 + 100 / 3) / 2)
    assert [each["poisoned"]["asr"] for each in none["per_trigger"]] == pytest.approx([100, 100 / 3])
    assert built["metrics"]["detection"]["recall"] == 50
    first, second = built["metrics"]["per_trigger"]
    assert [each["target"] for each in (*none["per_trigger"], first, second)] == [0, 3, 0, 3]
    assert first["detection"] == {"poisoned": 20, "removed": 20, "recall": 100, "auroc": 100}
    assert second["detection"] == {"poisoned": 20, "removed": 0, "recall": 0, "auroc": 50}
    assert first["localisation"]["20"]["accuracy"] == 100
    assert first["localisation"]["20"]["cr"] == built["metrics"]["localisation"]["20"]["cr"] > 0
    assert second["localisation"]["20"] == {"accuracy": 0, "hit": None, "iou": None, "cr": None}
    names = [pipeline.dataset.classes[target] for target in (0, 3)]
    assert [each["target"] for each in built["poison"]["triggers"]] == names


def test_a_defense_that_scores_triggers_and_locates_none_has_its_top_k(poisoned, monkeypatch, tmp_path):
    pipeline = poisoned("htba")
    truth, labels = pipeline.train_manifest, pipeline.dataset.val.labels
    verdict = dataclasses.replace(all_judged(pipeline, ~truth.poisoned, truth.poisoned.astype(float)), boxes=None)
    built = outcome(pipeline, monkeypatch, tmp_path, verdict, {"clean": labels, "trigger0": labels, "labels": labels})
    assert built["metrics"]["localisation"]["10"] == {"accuracy": 100, "hit": None, "iou": None, "cr": None}


def test_a_trigger_without_a_place(poisoned, monkeypatch, tmp_path):
    pipeline = poisoned("ctrl")
    truth, labels = pipeline.train_manifest, pipeline.dataset.val.labels
    verdict = all_judged(pipeline, ~truth.poisoned, truth.poisoned.astype(float))
    predictions = {"clean": labels, "trigger0": labels, "labels": labels}
    built = outcome(pipeline, monkeypatch, tmp_path, verdict, predictions)
    assert built["metrics"]["detection"]["recall"] == built["metrics"]["detection"]["auroc"] == 100
    assert built["metrics"]["localisation"]["10"] == {"accuracy": 100, "hit": None, "iou": None, "cr": None}
    assert built["poison"]["triggers"][0]["placed"] is False
    val = Manifest.load(pipeline.folder(pipeline.poison) / "val-0.jsonl")
    assert [{row.strength for row in each.poisons} for each in (truth, val)] == [{50.0}, {100.0}]
