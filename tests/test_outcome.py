"""The record of a run is computed from what its stages stored."""

from __future__ import annotations

import numpy as np
import pytest

from bench import record
from bench.outcome import build_record
from bench.store import read_arrays


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


def test_poison_counts_by_hand(built):
    """Half of the 40 images of the target class, of 160."""
    assert built["poison"]["count"] == 20
    assert built["poison"]["rate_of_target"] == 50
    assert built["poison"]["rate_of_dataset"] == 12.5


def test_it_can_be_traced(smoke, built):
    pipeline, _ = smoke
    assert built["run"] == {"attack": "htba", "defense": "poisoncam", "preset": "smoke", "seed": 0}
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
