"""What is measured: the table METRICS, and the functions that compute its numbers from stored predictions and
verdicts. Pure NumPy.

To add a metric, write its function here, under `@metric`. The record, its schema, the leaderboards (every format), the
page of a run and its glossary take what they show from METRICS.

Shares are percent from 0 to 100. What is undefined (a share of nothing) is None, null in JSON. Every function reads
plain arrays, so the same stored arrays give the same numbers again. Whoever changes what a number means raises
METRIC_VERSION: records of different versions are never compared. A new metric changes no meaning: older records lack
it, and it is shown as undefined for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError, counted

METRIC_VERSION = 1
KS = (5, 10, 20, 50, 100, 500)
CLEAN, TRIGGERED, DETECTION, OF_TRIGGER, LOCALISATION = "clean", "poisoned", "detection", "per_trigger", "localisation"
TEST_TIME, ENCODER = "test_time", "encoder"
RATES = (CLEAN, TRIGGERED)
PARTS = (CLEAN, TRIGGERED, DETECTION, OF_TRIGGER, LOCALISATION, TEST_TIME, ENCODER)
"""The parts of a record's "metrics" that hold numbers: predictions of clean and of triggered validation images (with
and without the defense), what was removed, what was removed of one of several triggers, the top-k images; or what a
detector says of test images, or an encoder test of the encoder."""
PERCENT, IMAGES, NUMBER = "%", "images", ""

Metrics = dict[str, Any]
Number = float | int | None
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number of a record.

    name: its key in the record. title: its heading in tables; "{k}" stands for k. words: what it is, as a row's label
    says it. unit: PERCENT, IMAGES, or NUMBER for one without a unit. higher_is_better: None where neither is. help: its
    definition in one line. where: the parts of "metrics" that hold it. value: computes it from what `_measured` is
    given for such a part. board: leaderboards show it. required: every record has it; others may lack it, as older ones
    do. scored: of DETECTION, it says how the scores order the images, whatever is removed.
    """

    name: str
    title: str
    words: str
    where: tuple[str, ...]
    help: str
    value: Callable[[Any], Number]
    unit: str = PERCENT
    higher_is_better: bool | None = True
    board: bool = True
    required: bool = True
    scored: bool = False


METRICS: list[Metric] = []
"""Every metric, in the order in which they are shown."""
_F = TypeVar("_F", bound=Callable[[Any], Number])


def metric(title: str, words: str, *where: str, name: str = "", **facts: Any) -> Callable[[_F], _F]:
    """Add the decorated function to METRICS; its docstring is the metric's help, its name the key in a record."""

    def added(value: _F) -> _F:
        known = name or value.__name__
        text = " ".join((value.__doc__ or "").split())
        METRICS.append(Metric(name=known, title=title, words=words, where=where, help=text, value=value, **facts))
        return value

    return added


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


@metric("ACC", "classified rightly (ACC)", *RATES)
def acc(answers: Answers) -> Number:
    """Accuracy, the share of the validation images whose class a linear classifier on the encoder predicts."""
    return percent(np.count_nonzero(answers.right), len(answers.right))


@metric("ASR", "taken for the target class (ASR)", *RATES, higher_is_better=False)
def asr(answers: Answers) -> Number:
    """Attack success rate, the share of the images of other classes that are taken for the target class."""
    return _share(answers.hit, answers.other)


_MORE: dict[str, Any] = {"higher_is_better": False, "board": False, "required": False}
"""Of the rates that leaderboards do not show and that older records lack."""


@metric("ASR of all", "ASR over all images", *RATES, **_MORE)
def asr_all(answers: Answers) -> Number:
    """Share of all images, those of the target class included, that are taken for the target class."""
    return percent(np.count_nonzero(answers.hit), len(answers.hit))


@metric("ASR of right ones", "ASR over images classified rightly without a trigger", *RATES, **_MORE)
def asr_correct(answers: Answers) -> Number:
    """Attack success rate over the images of other classes that are classified rightly without a trigger."""
    return _share(answers.hit, answers.other & answers.right_before)


@metric("false positives", "taken for the target class (number of images)", *RATES, unit=IMAGES, **_MORE)
def false_positives(answers: Answers) -> Number:
    """Number of images of other classes that are taken for the target class (Table III of the paper)."""
    return int(np.count_nonzero(answers.hit & answers.other))


# --- removal --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Removal:
    """N training images, (N,): which carry a trigger, which are removed, and their score (higher: more suspicious;
    infinities are allowed), None where the defense gives none."""

    poisoned: Bools
    removed: Bools
    score: Floats | None


@metric("poisoned", "images poisoned", OF_TRIGGER, unit=IMAGES, higher_is_better=None, board=False)
def poisoned(removal: Removal) -> Number:
    """Number of training images that carry this trigger."""
    return int(np.count_nonzero(removal.poisoned))


@metric("removed", "images removed", DETECTION, unit=IMAGES, higher_is_better=None)
def removed(removal: Removal) -> Number:
    """Number of training images removed."""
    return int(np.count_nonzero(removal.removed))


