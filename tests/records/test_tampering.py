"""Whoever changes a number, a prediction, a bit of the mask or a row of the truth, and seals the file again, is found
out, or has changed nothing that any metric reads."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from bench.api import Poison, Verdict
from bench.data.manifest import Manifest
from bench.records import submission
from bench.records.inputs import Evidence, Predictions, scores
from bench.records.record import validate
from bench.records.verify import faults, numbers
from bench.seeds import Seeds
from bench.store import digest

FIXTURE = Path(__file__).parents[1] / "fixtures" / "records" / "v4-hit.json"
CLASSES, TARGETS, TRAIN, VAL, SIZE = ("owl", "fox", "elk", "emu"), (0, 2), 32, 12, 16
DRAW = np.random.default_rng(5)
ONCE = settings(deadline=None, max_examples=60)


def poison(index, trigger):
    return Poison(index=index, trigger=trigger, target=TARGETS[trigger], box=(index % 8, 3, 4, 4), seed=index)


def predictions():
    return Predictions(clean=DRAW.integers(0, 4, VAL), triggered=np.stack([DRAW.integers(0, 4, VAL) for _ in TARGETS]))


TRUE = Evidence(  # images 0, 1, 4, 5 carry trigger 0 (target 0), images 2, 3, 6, 7 trigger 1 (target 2)
    classes=CLASSES,
    targets=TARGETS,
    manifest=Manifest([f"{i}.png" for i in range(TRAIN)], [poison(index, index // 2 % 2) for index in range(8)]),
    train_labels=np.array([0, 0, 2, 2, 0, 0, 2, 2, *[*range(4)] * 6]),
    val_labels=np.arange(VAL) % 4,
    none=predictions(),
    defended=predictions(),
    verdict=Verdict(
        keep=np.arange(TRAIN) > 9,
        score=DRAW.permutation(TRAIN) / 4,
        trigger_score=np.where(np.arange(TRAIN) < 24, TRAIN - np.arange(TRAIN), np.nan).astype(float),
        boxes=np.stack([np.array([index % 9, index % 5, 5, 5]) for index in range(TRAIN)]),
    ),
)


def record_of(evidence):
    seeds = {name: Seeds(3).child(name).value for name in ("attack", "pretrain", "probe")}
    made = json.loads(FIXTURE.read_text()) | scores(evidence) | {"seeds": {"root": 3, **seeds}}
    names = {"attack": "multi-target", "defense": "mine"}
    made["run"] |= {**names, "seed": 3}
    made["config"] = {**{part: {"name": name} for part, name in names.items()}, "seed": 3}
    made["config"]["dataset"] = {"name": "folder", "root": "/home/me/pictures"}
    made["dataset"] |= {"name": "folder", "classes": 4, "counts": {"train": TRAIN, "val": VAL}, "image_size": SIZE}
    made["dataset"]["classes_sha256"] = digest(list(CLASSES))
    for letter, name in zip("bc", ("threat_probe", "defended_probe"), strict=True):
        made["stages"][name]["key"] = letter * 64
    if evidence.defended is None:
        made["schema_version"], made["run"]["until"] = 5, "detection"
        del made["stages"]["retraining"], made["stages"]["defended_probe"]
    validate(made)
    return made


RECORD = record_of(TRUE)


def changed(**parts):
    return dataclasses.replace(TRUE, **parts)


def with_verdict(**parts):
    return changed(verdict=dataclasses.replace(TRUE.verdict, **parts))


def arrays(evidence):
    verdict, none, defended = evidence.verdict, evidence.none, evidence.defended
    found = [evidence.train_labels, evidence.val_labels, none.clean, none.triggered, defended.clean, defended.triggered]
    return [*found, verdict.keep, verdict.score, verdict.trigger_score, verdict.boxes]


def test_what_was_packed_is_what_is_read_and_it_agrees():
    data = submission.to_bytes(RECORD, TRUE)
    assert data == submission.to_bytes(copy.deepcopy(RECORD), changed(train_labels=TRUE.train_labels.copy()))
    found = submission.from_bytes(data)
    assert found.record["config"]["dataset"]["root"] == "pictures"
    assert found.record["status"] == "submitted"
    assert found.evidence.manifest == TRUE.manifest
    for one, other in zip(arrays(found.evidence), arrays(TRUE), strict=True):
        np.testing.assert_array_equal(one, other)
    assert faults(found.record, found.evidence) == []


def test_a_run_until_detection_is_packed_and_agrees_without_a_second_training():
    short = changed(defended=None)
    made = record_of(short)
    assert "defended" not in made["metrics"]
    found = submission.from_bytes(submission.to_bytes(made, short))
    assert found.evidence.defended is None
    assert faults(found.record, found.evidence) == []


def leaves(value, path=()):
    if isinstance(value, dict | list):
        for key in range(len(value)) if isinstance(value, list) else value:
            yield from leaves(value[key], (*path, key))
    else:
        yield path


LEAVES = [path for name in ("metrics", "poison") for path in leaves(RECORD[name], (name,))]


def forged(path, change):
    """The record with what lies at `path` changed."""
    made = copy.deepcopy(RECORD)
    *parents, last = path
    inner = made
    for key in parents:
        inner = inner[key]
    inner[last] = change(inner.get(last) if isinstance(inner, dict) else inner[last])
    return made


@ONCE
@given(st.sampled_from(LEAVES), st.floats(1e-6, 50), st.booleans())
def test_every_changed_number_of_the_record_is_found(path, by, vanish):
    def change(old):
        return None if vanish and old is not None else "goat" if isinstance(old, str) else (old or 0) + by

    (fault, *_) = faults(forged(path, change), TRUE)
    assert fault.startswith(path[0])


def test_an_older_record_need_not_say_what_came_later():
    older = copy.deepcopy(RECORD)
    for found in older["metrics"]["localisation"].values():
        del found["hit"]
    assert faults(older, TRUE) == []
    del older["metrics"]["localisation"]["5"]["iou"]
    assert faults(older, TRUE) == ["metrics.localisation.5.iou is missing; it is in what the evidence gives"]


def test_numbers_are_counted():
    assert numbers({"a": [1, 2.5, None, "x"], "b": {"c": 0}}) == 3
    assert len(LEAVES) >= numbers({name: RECORD[name] for name in ("metrics", "poison")}) > 100


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("metric_version", 2, "its metrics are of version 2; this benchmark computes 1"),
        ("dataset/classes", 5, "dataset.classes is 5; the evidence gives 4"),
        ("dataset/classes_sha256", "b" * 64, "dataset.classes_sha256"),
        ("dataset/counts/train", 31, "train.jsonl has 32 rows; the record says 31"),
        ("dataset/image_size", 9, "poisoned image 6 has a trigger that leaves the image"),
        ("seeds/attack", 1, "seeds.attack is 1"),
        ("seeds/more", 1, "seeds.'more' is in the record, not in what"),
        ("run/seed", 4, "seeds.attack"),
        ("run/attack", "htba", "run.attack is \"htba\"; its config says \"multi-target\""),
        ("run/defense", "none", "run.defense"),
        ("dataset/name", "stl10", "run.dataset"),
        ("stages/defended_probe/key", "b" * 64, "are one, yet their predictions differ"),
        ("metrics/detection/more", 1, "metrics.detection.'more' is in the record, not in what"),
        ("metrics/none/clean/false_positives", 10**400, "metrics.none.clean.false_positives"),
    ],
)  # fmt: skip
def test_every_other_fact_that_can_be_computed_is(path, value, said):
    made = forged(path.split("/"), lambda _: value)
    validate(made)
    assert any(said in fault for fault in faults(made, TRUE))


@ONCE
@given(st.sampled_from(["none", "defended"]), st.integers(-1, 1), st.integers(0, VAL - 1), st.integers(0, 3))
def test_a_changed_prediction_is_found_just_where_it_counts(which, trigger, image, to):
    """It counts where it makes a hit (the true class or the target), or ends one."""
    old = getattr(TRUE, which)
    clean, triggered = old.clean.copy(), old.triggered.copy()
    row, targets = (clean, TARGETS) if trigger < 0 else (triggered[trigger], (TARGETS[trigger],))
    before, hits = row[image], {TRUE.val_labels[image], *targets}
    row[image] = to
    counts = before != to and any((before == hit) != (to == hit) for hit in hits)
    assert bool(faults(RECORD, changed(**{which: Predictions(clean=clean, triggered=triggered)}))) == counts


@pytest.mark.parametrize("image", range(TRAIN))
def test_every_changed_bit_of_the_mask_is_found(image):
    keep = TRUE.verdict.keep ^ (np.arange(TRAIN) == image)
    assert any("removed" in fault for fault in faults(RECORD, with_verdict(keep=keep)))


@ONCE
@given(st.integers(0, TRAIN - 1), st.integers(0, TRAIN))
def test_a_changed_score_is_found_just_where_an_order_changes(image, to):
    score = TRUE.verdict.score.copy()
    score[image] = to / 4
    poisoned, trigger = TRUE.manifest.poisoned, TRUE.manifest.trigger

    def curves(score):
        each = [roc_auc_score(trigger[own] == t, score[own]) for t in (0, 1) for own in [(trigger == t) | ~poisoned]]
        return np.array([roc_auc_score(poisoned, score), average_precision_score(poisoned, score), *each])

    differ = bool((np.abs(curves(score) - curves(TRUE.verdict.score)) > 1e-12).any())
    assert bool(faults(RECORD, with_verdict(score=score))) == differ


CHANGES = {
    "clean": None,
    "other trigger": lambda row: {"trigger": 1 - row.trigger, "target": TARGETS[1 - row.trigger]},
    "other target": lambda _: {"target": 3},
    "elsewhere": lambda _: {"box": (12, 12, 4, 4)},
    "none": lambda _: {"box": None},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("image", range(8))
def test_a_changed_row_of_the_manifest_is_found(image, change):
    rows = {row.index: row for row in TRUE.manifest.poisons}
    row = rows.pop(image)
    rows |= {image: dataclasses.replace(row, **change(row))} if change else {}
    assert faults(RECORD, changed(manifest=Manifest(TRUE.manifest.ids, list(rows.values()))))


@pytest.mark.parametrize("trigger", [0, 1])
@pytest.mark.parametrize("image", range(8, TRAIN))
def test_a_clean_image_that_is_called_poisoned_is_found(image, trigger):
    more = [*TRUE.manifest.poisons, poison(image, trigger)]
    assert faults(RECORD, changed(manifest=Manifest(TRUE.manifest.ids, more)))


@ONCE
@given(st.integers(0, TRAIN - 1), st.integers(0, 11), st.integers(0, 11))
def test_a_moved_window_is_found_just_where_it_overlaps_otherwise(image, top, left):
    """Images 0 to 7 are poisoned and among the 20 most suspicious; no metric reads the windows of clean ones."""
    boxes = TRUE.verdict.boxes.copy()
    boxes[image] = (top, left, 5, 5)

    def shared(box):
        found = np.zeros((2, SIZE, SIZE), bool)
        for grid, (top, left, height, width) in zip(found, (box, TRUE.manifest.boxes[image]), strict=True):
            grid[top : top + height, left : left + width] = True
        return int(found.all(0).sum())

    differ = image < 8 and shared(boxes[image]) != shared(TRUE.verdict.boxes[image])
    assert bool(faults(RECORD, with_verdict(boxes=boxes))) == differ


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        (with_verdict(keep=np.zeros(TRAIN, bool)), "keep is all False"),
        (with_verdict(score=np.full(TRAIN, np.nan)), "score holds values that are not finite"),
        (with_verdict(boxes=np.full((TRAIN, 4), 15)), "boxes leave the image"),
        (with_verdict(boxes=np.full((TRAIN, 4), 2**62)), "boxes leave the image"),
        (changed(train_labels=np.full(TRAIN, 4)), "train_labels holds a class outside 0 to 3"),
        (changed(targets=(0, 10**30)), "targets holds a class outside 0 to 3"),
        (changed(train_labels=np.roll(TRUE.train_labels, 1)), "is not of its target class"),
        (changed(manifest=Manifest(TRUE.manifest.ids, [])), "poison.count is 8; the evidence gives 0"),
        (changed(classes=("cow", *CLASSES[1:])), "poison.targets[0]"),
    ],
)
def test_evidence_that_no_run_could_leave_is_refused(evidence, said):
    assert any(said in fault for fault in faults(RECORD, evidence))
