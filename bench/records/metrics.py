"""What is measured: the table METRICS, and the functions that compute its numbers from stored predictions and
verdicts. Pure NumPy.

To add a metric, add an entry to METRICS and its function. The record, its schema, the leaderboards (every format), the
page of a run and its glossary take what they show from there.

Shares are percent from 0 to 100. What is undefined (a share of nothing) is None, null in JSON. Every function reads
plain arrays, so the same stored arrays give the same numbers again. Whoever changes what a number means raises
METRIC_VERSION: records of different versions are never compared. A new metric changes no meaning: older records lack
it, and it is shown as undefined for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError

METRIC_VERSION = 1
KS = (5, 10, 20, 50, 100, 500)
PARTS = CLEAN, TRIGGERED, DETECTION, OF_TRIGGER, LOCALISATION = (
    "clean",
    "poisoned",
    "detection",
    "per_trigger",
    "localisation",
)
"""The parts of a record's "metrics" that hold numbers: predictions of clean and of triggered validation images (with
and without the defense), what was removed, what was removed of one of several triggers, and the top-k images."""
PERCENT, IMAGES = "%", "images"

Metrics = dict[str, Any]
Number = float | int | None
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def percent(part: SupportsFloat, whole: SupportsFloat) -> float | None:
    """`part` of `whole` in percent, None where `whole` is 0."""
    return 100.0 * float(part) / float(whole) if float(whole) else None


def _share(mask: Bools, among: Bools) -> float | None:
    return percent(np.count_nonzero(mask & among), np.count_nonzero(among))


# --- predictions ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What a classifier says of N validation images, (N,): whether it is right, whether it says the target class;
    other: images not of the target class; right_before: rightly classified without a trigger."""

    right: Bools
    hit: Bools
    other: Bools
    right_before: Bools


def acc(answers: Answers) -> Number:
    return percent(np.count_nonzero(answers.right), len(answers.right))


def asr(answers: Answers) -> Number:
    return _share(answers.hit, answers.other)


def asr_all(answers: Answers) -> Number:
    return percent(np.count_nonzero(answers.hit), len(answers.hit))


def asr_correct(answers: Answers) -> Number:
    return _share(answers.hit, answers.other & answers.right_before)


def false_positives(answers: Answers) -> Number:
    return int(np.count_nonzero(answers.hit & answers.other))


# --- removal --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Removal:
    """N training images, (N,): which carry a trigger, which are removed, and their score (higher: more suspicious;
    infinities are allowed), None where the defense gives none."""

    poisoned: Bools
    removed: Bools
    score: Floats | None


def removed(removal: Removal) -> Number:
    return int(np.count_nonzero(removal.removed))


def precision(removal: Removal) -> Number:
    return _share(removal.poisoned, removal.removed)


def recall(removal: Removal) -> Number:
    return _share(removal.removed, removal.poisoned)


def f1(removal: Removal) -> Number:
    found = np.count_nonzero(removal.removed & removal.poisoned)
    return percent(2 * found, np.count_nonzero(removal.removed) + np.count_nonzero(removal.poisoned))


def carriers(removal: Removal) -> Number:
    return int(np.count_nonzero(removal.poisoned))


def carriers_removed(removal: Removal) -> Number:
    return int(np.count_nonzero(removal.removed & removal.poisoned))


def auroc(removal: Removal) -> Number:
    counts = _by_score(removal)
    if counts is None:
        return None
    hits, misses = counts
    misses_below = misses.sum() - np.cumsum(misses)
    return percent(np.sum(hits * (misses_below + misses / 2)), hits.sum() * misses.sum())


def average_precision(removal: Removal) -> Number:
    counts = _by_score(removal)
    if counts is None:
        return None
    hits, misses = counts
    return percent(np.sum(np.cumsum(hits) / np.cumsum(hits + misses) * hits), hits.sum())