@metric("of these removed", "poisoned images removed", OF_TRIGGER, name="removed", unit=IMAGES, board=False)
def poisoned_removed(removal: Removal) -> Number:
    """Number of the images that carry this trigger that are removed."""
    return int(np.count_nonzero(removal.removed & removal.poisoned))


@metric("precision", "precision of the removal", DETECTION)
def precision(removal: Removal) -> Number:
    """Share of the removed images that are poisoned."""
    return _share(removal.poisoned, removal.removed)


@metric("recall", "recall of the removal", DETECTION, OF_TRIGGER)
def recall(removal: Removal) -> Number:
    """Share of the poisoned images that are removed."""
    return _share(removal.removed, removal.poisoned)


@metric("F1", "F1 of the removal", DETECTION)
def f1(removal: Removal) -> Number:
    """Harmonic mean of precision and recall."""
    found = np.count_nonzero(removal.removed & removal.poisoned)
    return percent(2 * found, np.count_nonzero(removal.removed) + np.count_nonzero(removal.poisoned))


@metric("clean removed", "clean images removed", DETECTION, higher_is_better=False, required=False)
def false_removal(removal: Removal) -> Number:
    """Share of the clean images that are removed."""
    return _share(removal.removed, ~removal.poisoned)


@metric("AUROC", "area under the ROC curve of the score", DETECTION, OF_TRIGGER, scored=True)
def auroc(removal: Removal) -> Number:
    """Area under the ROC curve of the score, or how often a poisoned image scores higher than a clean one, ties
    counted half; 50 % is guessing."""
    return area(removal.poisoned, removal.score)


def area(positive: Bools, score: Floats | None) -> float | None:
    """Area under the ROC curve in percent; None without a score, or where one kind is not there."""
    counts = _by_score(positive, score)
    if counts is None:
        return None
    hits, misses = counts
    misses_below = misses.sum() - np.cumsum(misses)
    return percent(np.sum(hits * (misses_below + misses / 2)), hits.sum() * misses.sum())


@metric("AP", "average precision of the score", DETECTION, scored=True)
def average_precision(removal: Removal) -> Number:
    """Average precision of the score, the mean of its precision at each score, weighted by the recall gained there."""
    counts = _by_score(removal.poisoned, removal.score)
    if counts is None:
        return None
    hits, misses = counts
    return percent(np.sum(np.cumsum(hits) / np.cumsum(hits + misses) * hits), hits.sum())


@metric("P@P", "precision of the highest scores, as many as are poisoned", DETECTION, required=False, scored=True)
def precision_at_p(removal: Removal) -> Number:
    """Share of poisoned images among the P highest scores, where P images are poisoned; of images that tie at the last
    place, the share expected if chance chose among them."""
    counts = _by_score(removal.poisoned, removal.score)
    if counts is None:
        return None
    hits, misses = counts
    places = hits.sum()
    sizes = hits + misses
    taken = np.clip(places - (np.cumsum(sizes) - sizes), 0, sizes)
    return percent(np.sum(hits * taken / sizes), places)


@metric("R@1%", "recall where 1 % of the clean images are lost", DETECTION, required=False, scored=True)
def recall_at_1(removal: Removal) -> Number:
    """Largest recall of all thresholds on the score that remove at most 1 % of the clean images."""
    return _hits_at(1, removal.poisoned, removal.score)


def _hits_at(lost: int, positive: Bools, score: Floats | None) -> float | None:
    """Largest share of the positive ones over a threshold that at most `lost` percent of the others are over."""
    counts = _by_score(positive, score)
    if counts is None:
        return None
    hits, misses = counts
    allowed = 100 * np.cumsum(misses) <= lost * misses.sum()
    return percent(hits[allowed].sum(), hits.sum())  # `allowed` holds for the highest scores, then never again


def _by_score(positive: Bools, score: Floats | None) -> tuple[Floats, Floats] | None:
    """Per distinct score, from the highest: how many positive and how many other images have it. None without a score,
    or where only one kind of image is there."""
    if score is None:
        return None
    if np.isnan(score).any():
        raise BenchError(
            f"the score of {counted(int(np.isnan(score).sum()), 'image')} is NaN; expected a number for each"
        )
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


@metric("top-{k}", "poisoned", LOCALISATION)
def accuracy(top: Top) -> Number:
    """Share of the k images with the highest trigger score that are poisoned."""
    return percent(np.count_nonzero(top.poisoned), len(top.poisoned))


@metric("hit@{k}", "hit", LOCALISATION, required=False)
def hit(top: Top) -> Number:
    """Share of the poisoned images of the top k whose window holds any part of the trigger (Figure 12 of the paper)."""
    return percent(np.count_nonzero(top.cr > 0), len(top.cr))


@metric("IoU@{k}", "IoU", LOCALISATION)
def iou(top: Top) -> Number:
    """Intersection over union of the window found and the true trigger, mean over the poisoned images of the top k."""
    return percent(top.iou.sum(), len(top.iou))


