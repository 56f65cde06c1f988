"""The record: the schema keeps its promises, errors name the place, the fingerprint is the outcome's."""

from __future__ import annotations

import copy
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
    load,
    only_judges,
    poison_facts,
    save,
    schema,
    validate,
)

FIXTURE = Path(__file__).parents[1] / "fixtures" / "records" / "v4-hit.json"


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


def test_the_schema_is_valid_and_has_every_metric():
    jsonschema.Draft202012Validator.check_schema(schema())
    for part in metrics.PARTS:
        names = [metric.name for metric in metrics.metrics_of(part)]
        assert list(schema()["$defs"][part]["properties"]) == names


ALLOWED = {
    "git": [None],
    "metrics/localisation": [{}],
    "metrics/none/clean/asr": [None],
    "metrics/none/clean/acc": [0, 100],
    "metrics/none/clean/balanced_acc": [51.2],
    "metrics/none/clean/false_positives": [4.5],
    "metrics/localisation/500": [{"accuracy": 1, "iou": None, "cr": 100}],
    "stages/threat_model/peak_memory_mb": [None],
    "created": ["2025-01-31T12:00:00.123Z"],
}


@pytest.mark.parametrize("path", ALLOWED)
def test_what_is_allowed(record, path):
    for value in ALLOWED[path]:
        put(record, path, value)
        validate(record)


REQUIRED = {
    "": "schema_version metric_version bench created config seeds versions hardware stages git run dataset poison",
    "run": "attack defense preset seed",
    "dataset": "name fingerprint classes_sha256 counts image_size skipped",
    "dataset/counts": "train",
    "poison": "count rate_of_target rate_of_dataset targets triggers",
    "seeds": "root",
    "versions": "torch",
    "stages/defense": "key seconds",
    "git": "hash dirty",
    "metrics/detection": "removed precision recall f1 auroc average_precision",
    "metrics/localisation/5": "accuracy iou cr",
    "metrics": "none defended detection localisation",
    **{f"metrics/{who}/{which}": "acc asr" for who in ("none", "defended") for which in ("clean", "poisoned")},
}


@pytest.mark.parametrize("place", REQUIRED)
def test_what_is_required_is_missed_by_name(record, place):
    for name in REQUIRED[place].split():
        made = copy.deepcopy(record)
        inner, last = parent(made, f"{place}/{name}".lstrip("/"))
        del inner[last]
        where = re.escape(place.replace("/", ".") or "the record")
        with pytest.raises(BenchError, match=rf"^record: {where}: '{name}' is a required property"):
            validate(made)


ACC = "metrics/none/clean/acc"


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (ACC, 100.5, r"metrics\.none\.clean\.acc: 100\.5 is greater than the maximum of 100 \(Accuracy, the share"),
        (ACC, -1, r"metrics\.none\.clean\.acc: -1 is less than the minimum of 0"),
        (ACC, "71", r"metrics\.none\.clean\.acc: '71' is not of type 'number', 'null'"),
        (ACC, True, r"metrics\.none\.clean\.acc: True is not of type 'number', 'null'"),
        (ACC, float("nan"), r"metrics\.none\.clean\.acc is nan; expected a finite number"),
        ("metrics/localisation/5/hit", 101, r"hit: 101 is greater than .* 100 \(Share of the poisoned images"),
        ("metrics/detection/removed", 2.5, r"metrics\.detection\.removed: 2\.5 is not of type 'integer'"),
        ("metrics/detection/removed", None, r"metrics\.detection\.removed: None is not of type 'integer'"),
        ("metrics/localisation/05", {}, r"metrics\.localisation: '05' does not match any of the regexes"),
        ("metrics/detektion", {}, r"metrics: .* \('detektion' was unexpected\)\. Did you mean 'detection'"),
        ("run/sede", 1, r"run: .* \('sede' was unexpected\)\. Did you mean 'seed'"),
        ("typo", 1, r"the record: .* \('typo' was unexpected\)"),
        ("stages/defense/cached", True, r"stages\.defense: .* \('cached' was unexpected\)"),
        ("dataset/fingerprint", "xyz", r"fingerprint: 'xyz' does not match .* \(SHA-256 in hex\)"),
        ("run/seed", -1, r"run\.seed: -1 is less than the minimum of 0"),
        ("run/attack", "", r"run\.attack: '' should be non-empty"),
        ("schema_version", 7, r"schema_version: 7 is not one of \[1, 2, 3, 4, 5, 6\] \(2: with a status; 3:"),
        ("run/until", "detection", r"metrics: 'defended' is not one of .* \(of a run until detection\)"),
        ("run/until", "now", r"run\.until: 'now' is not one of \['detection', 'end'\]"),
        ("created", "yesterday", "created: 'yesterday' does not match .*ISO 8601"),
        ("seeds/attack", 0.5, r"seeds\.attack: 0\.5 is not of type 'integer'"),
        ("poison/triggers", ["x"], r"poison\.triggers\[0\]: 'x' is not of type 'object'"),
        ("poison/triggers", ["x", "y"], r"poison\.triggers\[0\]: .* \(and 1 more\)"),
        ("poison/targets", "x" * 999, r"targets: 'x{196}\.\.\."),
        ("config", {"a": {1, 2}}, r"config\.a is a builtins\.set; expected JSON"),
        ("", [], r"the record: \[\] is not of type 'object'"),
    ],
)
def test_what_is_wrong_is_named_with_what_was_expected(record, path, value, complaint):
    if path:
        put(record, path, value)
    with pytest.raises(BenchError, match=complaint):
        validate(record if path else value)


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
    with pytest.raises(BenchError, match=r"metrics\.per_trigger\[0\]\.detection: 'recall' is a required"):
        validate(record)