def _by_score(removal: Removal) -> tuple[Floats, Floats] | None:
    """Per distinct score, from the highest: how many poisoned and how many clean images have it. None without a score,
    or where only one kind of image is there."""
    positive, score = removal.poisoned, removal.score
    if score is None:
        return None
    if np.isnan(score).any():
        raise BenchError(f"the score of {int(np.isnan(score).sum())} images is NaN; expected a number for each")
    if positive.all() or not positive.any():
        return None
    _, place = np.unique(score, return_inverse=True)
    hits = np.bincount(place, weights=positive)[::-1].astype(np.float64)
    return hits, np.bincount(place)[::-1] - hits


# --- the top-k images -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Top:
    """The k most suspicious images, (k,): which are poisoned; and of those P poisoned ones whose trigger is at one
    place, (P,): overlap of the window found and the trigger, and share of the trigger inside the window, 0 to 1."""

    poisoned: Bools
    iou: Floats
    cr: Floats


def top_accuracy(top: Top) -> Number:
    return percent(np.count_nonzero(top.poisoned), len(top.poisoned))


def top_iou(top: Top) -> Number:
    return percent(top.iou.sum(), len(top.iou))


def top_cr(top: Top) -> Number:
    return percent(top.cr.sum(), len(top.cr))


def top_hit(top: Top) -> Number:
    return percent(np.count_nonzero(top.cr > 0), len(top.cr))