@metric("CR@{k}", "catch rate", LOCALISATION)
def cr(top: Top) -> Number:
    """Catch rate, the share of the trigger's area inside the window, mean over the poisoned images of the top k."""
    return percent(top.cr.sum(), len(top.cr))


# --- test images, and the encoder -----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """M test images, (M,): which carry a trigger, and a detector's score (higher: more suspicious)."""

    triggered: Bools
    score: Floats


@metric("images without trigger", "test images without a trigger", TEST_TIME, name="clean", unit=IMAGES, board=False)
def judged_clean(judged: Judged) -> Number:
    """Number of test images that the detector judged as they are."""
    return int(np.count_nonzero(~judged.triggered))


@metric("images with trigger", "test images with a trigger", TEST_TIME, name="triggered", unit=IMAGES, board=False)
def judged_triggered(judged: Judged) -> Number:
    """Number of test images that the detector judged with a trigger on them."""
    return int(np.count_nonzero(judged.triggered))


@metric("test AUROC", "area under the ROC curve of the scores of test images", TEST_TIME, name="auroc")
def judged_auroc(judged: Judged) -> Number:
    """How often a test image with a trigger scores higher than one without, ties counted half; 50 % is guessing."""
    return area(judged.triggered, judged.score)


@metric("TPR@1%", "test images with a trigger found where 1 % of the others are taken for such", TEST_TIME)
def tpr_at_1(judged: Judged) -> Number:
    """True positive rate at 1 % false positives: the largest share of the test images with a trigger over a threshold
    that at most 1 % of those without are over."""
    return _hits_at(1, judged.triggered, judged.score)


@metric("TPR@5%", "test images with a trigger found where 5 % of the others are taken for such", TEST_TIME)
def tpr_at_5(judged: Judged) -> Number:
    """True positive rate at 5 % false positives: the largest share of the test images with a trigger over a threshold
    that at most 5 % of those without are over."""
    return _hits_at(5, judged.triggered, judged.score)


@metric("encoder's score", "suspicion of the encoder", ENCODER, unit=NUMBER, higher_is_better=None, board=False)
def score(suspicion: float) -> Number:
    """How suspicious an encoder test finds the encoder, in its own unit; only the order of encoders counts."""
    return float(suspicion)


# --- what the table is for ------------------------------------------------------------------------


def metrics_of(part: str) -> list[Metric]:
    """The metrics of a part of a record, in the order in which they are shown."""
    return [each for each in METRICS if part in each.where]


def glossary() -> list[dict[str, str]]:
    """METRICS in words, for pages: title, help, unit, better ("higher", "lower" or "-"), keys (places in a record)."""
    better = {True: "higher", False: "lower", None: "-"}
    return [
        {
            "title": each.title.format(k="k"),
            "help": each.help,
            "unit": each.unit,
            "better": better[each.higher_is_better],
            "keys": ", ".join(f"{part}.{each.name}" for part in each.where),
        }
        for each in METRICS
    ]


def schema_of(part: str) -> dict[str, Any]:
    """JSON Schema of a part of a record's "metrics" (for LOCALISATION: of one k). Numbers of other names are allowed:
    those of newer versions."""
    found = metrics_of(part)
    return {
        "type": "object",
        "required": [each.name for each in found if each.required],
        "properties": {each.name: {"description": each.help, **_kind(each.unit, part)} for each in found},
        "additionalProperties": {"type": ["number", "null"]},
    }


def _kind(unit: str, part: str) -> dict[str, Any]:
    if unit == PERCENT:
        return {"type": ["number", "null"], "minimum": 0, "maximum": 100}
    if unit == NUMBER:
        return {"type": "number"}
    if part in RATES:  # a mean over several triggers
        return {"type": ["number", "null"], "minimum": 0}
    return {"type": "integer", "minimum": 0}


def _measured(part: str, numbers: Answers | Removal | Top | Judged | float) -> Metrics:
    return {each.name: each.value(numbers) for each in metrics_of(part)}


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
    means = {which: _mean([entry[which] for entry in per_trigger]) for which in RATES}
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


def of_test_images(triggered: Bools, score: Floats) -> Metrics:
    """How well a detector tells test images with a trigger from those without. triggered: (M,) bool. score: (M,)."""
    _same_shape("score", score, triggered.shape)
    return _measured(TEST_TIME, Judged(triggered=triggered, score=score))


def encoder(suspicion: float) -> Metrics:
    """What an encoder test says of one encoder; what that is worth shows over many."""
    return _measured(ENCODER, suspicion)


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
        overlaps = np.zeros((2, len(poisoned)))
        has_box = np.zeros(len(poisoned), bool)
    else:
        _same_shape("boxes", boxes, true_boxes.shape)
        overlaps = np.stack(overlap(boxes, true_boxes))
    found = {}
    for k in (k for k in ks if 0 < k <= len(ranked)):
        top = ranked[:k]
        located = top[has_box[top]]
        both = overlaps[:, located]
        found[str(k)] = _measured(LOCALISATION, Top(poisoned=poisoned[top], iou=both[0], cr=both[1]))
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
