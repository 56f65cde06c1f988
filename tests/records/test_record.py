"""The record: the schema keeps its promises, errors name the place, the fingerprint is the outcome's."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest

from bench.api import Poison
from bench.data.manifest import Manifest
from bench.errors import BenchError
from bench.records import metrics, record as module
from bench.records.record import (
    dataset_facts,
    fingerprint,
    git_state,
    hardware,
    load,
    poison_facts,
    save,
    schema,
    validate,
    versions,
)

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "tests" / "fixtures" / "records" / "v4-hit.json"


@pytest.fixture
def record():
    return json.loads(FIXTURE.read_text())


def parent(record, path):
    *parents, last = path.split("/")
    for name in parents:
        record = record[int(name) if isinstance(record, list) else name]
    return record, last


def put(record, path, value):
    inner, last = parent(record, path)
    inner[last] = value


# --- the schema -------------------------------------------------------------------------------------------


def test_the_schema_is_valid_and_has_every_metric():
    jsonschema.Draft202012Validator.check_schema(schema())
    for part in metrics.PARTS:
        names = [metric.name for metric in metrics.metrics_of(part)]
        assert list(schema()["$defs"][part]["properties"]) == names


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("git", None),
        ("metrics/localisation", {}),
        ("metrics/none/clean/asr", None),
        ("metrics/none/clean/acc", 0),
        ("metrics/none/clean/acc", 100),
        ("metrics/none/clean/balanced_acc", 51.2),
        ("metrics/none/clean/false_positives", 4.5),
        ("metrics/localisation/500", {"accuracy": 1, "iou": None, "cr": 100}),
        ("stages/threat_model/peak_memory_mb", None),
        ("created", "2025-01-31T12:00:00.123Z"),
    ],
)
def test_what_is_allowed(record, path, value):
    put(record, path, value)
    validate(record)


REQUIRED = [
    *[f"metrics/{who}/{which}/{rate}"
      for who in ("none", "defended") for which in ("clean", "poisoned") for rate in ("acc", "asr")],
    *[f"metrics/detection/{m}"
      for m in ("removed", "precision", "recall", "f1", "auroc", "average_precision")],
    *[f"metrics/localisation/5/{m}" for m in ("accuracy", "iou", "cr")],
    "schema_version", "metric_version", "bench", "created", "config", "seeds", "versions", "hardware",
    "stages",
    "git", "run/attack", "run/defense", "run/preset", "run/seed", "dataset/name", "dataset/fingerprint",
    "dataset/classes_sha256", "dataset/counts", "dataset/counts/train", "dataset/image_size",
    "dataset/skipped",
    "poison/count", "poison/rate_of_target", "poison/rate_of_dataset", "poison/targets", "poison/triggers",
    "seeds/root", "versions/torch", "stages/defense/key", "stages/defense/seconds", "git/hash", "git/dirty",
]  # fmt: skip


@pytest.mark.parametrize("path", REQUIRED)
def test_what_is_required_is_missed_by_name(record, path):
    inner, last = parent(record, path)
    del inner[last]
    place = re.escape(path.replace("/", ".").removesuffix(last).rstrip(".") or "the record")
    with pytest.raises(BenchError, match=rf"^record: {place} is without {last}$"):
        validate(record)


ACC = "metrics/none/clean/acc"


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (ACC, 100.5, r"metrics\.none\.clean\.acc is 100\.5; expected at most 100"),
        (ACC, -1, r"metrics\.none\.clean\.acc is -1; expected at least 0"),
        (ACC, "71", r'metrics\.none\.clean\.acc is "71"; expected number or null'),
        (ACC, True, r"metrics\.none\.clean\.acc is true; expected number or null"),
        (ACC, float("nan"), r"metrics\.none\.clean\.acc is nan; expected a finite number"),
        ("metrics/localisation/5/hit", 101, r"hit is 101; expected at most 100 \(Share of the poisoned images"),
        ("metrics/detection/removed", 2.5, r"metrics\.detection\.removed is 2\.5; expected integer"),
        ("metrics/detection/removed", None, r"metrics\.detection\.removed is null; expected integer"),
        ("metrics/localisation/05", {}, r"metrics\.localisation has the unknown key '05'"),
        ("metrics/detektion", {}, r"metrics has the unknown key 'detektion'\. Did you mean 'detection'"),
        ("run/sede", 1, r"run has the unknown key 'sede'\. Did you mean 'seed'"),
        ("typo", 1, "the record has the unknown key 'typo'"),
        ("stages/defense/cached", True, r"stages\.defense has the unknown key 'cached'"),
        ("dataset/fingerprint", "xyz", r'fingerprint is "xyz"; expected text like .* \(SHA-256 in hex\)'),
        ("run/seed", -1, r"run\.seed is -1; expected at least 0"),
        ("run/attack", "", r'run\.attack is ""; expected a length of at least 1'),
        ("schema_version", 5, r"schema_version is 5; expected one of \[1, 2, 3, 4\] \(2: with a status; 3:"),
        ("created", "yesterday", 'created is "yesterday"; expected text like .*ISO 8601'),
        ("seeds/attack", 0.5, r"seeds\.attack is 0\.5; expected integer"),
        ("poison/triggers", ["x"], r'poison\.triggers\[0\] is "x"; expected object'),
        ("config", {"a": {1, 2}}, r"config\.a is a builtins\.set; expected JSON"),
    ],
)
def test_what_is_wrong_is_named_with_what_was_expected(record, path, value, complaint):
    put(record, path, value)
    with pytest.raises(BenchError, match=complaint):
        validate(record)


def test_something_else_is_no_record_and_more_errors_are_counted(record):
    with pytest.raises(BenchError, match=r"the record is \[\]; expected object"):
        validate([])
    record["run"]["seed"] = -1
    put(record, ACC, 200)
    with pytest.raises(BenchError, match=r"run\.seed is -1; expected at least 0 \(and 1 more\)"):
        validate(record)


def test_what_the_metrics_give_fits_the_schema(record):
    labels, poisoned = np.array([0, 1, 2, 1]), np.array([1, 0, 0, 1], bool)
    boxes, score = np.array([[0, 0, 2, 2]] * 4), np.array([4.0, 3, 2, 1])
    record["metrics"] = {
        "none": metrics.classification(labels, np.stack([labels, labels]), labels, [0, 1]),
        "defended": metrics.classification(labels, labels, labels, 2),
        "detection": metrics.detection(poisoned, ~poisoned, None),
        "localisation": metrics.localisation(poisoned, boxes, score, boxes, ks=(1, 2)),
        "per_trigger": metrics.of_each_trigger(
            np.where(poisoned, 1, -1), (2, 0), np.full((4, 4), -1), ~poisoned, score, score, boxes
        ),
    }
    validate(record)
    del record["metrics"]["per_trigger"][0]["detection"]["recall"]
    with pytest.raises(BenchError, match=r"metrics\.per_trigger\[0\]\.detection is without recall"):
        validate(record)


def test_the_records_of_the_leaderboard_stay_valid():
    files = sorted((ROOT / "leaderboards" / "records").glob("*.json"))
    assert files
    for file in files:
        load(file)


# --- files and fingerprints -------------------------------------------------------------------------------


def test_a_record_comes_back_from_its_file(tmp_path, record):
    path = tmp_path / "sub" / "r.json"
    save(path, record)
    text = path.read_text()
    assert text.endswith("}\n")
    assert list(json.loads(text)) == sorted(record)
    assert load(path) == record
    assert fingerprint(load(path)) == fingerprint(record)
    save(path, dict(reversed(record.items())))
    assert path.read_text() == text


def test_a_bad_record_is_not_written_and_not_read(tmp_path, record):
    path, bad = tmp_path / "r.json", {**record, "typo": 1}
    save(path, record)
    with pytest.raises(BenchError, match="unknown key 'typo'"):
        save(path, bad)
    assert load(path) == record
    path.write_text(json.dumps(bad))
    with pytest.raises(BenchError, match=r"r\.json: the record has the unknown key 'typo'"):
        load(path)
    path.write_text("NaN")
    with pytest.raises(BenchError, match=r"cannot read .*r\.json as JSON"):
        load(path)
    with pytest.raises(BenchError, match=r"cannot read .*none\.json as JSON: .*No such file"):
        load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("path", "value", "same"),
    [
        ("created", "2026-01-01T00:00:00Z", True),
        ("hardware", {"cores": 64}, True),
        ("versions/torch", "9.9", True),
        ("stages/defense/seconds", 99, True),
        ("stages/defense/peak_memory_mb", None, True),
        ("metrics/defended/poisoned/asr", 3.0001, False),
        ("run/seed", 1, False),
        ("stages/defense/key", "e" * 64, False),
        ("config/attack/rate", 1.0, False),
        ("poison/count", 251, False),
        ("dataset/fingerprint", "0" * 64, False),
    ],
)
def test_outcomes_change_the_fingerprint_times_and_machines_do_not(record, path, value, same):
    text = json.dumps(record)
    before = fingerprint(record)
    assert re.fullmatch("[0-9a-f]{64}", before)
    assert json.dumps(record) == text, "the record itself is left alone"
    put(record, path, value)
    assert (fingerprint(record) == before) == same


# --- facts ------------------------------------------------------------------------------------------------


def manifest(triggers, box=(0, 0, 1, 1)):
    """`triggers[i]` is the trigger of image i, None where it is clean."""
    named = [(index, trigger) for index, trigger in enumerate(triggers) if trigger is not None]
    rows = [Poison(index=index, trigger=trigger, target=0, box=box, seed=1) for index, trigger in named]
    return Manifest([str(index) for index in range(len(triggers))], rows)


def test_poison_is_counted_on_both_bases_and_by_trigger():
    """Classes: 4 of 0, 4 of 1, 2 of 2. Trigger 0 (class 0) is on 2 of 4, trigger 1 (class 2) on 2 of 2."""
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
    found = poison_facts(manifest([0, 0, None, None, None, None, None, None, 1, 1]), labels, (0, 2), ("a", "b", "c"))
    assert found == {
        "count": 4,
        "rate_of_target": pytest.approx(400 / 6),
        "rate_of_dataset": 40,
        "targets": ["a", "c"],
        "triggers": [
            {"target": "a", "count": 2, "rate_of_target": 50},
            {"target": "c", "count": 2, "rate_of_target": 100},
        ],
    }


def test_poison_facts_at_no_one_place_and_of_an_empty_class(record):
    found = poison_facts(manifest([0, None, 0], box=None), np.array([1, 0, 1]), (1,), ("a", "b"))
    assert found["triggers"] == [{"target": "b", "count": 2, "rate_of_target": 100, "placed": False}]
    validate({**record, "poison": found})
    found = poison_facts(manifest([None] * 2), np.array([0, 0]), (1,), ("a", "b"))
    assert (found["count"], found["rate_of_target"], found["rate_of_dataset"]) == (0, None, 0)
    validate({**record, "poison": found})


def test_dataset_facts():
    names = {"name": "folder", "classes": ("a", "b"), "fingerprint": "0" * 64, "skipped": ("x.png",)}
    found = dataset_facts(SimpleNamespace(**names, train=range(3), val=range(2), size=32))
    assert found.pop("classes_sha256") == hashlib.sha256(b'["a","b"]').hexdigest()
    assert found == {
        "name": "folder",
        "fingerprint": "0" * 64,
        "classes": 2,
        "counts": {"train": 3, "val": 2},
        "image_size": 32,
        "skipped": 1,
    }


def test_versions_and_hardware_fit_a_record(record, monkeypatch):
    record["versions"], record["hardware"] = versions(), hardware()
    validate(record)
    assert record["versions"]["numpy"] == np.__version__
    assert record["versions"]["faiss"]
    assert record["hardware"]["cores"] >= 1
    assert record["hardware"]["memory_mb"] > 100
    assert isinstance(record["hardware"]["accelerators"], list)
    monkeypatch.setattr(module, "_PACKAGES", ("no-such-library",))
    monkeypatch.setattr(module, "_FAISS", ("nor-this",))
    assert (versions()["no-such-library"], versions()["faiss"]) == (None, None)


# --- git --------------------------------------------------------------------------------------------------


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    for name in ("bench", "leaderboards"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.py").write_text("1")
    git(tmp_path, "init", "-q")
    return tmp_path


def test_git_state_of_a_checkout(checkout, record, monkeypatch):
    package = checkout / "bench"
    assert git_state(package) is None, "nothing is tracked yet"
    git(checkout, "add", ".")
    assert git_state(package) is None, "no commit yet"
    git(checkout, "commit", "-qm", "x")
    state = git_state(package)
    assert re.fullmatch("[0-9a-f]{40,64}", state["hash"])
    assert state["dirty"] is False
    (checkout / "new-record.json").write_text("{}")
    assert git_state(package) == state, "untracked files are no change"
    (checkout / "leaderboards" / "record.py").write_text("2")
    assert git_state(package) == state, "nor are results, which a matrix writes while it runs"
    (package / "record.py").write_text("2")
    assert git_state(package) == {**state, "dirty": True}
    validate({**record, "git": git_state(package)})
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert git_state(package) == {**state, "dirty": True}, "the caller's variables do not count"
    installed = checkout / ".venv" / "bench"
    installed.mkdir(parents=True)
    (installed / "record.py").write_text("1")
    assert git_state(installed) is None, "a package installed inside somebody else's repository"


def test_without_git_there_is_no_git_state(tmp_path, monkeypatch):
    assert git_state(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(Path(module.__file__).parent) is None