# --- the table ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number of a record.

    name: its key in the record. title: its heading in tables; "{k}" stands for k. words: what it is, as a row's label
    says it. unit: PERCENT or IMAGES. higher_is_better: None where neither is. help: its definition in one line. where:
    the parts of "metrics" that hold it. value: computes it from the numbers of such a part. board: leaderboards show
    it. required: every record has it; others may lack it, as older ones do.
    """

    name: str
    title: str
    words: str
    unit: str = PERCENT
    higher_is_better: bool | None = True
    help: str
    where: tuple[str, ...]
    value: Callable[[Any], Number]
    board: bool = True
    required: bool = True


METRICS = (
    Metric(
        name="acc",
        title="ACC",
        words="classified rightly (ACC)",
        help="accuracy, the share of the validation images whose class a linear classifier on the encoder predicts",
        where=(CLEAN, TRIGGERED),
        value=acc,
    ),
    Metric(
        name="asr",
        title="ASR",
        words="taken for the target class (ASR)",
        higher_is_better=False,
        help="attack success rate, the share of the images of other classes that are taken for the target class",
        where=(CLEAN, TRIGGERED),
        value=asr,
    ),
    Metric(
        name="asr_all",
        title="ASR of all",
        words="ASR over all images, those of the target class included",
        higher_is_better=False,
        help="the share of all images, those of the target class included, that are taken for the target class",
        where=(CLEAN, TRIGGERED),
        value=asr_all,
        board=False,
        required=False,
    ),
    Metric(
        name="asr_correct",
        title="ASR of right ones",
        words="ASR over the images classified rightly without a trigger",
        higher_is_better=False,
        help="attack success rate over the images of other classes that are classified rightly without a trigger",
        where=(CLEAN, TRIGGERED),
        value=asr_correct,
        board=False,
        required=False,
    ),
    Metric(
        name="false_positives",
        title="false positives",
        words="taken for the target class (number of images)",
        unit=IMAGES,
        higher_is_better=False,
        help="the number of images of other classes that are taken for the target class (Table III of the paper)",
        where=(CLEAN, TRIGGERED),
        value=false_positives,
        board=False,
        required=False,
    ),
    Metric(
        name="removed",
        title="removed",
        words="images removed",
        unit=IMAGES,
        higher_is_better=None,
        help="the number of training images removed",
        where=(DETECTION,),
        value=removed,
    ),
    Metric(
        name="precision",
        title="precision",
        words="precision of the removal",
        help="the share of the removed images that are poisoned",
        where=(DETECTION,),
        value=precision,
    ),
    Metric(
        name="poisoned",
        title="poisoned",
        words="images poisoned",
        unit=IMAGES,
        higher_is_better=None,
        help="the number of training images that carry this trigger",
        where=(OF_TRIGGER,),
        value=carriers,
        board=False,
    ),
    Metric(
        name="removed",
        title="of these removed",
        words="poisoned images removed",
        unit=IMAGES,
        help="the number of the images that carry this trigger that are removed",
        where=(OF_TRIGGER,),
        value=carriers_removed,
        board=False,
    ),
    Metric(
        name="recall",
        title="recall",
        words="recall of the removal",
        help="the share of the poisoned images that are removed",
        where=(DETECTION, OF_TRIGGER),
        value=recall,
    ),
    Metric(
        name="f1",
        title="F1",
        words="F1 of the removal",
        help="the harmonic mean of precision and recall",
        where=(DETECTION,),
        value=f1,
    ),
    Metric(
        name="auroc",
        title="AUROC",
        words="area under the ROC curve of the score",
        help="area under the ROC curve of the score, that is how often a poisoned image scores higher than a clean one "
        "(ties count half); 50 % is guessing",
        where=(DETECTION, OF_TRIGGER),
        value=auroc,
    ),
    Metric(
        name="average_precision",
        title="AP",
        words="average precision of the score",
        help="average precision of the score, the mean of its precision at each score, weighted by the recall gained",
        where=(DETECTION,),
        value=average_precision,
    ),
    Metric(
        name="accuracy",
        title="top-{k}",
        words="poisoned",
        help="the share of the k images with the highest trigger score that are poisoned",
        where=(LOCALISATION,),
        value=top_accuracy,
    ),
    Metric(
        name="hit",
        title="hit@{k}",
        words="hit",
        help="the share of the poisoned images of the top k whose window holds any part of the trigger (Figure 12 of "
        "the paper)",
        where=(LOCALISATION,),
        value=top_hit,
        required=False,
    ),
    Metric(
        name="iou",
        title="IoU@{k}",
        words="IoU",
        help="intersection over union of the window found and the true trigger, mean over the poisoned images of the "
        "top k",
        where=(LOCALISATION,),
        value=top_iou,
    ),
    Metric(
        name="cr",
        title="CR@{k}",
        words="catch rate",
        help="catch rate, the share of the trigger's area inside the window found, mean over the poisoned images of "
        "the top k",
        where=(LOCALISATION,),
        value=top_cr,
    ),
)


def metrics_of(part: str) -> list[Metric]:
    """The metrics of a part of a record, in the order in which they are shown."""
    return [metric for metric in METRICS if part in metric.where]


def glossary() -> list[dict[str, str]]:
    """METRICS in words, for pages: title, help, unit, better ("higher", "lower" or "-"), keys (places in a record)."""
    better = {True: "higher", False: "lower", None: "-"}
    return [
        {
            "title": metric.title.format(k="k"),
            "help": metric.help,
            "unit": metric.unit,
            "better": better[metric.higher_is_better],
            "keys": ", ".join(f"{part}.{metric.name}" for part in metric.where),
        }
        for metric in METRICS
    ]


def schema_of(part: str) -> dict[str, Any]:
    """JSON Schema of a part of a record's "metrics" (for LOCALISATION: of one k). Numbers of other names are allowed:
    those of newer versions."""
    found = metrics_of(part)
    return {
        "type": "object",
        "required": [metric.name for metric in found if metric.required],
        "properties": {metric.name: {"description": metric.help, **_kind(metric, part)} for metric in found},
        "additionalProperties": {"type": ["number", "null"]},
    }


def _kind(metric: Metric, part: str) -> dict[str, Any]:
    if metric.unit == PERCENT:
        return {"type": ["number", "null"], "minimum": 0, "maximum": 100}
    if part in (CLEAN, TRIGGERED):  # a mean over several triggers
        return {"type": ["number", "null"], "minimum": 0}
    return {"type": "integer", "minimum": 0}


def _measured(part: str, numbers: Answers | Removal | Top) -> Metrics:
    return {metric.name: metric.value(numbers) for metric in metrics_of(part)}


# --- the parts of a record ------------------------------------------------------------------------


def classification(pred_clean: Ints, pred_poisoned: Ints, labels: Ints, target: int | Sequence[int]) -> Metrics:
    """How a classifier does on validation images: {"clean": rates, "poisoned": rates, "per_trigger": list}.

    pred_clean, labels: (N,) class indices. pred_poisoned: (N,) for one trigger, (T, N) for T triggers, each
    on every image. target: the target class of each trigger. With several triggers each rate is its plain mean over
    the triggers for which it is defined, and "per_trigger" lists the same for each trigger, with its "target".
    """
    targets = [int(each) for each in np.atleast_1d(np.asarray(target))]
    poisoned = np.atleast_2d(pred_poisoned)
    _same_shape("pred_clean", pred_clean, labels.shape)
    _same_shape("pred_poisoned", poisoned, (len(targets), *labels.shape))
    per_trigger: list[Metrics] = [
        {
            "target": each,
            CLEAN: _measured(CLEAN, _answers(pred_clean, pred_clean, labels, each)),
            TRIGGERED: _measured(TRIGGERED, _answers(predicted, pred_clean, labels, each)),
        }
        for each, predicted in zip(targets, poisoned, strict=True)
    ]
    means = {which: _mean([entry[which] for entry in per_trigger]) for which in (CLEAN, TRIGGERED)}
    return {**means, "per_trigger": per_trigger}


def _answers(predicted: Ints, pred_clean: Ints, labels: Ints, target: int) -> Answers:
    return Answers(
        right=predicted == labels,
        hit=predicted == target,
        other=labels != target,
        right_before=pred_clean == labels,
    )


def _mean(entries: Sequence[Metrics]) -> Metrics:
    """Key by key, the mean of the values that are defined."""
    columns = {name: [e[name] for e in entries if e[name] is not None] for name in entries[0]}
    return {name: float(np.mean(values)) if values else None for name, values in columns.items()}


def detection(poisoned: Bools, keep: Bools, score: Floats | None) -> Metrics:
    """How well the removed images are the poisoned ones. poisoned, keep: (N,) bool. score: (N,) float or None."""
    _same_shape("keep", keep, poisoned.shape)
    if score is not None:
        _same_shape("score", score, poisoned.shape)
    return _measured(DETECTION, Removal(poisoned=poisoned, removed=~keep, score=score))


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
    target class of each trigger. The other arrays: as for `detection` and `localisation`.

    "detection" is over the images that carry this trigger and the clean ones, those with other triggers left out. A
    precision of one trigger does not exist: a removed clean image belongs to none. "localisation" is over the same
    top-k images for every trigger; its accuracy is the share of them that carries this trigger (summed over the
    triggers: the share that is poisoned).
    """
    _same_shape("keep", keep, trigger.shape)
    found = []
    for number, target in enumerate(targets):
        carries = trigger == number
        judged = carries | (trigger < 0)
        removal = Removal(
            poisoned=carries[judged], removed=~keep[judged], score=None if score is None else score[judged]
        )
        located = localisation(carries, true_boxes, trigger_score, boxes)
        found.append({"target": int(target), DETECTION: _measured(OF_TRIGGER, removal), LOCALISATION: located})
    return found


def localisation(
    poisoned: Bools,
    true_boxes: Ints,
    trigger_score: Floats | None,
    boxes: Ints | None,
    ks: Sequence[int] = KS,
) -> dict[str, Metrics]:
    """Are the most suspicious images poisoned, and their triggers found? {"5": {accuracy, hit, iou, cr}, ...}.

    poisoned: (N,) bool. true_boxes, boxes: (N, 4) int64 (top, left, height, width), -1 where there is none.
    trigger_score: (N,) float, NaN where not scored. Only k up to the number of scored images are there; the
    top-k are those with the highest score, of equal ones those with the lower index.

    hit, iou and cr are over the truly poisoned images of the top-k that have a true box, 0 where nothing overlaps or
    no box was found, None where there is no such image (so always where the trigger is not at one place) or the
    defense locates nothing (`boxes` None). Empty where it scores nothing (`trigger_score` None).
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
    found = {}
    for k in (k for k in ks if 0 < k <= len(ranked)):
        top = ranked[:k]
        located = top[has_box[top]]
        found[str(k)] = _measured(LOCALISATION, Top(poisoned=poisoned[top], iou=iou[located], cr=cr[located]))
    return found


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
