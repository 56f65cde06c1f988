"""Whoever changes a number, a prediction, a bit of the mask or a row of the truth, and seals the file again, is found
out, or has changed nothing that any metric reads."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from bench.api import Poison, Verdict
from bench.data.manifest import Manifest
from bench.records import submission
from bench.records.inputs import Evidence, Predictions, scores
from bench.records.metrics import METRIC_VERSION
from bench.records.record import validate
from bench.records.verify import faults, numbers
from bench.seeds import Seeds
from bench.store import digest

CLASSES, TARGETS, TRAIN, VAL, SIZE = ("owl", "fox", "elk", "emu"), (0, 2), 32, 12, 16
DRAW = np.random.default_rng(5)
ONCE = settings(deadline=None, max_examples=60)


def poison(index):
    trigger = index // 2 % 2
    box = (index % 8, 3, 4, 4)
    return Poison(index=index, trigger=trigger, target=TARGETS[trigger], box=box, seed=index)


def predictions():
    return Predictions(clean=DRAW.integers(0, 4, VAL), triggered=np.stack([DRAW.integers(0, 4, VAL) for _ in TARGETS]))


def evidence():
    """Images 0, 1, 4, 5 carry trigger 0 (target 0), images 2, 3, 6, 7 trigger 1 (target 2)."""
    labels = np.array([0, 0, 2, 2, 0, 0, 2, 2, *range(4), *range(4), *range(4), *range(4), *range(4), *range(4)])
    boxes = np.stack([np.array([index % 9, index % 5, 5, 5]) for index in range(TRAIN)])
    return Evidence(
        classes=CLASSES,
        targets=TARGETS,
        manifest=Manifest([f"{index}.png" for index in range(TRAIN)], [poison(index) for index in range(8)]),
        train_labels=labels,
        val_labels=np.arange(VAL) % 4,
        none=predictions(),
        defended=predictions(),
        verdict=Verdict(
            keep=np.arange(TRAIN) > 9,
            score=DRAW.permutation(TRAIN) / 4,
            trigger_score=np.where(np.arange(TRAIN) < 24, TRAIN - np.arange(TRAIN), np.nan).astype(float),
            boxes=boxes,
        ),
    )


TRUE = evidence()


def record_of(evidence):
    stage = {"seconds": 1.0, "peak_memory_mb": None}
    seeds = {name: Seeds(3).child(name).value for name in ("attack", "pretrain", "probe")}
    record = {
        "schema_version": 2,
        "status": "measured",
        "metric_version": METRIC_VERSION,
        "bench": "0.1.0",
        "created": "2025-01-31T12:00:00+00:00",
        "run": {"attack": "multi-target", "defense": "mine", "preset": "smoke", "seed": 3},
        "config": {
            "seed": 3,
            "dataset": {"name": "folder", "root": "/home/me/pictures"},
            "attack": {"name": "multi-target"},
            "defense": {"name": "mine"},
        },
        "dataset": {
            "name": "folder",
            "fingerprint": "a" * 64,
            "classes_sha256": digest(list(CLASSES)),
            "classes": 4,
            "counts": {"train": TRAIN, "val": VAL},
            "image_size": SIZE,
            "skipped": 0,
        },
        **scores(evidence),
        "facts": {},
        "seeds": {"root": 3, **seeds},
        "versions": {"python": "3", "numpy": "2", "torch": "2"},
        "hardware": {"cpu": "a processor"},
        "stages": {
            name: {"key": letter * 64, **stage}
            for letter, name in zip("bc", ("threat_probe", "defended_probe"), strict=True)
        },
        "git": None,
    }
    validate(record)
    return record


RECORD = record_of(TRUE)


def changed(**parts):
    return dataclasses.replace(TRUE, **parts)


def with_verdict(**parts):
    return changed(verdict=dataclasses.replace(TRUE.verdict, **parts))


def test_what_was_packed_is_what_is_read_and_it_agrees():
    data = submission.to_bytes(RECORD, TRUE)
    assert data == submission.to_bytes(copy.deepcopy(RECORD), evidence_again())
    found = submission.from_bytes(data)
    assert found.record["config"]["dataset"]["root"] == "pictures"
    assert found.record["status"] == "submitted"
    assert found.evidence.manifest == TRUE.manifest
    for one, other in zip(arrays(found.evidence), arrays(TRUE), strict=True):
        np.testing.assert_array_equal(one, other)
    assert faults(found.record, found.evidence) == []


def evidence_again():
    return dataclasses.replace(TRUE, train_labels=TRUE.train_labels.copy())


def arrays(evidence):
    verdict, none, defended = evidence.verdict, evidence.none, evidence.defended
    found = [evidence.train_labels, evidence.val_labels, none.clean, none.triggered, defended.clean, defended.triggered]
    return [*found, verdict.keep, verdict.score, verdict.trigger_score, verdict.boxes]


# --- the record -------------------------------------------------------------------------------------------


def leaves(value, path=()):
    if isinstance(value, dict | list):
        for key in range(len(value)) if isinstance(value, list) else value:
            yield from leaves(value[key], (*path, key))
    else:
        yield path


LEAVES = [path for name in ("metrics", "poison") for path in leaves(RECORD[name], (name,))]


@ONCE
@given(st.sampled_from(LEAVES), st.floats(1e-6, 50), st.booleans())
def test_every_changed_number_of_the_record_is_found(path, by, vanish):
    forged = copy.deepcopy(RECORD)
    *parents, last = path
    inner = forged
    for key in parents:
        inner = inner[key]
    old = inner[last]
    inner[last] = None if vanish and old is not None else "goat" if isinstance(old, str) else (old or 0) + by
    (fault, *_) = faults(forged, TRUE)
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
    assert sum(1 for path in LEAVES) >= numbers({name: RECORD[name] for name in ("metrics", "poison")}) > 100


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
    forged = copy.deepcopy(RECORD)
    *parents, last = path.split("/")
    inner = forged
    for key in parents:
        inner = inner[key]
    inner[last] = value
    validate(forged)
    assert any(said in fault for fault in faults(forged, TRUE))


# --- the evidence -----------------------------------------------------------------------------------------


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


@given(st.integers(0, TRAIN - 1))
@ONCE
def test_every_changed_bit_of_the_mask_is_found(image):
    keep = TRUE.verdict.keep.copy()
    keep[image] ^= True
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


@ONCE
@given(st.integers(0, 7), st.sampled_from(["clean", "other trigger", "other target", "elsewhere", "none"]))
def test_a_changed_row_of_the_manifest_is_found(image, how):
    rows = {row.index: row for row in TRUE.manifest.poisons}
    row = rows[image]
    change = {
        "other trigger": {"trigger": 1 - row.trigger, "target": TARGETS[1 - row.trigger]},
        "other target": {"target": 3},
        "elsewhere": {"box": (12, 12, 4, 4)},
        "none": {"box": None},
    }
    rows[image] = dataclasses.replace(row, **change.get(how, {}))
    if how == "clean":
        del rows[image]
    assert faults(RECORD, changed(manifest=Manifest(TRUE.manifest.ids, list(rows.values()))))


@ONCE
@given(st.integers(8, TRAIN - 1), st.sampled_from([0, 1]))
def test_a_clean_image_that_is_called_poisoned_is_found(image, trigger):
    more = Poison(index=image, trigger=trigger, target=TARGETS[trigger], box=(0, 0, 4, 4), seed=1)
    assert faults(RECORD, changed(manifest=Manifest(TRUE.manifest.ids, [*TRUE.manifest.poisons, more])))


@ONCE
@given(st.integers(0, TRAIN - 1), st.integers(0, 11), st.integers(0, 11))
def test_a_moved_window_is_found_just_where_it_overlaps_otherwise(image, top, left):
    """Images 0 to 7 are poisoned and among the 20 most suspicious; no metric reads the windows of clean ones."""
    boxes = TRUE.verdict.boxes.copy()
    boxes[image] = (top, left, 5, 5)

    def shared(box):
        one, other = (np.zeros((SIZE, SIZE), bool) for _ in range(2))
        one[box[0] : box[0] + box[2], box[1] : box[1] + box[3]] = True
        true = TRUE.manifest.boxes[image]
        other[true[0] : true[0] + true[2], true[1] : true[1] + true[3]] = True
        return int((one & other).sum())

    differ = image < 8 and shared(boxes[image]) != shared(TRUE.verdict.boxes[image])
    assert bool(faults(RECORD, with_verdict(boxes=boxes))) == differ


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        (lambda: with_verdict(keep=np.zeros(TRAIN, bool)), "keep is all False"),
        (lambda: with_verdict(score=np.full(TRAIN, np.nan)), "score holds values that are not finite"),
        (lambda: with_verdict(boxes=np.full((TRAIN, 4), 15)), "boxes leave the image"),
        (lambda: with_verdict(boxes=np.full((TRAIN, 4), 2**62)), "boxes leave the image"),
        (lambda: changed(train_labels=np.full(TRAIN, 4)), "train_labels holds a class outside 0 to 3"),
        (lambda: changed(targets=(0, 10**30)), "targets holds a class outside 0 to 3"),
        (lambda: changed(train_labels=np.roll(TRUE.train_labels, 1)), "is not of its target class"),
        (lambda: changed(manifest=Manifest(TRUE.manifest.ids, [])), "names no poisoned image"),
        (lambda: changed(classes=("cow", *CLASSES[1:])), "poison.targets[0]"),
    ],
)  # fmt: skip
def test_evidence_that_no_run_could_leave_is_refused(forged, said):
    assert any(said in fault for fault in faults(RECORD, forged()))
