"""What is measured, from stored predictions and verdicts alone. Pure NumPy.

Shares are percent from 0 to 100; what is undefined (a share of nothing) is None, null in JSON. Every
function reads plain arrays, so that the same stored arrays give the same metrics again. A change of any
meaning here raises METRIC_VERSION: records of different versions are never compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError

METRIC_VERSION = 1
KS = (5, 10, 20, 50, 100, 500)

Metrics = dict[str, Any]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def percent(part: SupportsFloat, whole: SupportsFloat) -> float | None:
    """`part` of `whole` in percent, None where `whole` is 0."""
    return 100.0 * float(part) / float(whole) if float(whole) else None


# --- classification -------------------------------------------------------------------------------


def classification(pred_clean: Ints, pred_poisoned: Ints, labels: Ints, target: int | Sequence[int]) -> Metrics:
    """How a classifier does on validation images: {"clean": rates, "poisoned": rates, "per_trigger": list}.

    pred_clean, labels: (N,) class indices. pred_poisoned: (N,) for one trigger, (T, N) for T triggers, each
    on every image. target: the target class of each trigger. "clean" and "poisoned" each hold

    acc: share of images (target class included) whose true class is predicted;
    asr: of the images not of the target class, the share predicted as the target (the paper's convention);
    asr_all: the same over all images, those of the target class included;
    asr_correct: the same over the images that are not of the target class and that are classified rightly
    without a trigger (so 0 on clean images);
    false_positives: how many images not of the target class are predicted as it (the paper's table III).

    Several triggers: each rate is its plain mean over the triggers for which it is defined, and
    "per_trigger" lists the same for each trigger, with its "target".
    """
    targets = [int(each) for each in np.atleast_1d(np.asarray(target))]
    poisoned = np.atleast_2d(pred_poisoned)
    _same_shape("pred_clean", pred_clean, labels.shape)
    _same_shape("pred_poisoned", poisoned, (len(targets), *labels.shape))
    right = pred_clean == labels
    per_trigger: list[Metrics] = [
        {
            "target": each,
            "clean": _rates(pred_clean, labels, right, each),
            "poisoned": _rates(predicted, labels, right, each),
        }
        for each, predicted in zip(targets, poisoned, strict=True)
    ]
    means = {which: _mean([entry[which] for entry in per_trigger]) for which in ("clean", "poisoned")}
    return {**means, "per_trigger": per_trigger}


def _rates(predicted: Ints, labels: Ints, right: Bools, target: int) -> Metrics:
    other, hit = labels != target, predicted == target
    return {
        "acc": percent(np.count_nonzero(predicted == labels), len(labels)),
        "asr": percent(np.count_nonzero(hit & other), np.count_nonzero(other)),
        "asr_all": percent(np.count_nonzero(hit), len(labels)),
        "asr_correct": percent(np.count_nonzero(hit & other & right), np.count_nonzero(other & right)),
        "false_positives": int(np.count_nonzero(hit & other)),
    }


def _mean(entries: Sequence[Metrics]) -> Metrics:
    """Key by key, the mean of the values that are defined."""
    columns = {name: [e[name] for e in entries if e[name] is not None] for name in entries[0]}
    return {name: float(np.mean(values)) if values else None for name, values in columns.items()}


# --- detection ------------------------------------------------------------------------------------


def detection(poisoned: Bools, keep: Bools, score: Floats | None) -> Metrics:
    """How well the removed images are the poisoned ones.

    poisoned, keep: (N,) bool. score: (N,) float, higher = more suspicious, infinities allowed, or None.
    removed: how many are not kept. precision, recall, f1: of the removal; precision is None where nothing
    is removed, recall where nothing is poisoned, f1 where neither is. auroc, average_precision: of the
    score's order over all images, ties counted as scikit-learn does; None without a score or where only one
    kind of image is there.
    """
    _same_shape("keep", keep, poisoned.shape)
    removed = ~keep
    count = np.count_nonzero(removed)
    found = np.count_nonzero(removed & poisoned)
    return {
        "removed": int(count),
        "precision": percent(found, count),
        "recall": percent(found, np.count_nonzero(poisoned)),
        "f1": percent(2 * found, count + np.count_nonzero(poisoned)),
        "auroc": None if score is None else auroc(poisoned, score),
        "average_precision": None if score is None else average_precision(poisoned, score),
    }


def clean_removed(labels: Ints, classes: Sequence[str], poisoned: Bools, keep: Bools) -> dict[str, int]:
    """What a removal costs: for every class how many of its clean images are removed.

    labels: (N,) int, places in `classes`. poisoned, keep: (N,) bool.
    """
    _same_shape("keep", keep, poisoned.shape)
    return of_each_class(labels, classes, ~poisoned & ~keep)


def of_each_class(labels: Ints, classes: Sequence[str], mask: Bools) -> dict[str, int]:
    """How many images of each class are in `mask`, (N,) bool. labels: (N,) int, places in `classes`."""
    _same_shape("labels", labels, mask.shape)
    counts = np.bincount(labels[mask], minlength=len(classes))
    return {name: int(count) for name, count in zip(classes, counts, strict=True)}


def _by_score(positive: Bools, score: Floats) -> tuple[Floats, Floats]:
    """Per distinct score, from the highest: how many images have it, how many of these are positive."""
    _same_shape("score", score, positive.shape)
    if np.isnan(score).any():
        raise BenchError(f"the score of {int(np.isnan(score).sum())} images is NaN; expected a number for each")
    _, place = np.unique(score, return_inverse=True)
    total = np.bincount(place)[::-1].astype(np.float64)
    return total, np.bincount(place, weights=positive)[::-1].astype(np.float64)


def _one_kind(positive: Bools) -> bool:
    return bool(positive.all() or not positive.any())


def auroc(positive: Bools, score: Floats) -> float | None:
    """Area under the ROC curve, percent: how often a positive outscores a negative, ties count half."""
    total, hits = _by_score(positive, score)
    if _one_kind(positive):
        return None
    misses = total - hits
    misses_below = misses.sum() - np.cumsum(misses)
    return percent(np.sum(hits * (misses_below + misses / 2)), hits.sum() * misses.sum())


def average_precision(positive: Bools, score: Floats) -> float | None:
    """Sum over the distinct scores, from the top, of precision there times the recall gained, percent."""
    total, hits = _by_score(positive, score)
    if _one_kind(positive):
        return None
    precision = np.cumsum(hits) / np.cumsum(total)
    return percent(np.sum(precision * hits), hits.sum())


def of_each_trigger(
    trigger: Ints,
    targets: Sequence[int],
    true_boxes: Ints,
    keep: Bools,
    score: Floats | None,
    trigger_score: Floats | None,
    boxes: Ints | None,
) -> list[Metrics]:
    """How each of several triggers is found: a list of {"target", "detection", "localisation"}.

    trigger: (N,) int64, the number of the trigger that an image carries, -1 where it is clean. targets: the
    target class of each trigger. The other arrays: as for `detection` and `localisation`. "detection" holds

    poisoned: how many images carry this trigger; removed: how many of these are not kept; recall: their share;
    auroc: of the score's order over these and the clean images, those with other triggers left out.

    A precision of one trigger does not exist: a removed clean image belongs to none. "localisation": as of
    `localisation`, over the same top-k images for every trigger; its accuracy is the share of them that
    carries this trigger (summed over the triggers: the share that is poisoned), its iou and cr are means over
    these.
    """
    return [
        {
            "target": int(target),
            "detection": _detection_of(trigger == number, trigger < 0, keep, score),
            "localisation": localisation(trigger == number, true_boxes, trigger_score, boxes),
        }
        for number, target in enumerate(targets)
    ]


def _detection_of(carries: Bools, clean: Bools, keep: Bools, score: Floats | None) -> Metrics:
    _same_shape("keep", keep, carries.shape)
    count, removed = np.count_nonzero(carries), np.count_nonzero(carries & ~keep)
    judged = carries | clean
    return {
        "poisoned": int(count),
        "removed": int(removed),
        "recall": percent(removed, count),
        "auroc": None if score is None else auroc(carries[judged], score[judged]),
    }


# --- localisation ---------------------------------------------------------------------------------


def localisation(
    poisoned: Bools,
    true_boxes: Ints,
    trigger_score: Floats | None,
    boxes: Ints | None,
    ks: Sequence[int] = KS,
) -> dict[str, Metrics]:
    """Are the most suspicious images poisoned, their triggers found? {"5": {accuracy, iou, cr}, ...}.

    poisoned: (N,) bool. true_boxes, boxes: (N, 4) int64 (top, left, height, width), -1 where there is none.
    trigger_score: (N,) float, NaN where not scored. Only k up to the number of scored images are there; the
    top-k are those with the highest score, of equal ones those with the lower index.

    accuracy: share of the top-k that is poisoned. iou: area shared by found and true box over the area that
    either covers; cr (catch rate): share of the true box inside the found one. Both are means over the
    truly poisoned images of the top-k that have a true box, 0 where nothing overlaps or no box was found,
    None where there is no such image (so always where the trigger is not at one place) or the defense locates
    nothing (`boxes` None). Empty where it scores nothing (`trigger_score` None).
    """
    if trigger_score is None:
        return {}
    _same_shape("true_boxes", true_boxes, (*poisoned.shape, 4))
    _same_shape("trigger_score", trigger_score, poisoned.shape)
    scored = np.flatnonzero(~np.isnan(trigger_score))
    ranked = scored[np.argsort(-trigger_score[scored], kind="stable")]
    has_box = poisoned & (true_boxes[:, 0] >= 0)
    if boxes is None:
        iou = cr = np.zeros(len(poisoned))
        has_box = np.zeros(len(poisoned), bool)
    else:
        _same_shape("boxes", boxes, true_boxes.shape)
        iou, cr = overlap(boxes, true_boxes)
    return {str(k): _top(ranked[:k], poisoned, has_box, iou, cr) for k in ks if 0 < k <= len(ranked)}


def _top(top: Ints, poisoned: Bools, has_box: Bools, iou: Floats, cr: Floats) -> Metrics:
    located = top[has_box[top]]
    return {
        "accuracy": percent(poisoned[top].sum(), len(top)),
        "iou": percent(iou[located].sum(), len(located)),
        "cr": percent(cr[located].sum(), len(located)),
    }


def overlap(found: Ints, true: Ints) -> tuple[Floats, Floats]:
    """Per pair of boxes (N, 4): intersection over union, and the share of `true` inside `found`; 0 to 1.

    0 where either box is missing (a negative corner, or no area).
    """
    start = np.maximum(found[:, :2], true[:, :2])
    end = np.minimum(found[:, :2] + found[:, 2:], true[:, :2] + true[:, 2:])
    there = ((found[:, :2] >= 0) & (true[:, :2] >= 0) & (found[:, 2:] > 0) & (true[:, 2:] > 0)).all(axis=1)
    shared = np.where(there, np.clip(end - start, 0, None).prod(axis=1), 0).astype(np.float64)
    true_area, found_area = true[:, 2:].prod(axis=1), found[:, 2:].prod(axis=1)
    union = np.where(there, true_area + found_area - shared, 1.0)
    return shared / union, shared / np.where(there, true_area, 1.0)


def _same_shape(name: str, array: NDArray[Any], expected: tuple[int, ...]) -> None:
    if array.shape != expected:
        raise BenchError(f"{name} has the shape {array.shape}; expected {expected}")