def test_a_record_comes_back_from_its_file_and_a_bad_one_is_not_written(tmp_path, record):
    path = tmp_path / "sub" / "r.json"
    save(path, record)
    text = path.read_text()
    assert text.endswith("}\n")
    assert list(json.loads(text)) == sorted(record)
    assert load(path) == module.upgraded(record)
    assert fingerprint(load(path)) == fingerprint(record)
    save(path, dict(reversed(record.items())))
    with pytest.raises(BenchError, match="'typo' was unexpected"):
        save(path, {**record, "typo": 1})
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '{"typo": 1}',
            r"r\.json is JSON, but no record: an object with 'typo'; expected a record, the JSON file that",
        ),
        ("[]", r"r\.json is JSON, but no record: a list; expected a record"),
        ("", r"r\.json is empty; expected a record"),
        ('{"run": {}, "metrics": {}}', r"r\.json: the record: "),
        ("NaN", r"cannot read .*r\.json as JSON"),
        (None, r"cannot read .*r\.json as JSON: .*No such file"),
    ],
)
def test_a_bad_record_is_not_read(tmp_path, text, said):
    path = tmp_path / "r.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BenchError, match=said):
        load(path)


def test_a_folder_is_no_record_and_one_in_it_is_named(tmp_path):
    with pytest.raises(BenchError, match=r"is a folder; expected a record, the JSON file that `bench run` writes$"):
        load(tmp_path)
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(BenchError, match=r"writes, as .*r\.json$"):
        load(tmp_path)


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


def poisoned_by(triggers, labels, targets, box=(0, 0, 1, 1)):
    """The facts of images of which `triggers[i]` is the trigger of image i, None where it is clean."""
    named = [(index, trigger) for index, trigger in enumerate(triggers) if trigger is not None]
    rows = [Poison(index=index, trigger=trigger, target=0, box=box, seed=1) for index, trigger in named]
    return poison_facts(Manifest([str(i) for i in range(len(triggers))], rows), np.array(labels), targets, "abc")


def test_poison_is_counted_on_both_bases_and_by_trigger(record):
    """Classes: 4 of a, 4 of b, 2 of c. Trigger 0 (class a) is on 2 of 4, trigger 1 (class c) on 2 of 2."""
    found = poisoned_by([0, 0, *[None] * 6, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1, 2, 2], (0, 2))
    triggers = [{"target": "a", "count": 2, "rate_of_target": 50}, {"target": "c", "count": 2, "rate_of_target": 100}]
    rates = {"count": 4, "rate_of_target": pytest.approx(400 / 6), "rate_of_dataset": 40}
    assert found == {**rates, "targets": ["a", "c"], "triggers": triggers}
    spread = poisoned_by([0, None, 0], [1, 0, 1], (1,), box=None)
    assert spread["triggers"] == [{"target": "b", "count": 2, "rate_of_target": 100, "placed": False}]
    empty = poisoned_by([None] * 2, [0, 0], (1,))
    assert (empty["count"], empty["rate_of_target"], empty["rate_of_dataset"]) == (0, None, 0)
    for facts in (spread, empty):
        validate({**record, "poison": facts})


def test_dataset_facts():
    names = {"name": "folder", "fingerprint": "0" * 64}
    data = {**names, "classes": ("a", "b"), "skipped": ("x.png",), "train": range(3), "val": range(2), "size": 32}
    sizes = {"classes": 2, "counts": {"train": 3, "val": 2}, "image_size": 32, "skipped": 1}
    hashed = hashlib.sha256(b'["a","b"]').hexdigest()
    assert dataset_facts(SimpleNamespace(**data)) == {**names, **sizes, "classes_sha256": hashed}


def test_versions_and_hardware_fit_a_record(record, monkeypatch):
    versions, hardware = module.versions(), module.hardware()
    validate({**record, "versions": versions, "hardware": hardware})
    assert (versions["numpy"], bool(versions["faiss"])) == (np.__version__, True)
    assert hardware["cores"] >= 1
    assert hardware["memory_mb"] > 100
    assert isinstance(hardware["accelerators"], list)
    monkeypatch.setattr(module, "_PACKAGES", ("no-such-library",))
    monkeypatch.setattr(module, "_FAISS", ("nor-this",))
    assert (module.versions()["no-such-library"], module.versions()["faiss"]) == (None, None)


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


def judged(record, **part):
    """The record as of a run of a detector or an encoder test."""
    record["metrics"] = {"none": record["metrics"]["none"], **part}
    record["run"]["until"] = "detection"
    record["stages"] = {n: s for n, s in record["stages"].items() if n not in ("retraining", "defended_probe")}
    return record


def test_a_record_of_a_detector_or_an_encoder_test_has_its_part_and_no_detection(record):
    found = {"clean": 5, "triggered": 5, "auroc": 90.0, "tpr_at_1": None, "tpr_at_5": 20.0}
    validate(judged(record, test_time=found))
    assert only_judges(record)
    validate(judged(record, encoder={"score": -0.1}))
    for wrong, complaint in (
        ({"test_time": {**found, "auroc": 101}}, r"test_time\.auroc: 101 is greater than"),
        ({"test_time": {"clean": 5}}, "'triggered' is a required property"),
        ({"encoder": {"score": None}}, r"encoder\.score: None is not of type 'number'"),
        ({"encoder": {"score": 1}, "test_time": found}, r"record: metrics: \{'none'"),
        ({"encoder": {"score": 1}, "detection": {}}, r"'detection' is not one of"),
        ({}, "'detection' is a required property"),
    ):
        with pytest.raises(BenchError, match=complaint):
            validate(judged(record, **wrong))
