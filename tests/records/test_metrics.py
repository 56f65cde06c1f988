"""Metrics: by hand, against scikit-learn, and what holds for any input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from bench.errors import BenchError
from bench.records.metrics import (
    classification,
    clean_removed,
    detection,
    glossary,
    localisation,
    of_each_trigger,
    overlap,
)
from bench.store import canonical

quick = settings(deadline=None, max_examples=60)
NAN, INF = float("nan"), float("inf")


def bools(*values):
    return np.array(values, bool)


# --- classification ---------------------------------------------------------------------------------------

LABELS = np.array([0, 0, 1, 1, 1, 2, 2, 2, 2, 2])
CLEAN = np.array([0, 1, 1, 1, 0, 2, 2, 2, 1, 0])
POISONED = np.array([0, 0, 0, 0, 1, 0, 2, 0, 1, 0])


def test_rates_by_hand_for_target_0():
    """Not of class 0: images 2 to 9, eight of them, five right when clean (2, 3, 5, 6, 7).

    Clean: right are 0, 2, 3, 5, 6, 7 (6 of 10); predicted as 0 among the eight are 4 and 9; among all also 0.
    Triggered: right are 0, 1, 4, 6 (4 of 10); predicted as 0 among the eight are 2, 3, 5, 7, 9; of the five
    right ones 2, 3, 5, 7.
    """
    found = classification(CLEAN, POISONED, LABELS, 0)
    clean = {"acc": 60, "asr": 25, "asr_all": 30, "asr_correct": 0, "false_positives": 2}
    poisoned = {"acc": 40, "asr": 62.5, "asr_all": 70, "asr_correct": 80, "false_positives": 5}
    assert found["clean"] == pytest.approx(clean)
    assert found["poisoned"] == pytest.approx(poisoned)
    assert found["per_trigger"] == [{"target": 0, "clean": clean, "poisoned": poisoned}]


def test_several_triggers_are_averaged_and_listed():
    """Trigger 1 aims at class 2 and always hits: asr 100, acc 50, all five others become false positives."""
    always = np.full(10, 2)
    found = classification(CLEAN, np.stack([POISONED, always]), LABELS, [0, 2])
    first, second = found["per_trigger"]
    assert (first["target"], second["target"]) == (0, 2)
    assert second["poisoned"] == {
        "acc": 50,
        "asr": 100,
        "asr_all": 100,
        "asr_correct": 100,
        "false_positives": 5,
    }
    assert second["clean"]["asr"] == 0
    assert found["poisoned"]["asr"] == pytest.approx((62.5 + 100) / 2)
    assert found["poisoned"]["acc"] == pytest.approx(45)
    assert found["clean"]["asr"] == pytest.approx(12.5)
    assert found["clean"]["acc"] == pytest.approx(60)


def test_a_share_of_nothing_is_none():
    """All images are of the target class: no image can be a success."""
    found = classification(np.array([0, 1]), np.array([0, 0]), np.array([0, 0]), 0)["poisoned"]
    assert found == {"acc": 100, "asr": None, "asr_all": 100, "asr_correct": None, "false_positives": 0}
    nothing = classification(*[np.zeros(0, np.int64)] * 3, 0)["clean"]
    assert (nothing["acc"], nothing["asr"], nothing["asr_all"]) == (None, None, None)


def test_the_mean_passes_over_what_is_undefined():
    labels = np.array([0, 0])
    found = classification(labels, np.array([[0, 0], [1, 0]]), labels, [0, 1])
    assert [entry["poisoned"]["asr"] for entry in found["per_trigger"]] == [None, 50]
    assert found["poisoned"]["asr"] == 50


@pytest.mark.parametrize(
    ("arrays", "target", "complaint"),
    [
        ((CLEAN[:9], POISONED, LABELS), 0, r"pred_clean has the shape \(9,\); expected \(10,\)"),
        ((CLEAN, POISONED, LABELS), [0, 1], r"pred_poisoned has the shape \(1, 10\); expected \(2, 10\)"),
        ((CLEAN, POISONED[:9], LABELS), 0, r"pred_poisoned has the shape \(1, 9\); expected \(1, 10\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, target, complaint):
    with pytest.raises(BenchError, match=complaint):
        classification(*arrays, target)


CLASSES = st.integers(1, 20).flatmap(
    lambda n: st.tuples(*[hnp.arrays(np.int64, n, elements=st.integers(0, 3))] * 3, st.permutations(range(n)))
)


@quick
@given(CLASSES, st.integers(0, 3))
def test_rates_are_percent_and_do_not_depend_on_the_order_of_images(arrays, target):
    clean, poisoned, labels, order = arrays
    found = classification(clean, poisoned, labels, target)
    order = np.array(order)
    assert classification(clean[order], poisoned[order], labels[order], target) == found
    for which in ("clean", "poisoned"):
        rates = dict(found[which])
        assert 0 <= rates.pop("false_positives") <= len(labels)
        assert all(value is None or 0 <= value <= 100 for value in rates.values())
    assert found["clean"]["asr_correct"] in (0, None)
    assert canonical(found), "plain numbers, fit for JSON"


# --- detection --------------------------------------------------------------------------------------------


def test_detection_by_hand():
    """Removed: 0, 1, 2, of which 0 and 1 are poisoned; 3 is missed. Precision 2/3, recall 2/3, F1 2/3.

    Score order: 0 (poisoned), 2, 1 (poisoned), 3 (poisoned), 4. AP = (1/1 + 2/3 + 3/4) / 3 = 29/36.
    AUROC: 0 beats both clean ones, 1 and 3 beat only 4: 4 of 6 pairs.
    """
    found = detection(bools(1, 1, 0, 1, 0), bools(0, 0, 0, 1, 1), np.array([9.0, 5, 7, 3, 1]))
    assert found.pop("removed") == 3
    third = 200 / 3
    assert found == pytest.approx(
        {"precision": third, "recall": third, "f1": third, "auroc": third, "average_precision": 2900 / 36}
    )


def ranked(poisoned, score):
    """(AUROC, average precision) of a score."""
    found = detection(poisoned, np.ones_like(poisoned), score)
    return found["auroc"], found["average_precision"]


def test_equal_scores_count_half():
    poisoned, flat = bools(1, 0, 0, 0), np.ones(4)
    assert ranked(poisoned, flat) == (50, 25)


def test_infinite_scores_are_only_an_order():
    poisoned = bools(1, 1, 0, 0)
    assert ranked(poisoned, np.array([INF, 0, -INF, -INF]))[0] == 100
    assert ranked(poisoned, np.array([INF, -INF, INF, -INF]))[1] == 50


@pytest.mark.parametrize(
    ("poisoned", "keep", "expected"),
    [
        (bools(1, 0), bools(1, 1), (0, None, 0, 0)),
        (bools(0, 0), bools(1, 0), (1, 0, None, 0)),
        (bools(0, 0), bools(1, 1), (0, None, None, None)),
        (bools(1, 1), bools(0, 0), (2, 100, 100, 100)),
        (bools(), bools(), (0, None, None, None)),
    ],
)
def test_edges_of_detection(poisoned, keep, expected):
    found = detection(poisoned, keep, None)
    assert tuple(found[name] for name in ("removed", "precision", "recall", "f1")) == expected
    assert (found["auroc"], found["average_precision"]) == (None, None)
    assert type(found["removed"]) is int


def test_ranking_metrics_need_both_kinds():
    for poisoned in (bools(1, 1), bools(0, 0), bools()):
        score = np.arange(len(poisoned), dtype=float)
        assert ranked(poisoned, score) == (None, None)


def test_a_nan_score_and_a_wrong_shape_are_refused():
    with pytest.raises(BenchError, match="score of 1 images is NaN"):
        detection(bools(1, 0), bools(1, 0), np.array([NAN, 1]))
    with pytest.raises(BenchError, match=r"score has the shape \(1,\)"):
        detection(bools(1, 0), bools(1, 0), np.ones(1))
    with pytest.raises(BenchError, match=r"keep has the shape \(1,\)"):
        detection(bools(1, 0), bools(1), None)


VERDICTS = st.integers(2, 30).flatmap(
    lambda n: st.tuples(
        hnp.arrays(bool, n),
        hnp.arrays(bool, n),
        hnp.arrays(np.float64, n, elements=st.integers(-3, 3).map(float) | st.floats(-1e6, 1e6)),
        st.permutations(range(n)),
    )
)


@quick
@given(VERDICTS)
def test_detection_agrees_with_scikit_learn(arrays):
    from sklearn import metrics

    poisoned, keep, score, _ = arrays
    assume(poisoned.any() and not poisoned.all() and not keep.all())
    found = detection(poisoned, keep, score)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        poisoned, ~keep, average="binary", zero_division=0
    )
    expected = (precision, recall, f1, metrics.roc_auc_score(poisoned, score))
    names = ("precision", "recall", "f1", "auroc", "average_precision")
    assert tuple(found[name] / 100 for name in names) == pytest.approx(
        (*expected, metrics.average_precision_score(poisoned, score))
    )


@quick
@given(VERDICTS)
def test_detection_is_percent_and_does_not_depend_on_the_order_of_images(arrays):
    poisoned, keep, score, order = arrays
    found = detection(poisoned, keep, score)
    order = np.array(order)
    assert detection(poisoned[order], keep[order], score[order]) == pytest.approx(found)
    assert canonical(found), "plain numbers, fit for JSON"
    assert found.pop("removed") == np.sum(~keep)
    assert all(value is None or 0 <= value <= 100 for value in found.values())


def test_clean_images_removed_of_each_class_by_hand():
    """Removed are images 1, 2, 4 and 5; of these 1 is poisoned, 2 is of class b, 4 and 5 of class c."""
    labels, poisoned = np.array([0, 0, 1, 1, 2, 2]), bools(0, 1, 0, 0, 0, 0)
    keep = bools(1, 0, 0, 1, 0, 0)
    assert clean_removed(labels, ["a", "b", "c", "d"], poisoned, keep) == {"a": 0, "b": 1, "c": 2, "d": 0}
    with pytest.raises(BenchError, match="labels"):
        clean_removed(labels[1:], ["a", "b", "c"], poisoned, keep)


@quick
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=30))
def test_clean_images_removed_are_the_removed_without_the_poisoned(rows):
    labels = np.array([row[0] for row in rows], int)
    poisoned, keep = (np.array([row[place] for row in rows], bool) for place in (1, 2))
    found = clean_removed(labels, "abcd", poisoned, keep)
    assert found == {name: sum(row == (place, False, False) for row in rows) for place, name in enumerate("abcd")}
    assert canonical(found), "plain numbers, fit for JSON"


# --- localisation -----------------------------------------------------------------------------------------


def boxes(*rows):
    return np.array(rows, np.int64).reshape(-1, 4)


NONE = (-1, -1, -1, -1)


@pytest.mark.parametrize(
    ("found", "true", "iou", "cr"),
    [
        ((0, 0, 4, 4), (0, 0, 4, 4), 1, 1),
        ((0, 0, 4, 4), (2, 2, 4, 4), 4 / 28, 4 / 16),
        ((0, 0, 6, 6), (1, 1, 2, 3), 6 / 36, 1),
        ((1, 1, 2, 3), (0, 0, 6, 6), 6 / 36, 6 / 36),
        ((0, 0, 4, 4), (0, 4, 4, 4), 0, 0),
        ((0, 0, 4, 4), (9, 9, 4, 4), 0, 0),
        ((0, 0, 2, 8), (0, 0, 8, 2), 4 / 28, 4 / 16),
        (NONE, (0, 0, 4, 4), 0, 0),
        ((0, 0, 4, 4), NONE, 0, 0),
        (NONE, NONE, 0, 0),
        ((0, 0, 0, 4), (0, 0, 4, 4), 0, 0),
    ],
)
def test_overlap_by_hand(found, true, iou, cr):
    assert [part.tolist() for part in overlap(boxes(found), boxes(true))] == [[iou], [cr]]


def test_localisation_by_hand():
    """Six images scored, in the order 5, 0, 1, 2, 4, 3; poisoned are 0, 1, 5 and the unscored 6.

    0 is found exactly (IoU 1, CR 1), 1 is missed (0, 0), 5 lies in a window of four times its area (1/4, 1).
    """
    poisoned = bools(1, 1, 0, 0, 0, 1, 1)
    true = boxes((2, 2, 4, 4), (0, 0, 4, 4), NONE, NONE, NONE, (5, 5, 2, 2), (1, 1, 1, 1))
    found = boxes((2, 2, 4, 4), (8, 8, 4, 4), (0, 0, 4, 4), *[(0, 0, 9, 9)] * 2, (4, 4, 4, 4), NONE)
    score = np.array([8, 7, 6, 1, 2, 9, NAN])
    metrics = localisation(poisoned, true, score, found, ks=(1, 2, 5, 6, 7))
    assert list(metrics) == ["1", "2", "5", "6"]
    assert metrics["1"] == pytest.approx({"accuracy": 100, "hit": 100, "iou": 25, "cr": 100})
    assert metrics["2"] == pytest.approx({"accuracy": 100, "hit": 100, "iou": 62.5, "cr": 100})
    assert metrics["5"] == pytest.approx({"accuracy": 60, "hit": 200 / 3, "iou": 125 / 3, "cr": 200 / 3})
    assert metrics["6"] == pytest.approx({"accuracy": 50, "hit": 200 / 3, "iou": 125 / 3, "cr": 200 / 3})


def test_of_equal_scores_the_lower_index_comes_first():
    poisoned = bools(0, 1, 0, 1)
    same = boxes(*[(0, 0, 2, 2)] * 4)
    metrics = localisation(poisoned, same, np.array([1.0, 2, 2, 2]), same, ks=(1, 2, 3))
    assert [metrics[k]["accuracy"] for k in ("1", "2", "3")] == pytest.approx([100, 50, 200 / 3])


def test_the_order_of_many_equal_scores_is_that_of_the_images():
    n = 1000
    box, poisoned = np.tile([0, 0, 2, 2], (n, 1)), np.arange(n) < 10
    assert localisation(poisoned, box, np.ones(n), box, ks=(10,))["10"]["accuracy"] == 100


def test_default_ks_up_to_the_number_scored():
    n = 120
    score = np.where(np.arange(n) < 100, 1.0, NAN)
    box = np.tile([0, 0, 2, 2], (n, 1))
    assert list(localisation(np.ones(n, bool), box, score, box)) == ["5", "10", "20", "50", "100"]


def test_what_has_no_place_has_no_overlap():
    poisoned, score, box = bools(1, 1), np.array([2.0, 1]), boxes((0, 0, 2, 2), (0, 0, 2, 2))
    spread = localisation(poisoned, boxes(NONE, NONE), score, box, ks=(1,))
    assert spread == {"1": {"accuracy": 100, "hit": None, "iou": None, "cr": None}}
    mixed = localisation(poisoned, boxes(NONE, (0, 0, 2, 2)), score, box, ks=(2,))
    assert mixed == {"2": {"accuracy": 100, "hit": 100, "iou": 100, "cr": 100}}
    unlocated = localisation(poisoned, box, score, None, ks=(1,))
    assert unlocated == {"1": {"accuracy": 100, "hit": None, "iou": None, "cr": None}}
    clean = localisation(bools(0, 1), boxes(NONE, (0, 0, 2, 2)), score, box, ks=(1,))
    assert clean == {"1": {"accuracy": 0, "hit": None, "iou": None, "cr": None}}
    missing = localisation(poisoned, box, score, boxes(NONE, (0, 0, 2, 2)), ks=(2,))
    assert missing == {"2": {"accuracy": 100, "hit": 50, "iou": 50, "cr": 50}}
    assert localisation(poisoned, box, None, None) == {}
    assert localisation(poisoned, box, np.full(2, NAN), box) == {}


# --- several triggers -------------------------------------------------------------------------------------

# Images 0, 1 carry trigger 0 (class 4), images 2, 3, 4 trigger 1 (class 7), images 5, 6, 7 nothing.
TRIGGER = np.array([0, 0, 1, 1, 1, -1, -1, -1])
TRUE = boxes(*[(0, 0, 2, 2)] * 5, *[NONE] * 3)
FOUND = boxes((0, 0, 2, 2), (0, 1, 2, 2), (0, 0, 4, 4), (4, 4, 2, 2), NONE, *[(0, 0, 2, 2)] * 3)


def test_each_trigger_is_detected_by_hand():
    """Removed: 0, 2, 3, 5. Trigger 0: 1 of 2, trigger 1: 2 of 3; the clean 5 counts against neither.

    Scores fall from image 0 to 7, but the clean 5 comes first. Trigger 0: each beats 6 and 7, 4 of 6 pairs;
    trigger 1 likewise, 6 of 9, for those of trigger 0 are left out.
    """
    score = np.array([8.0, 7, 6, 5, 4, 9, 2, 1])
    found = of_each_trigger(TRIGGER, (4, 7), TRUE, bools(0, 1, 0, 0, 1, 0, 1, 1), score, None, None)
    assert [entry["target"] for entry in found] == [4, 7]
    assert found[0]["detection"] == pytest.approx({"poisoned": 2, "removed": 1, "recall": 50, "auroc": 200 / 3})
    assert found[1]["detection"] == pytest.approx({"poisoned": 3, "removed": 2, "recall": 200 / 3, "auroc": 200 / 3})
    assert [entry["localisation"] for entry in found] == [{}, {}]
    unscored = of_each_trigger(TRIGGER, (4, 7), TRUE, np.ones(8, bool), None, None, None)
    assert [entry["detection"]["auroc"] for entry in unscored] == [None, None]
    assert [entry["detection"]["recall"] for entry in unscored] == [0, 0]
    assert canonical(found), "plain numbers, fit for JSON"


def test_each_trigger_is_located_by_hand():
    """The top 5 are 0, 2, 5, 1, 3. Trigger 0: 0 exactly, 1 half covered (IoU 2 / 6, CR 2 / 4).

    Trigger 1: 2 in a window of four times its area (IoU 4 / 16, CR 1), 3 missed. Sum of the shares: 4 of 5.
    """
    order = np.array([8.0, 5, 7, 4, 1, 6, NAN, NAN])
    found = of_each_trigger(TRIGGER, (4, 7), TRUE, np.ones(8, bool), None, order, FOUND)
    first, second = (entry["localisation"]["5"] for entry in found)
    assert first == pytest.approx({"accuracy": 40, "hit": 100, "iou": 100 * (1 + 1 / 3) / 2, "cr": 75})
    assert second == pytest.approx({"accuracy": 40, "hit": 50, "iou": 12.5, "cr": 50})
    whole = localisation(TRIGGER >= 0, TRUE, order, FOUND)["5"]
    assert whole["accuracy"] == first["accuracy"] + second["accuracy"] == 80
    assert whole["cr"] == pytest.approx((75 + 50) / 2)


def test_a_trigger_that_nobody_carries_or_that_is_everywhere():
    spread, nobody = of_each_trigger(
        np.array([0, 0, 0, 0, 0, -1, -1, -1]), (1, 2), np.full((8, 4), -1), np.ones(8, bool), None, np.ones(8), FOUND
    )
    assert spread["localisation"]["5"] == {"accuracy": 100, "hit": None, "iou": None, "cr": None}
    assert nobody["detection"] == {"poisoned": 0, "removed": 0, "recall": None, "auroc": None}
    assert nobody["localisation"]["5"] == {"accuracy": 0, "hit": None, "iou": None, "cr": None}


@quick
@given(VERDICTS, st.integers(1, 3), st.integers(0, 99))
def test_triggers_together_are_the_whole(arrays, count, seed):
    poisoned, keep, score, _ = arrays
    drawn = np.random.default_rng(seed).integers(0, count, len(poisoned))
    trigger = np.where(poisoned, drawn, -1)
    nowhere = np.full((len(poisoned), 4), -1)
    found = [e["detection"] for e in of_each_trigger(trigger, range(count), nowhere, keep, score, None, None)]
    whole = detection(poisoned, keep, score)
    assert sum(each["poisoned"] for each in found) == poisoned.sum()
    assert sum(each["removed"] for each in found) == (poisoned & ~keep).sum()
    pairs = [each["auroc"] * each["poisoned"] for each in found if each["auroc"] is not None]
    assert (whole["auroc"] or 0) * poisoned.sum() == pytest.approx(sum(pairs))


@st.composite
def localisations(draw):
    n = draw(st.integers(1, 12))
    box = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.integers(1, 9)) | st.just(NONE)
    score = draw(st.lists(st.integers(0, 50), min_size=n, max_size=n, unique=True))
    columns = [boxes(*draw(st.lists(box, min_size=n, max_size=n))) for _ in range(2)]
    return draw(hnp.arrays(bool, n)), np.array(score, float), *columns, draw(st.permutations(range(n)))


@quick
@given(localisations())
def test_localisation_is_percent_and_does_not_depend_on_the_order_of_images(arrays):
    poisoned, score, true, found, order = arrays
    metrics = localisation(poisoned, true, score, found, ks=(1, 2, 5))
    order = np.array(order)
    again = localisation(poisoned[order], true[order], score[order], found[order], ks=(1, 2, 5))
    assert again.keys() == metrics.keys()
    for k, values in metrics.items():
        assert again[k] == pytest.approx(values)
        assert all(value is None or 0 <= value <= 100 for value in values.values())
        assert values["iou"] is None or values["iou"] <= values["cr"] + 1e-9


@quick
@given(localisations())
def test_overlap_of_pixels_is_the_same(arrays):
    """Paint both boxes on a grid and count."""
    _, _, true, found, _ = arrays
    iou, cr = overlap(found, true)
    for row, (a, b) in enumerate(zip(found, true, strict=True)):
        grids = np.zeros((2, 20, 20), bool)
        for grid, (top, left, height, width) in zip(grids, (a, b), strict=True):
            if top >= 0:
                grid[top : top + height, left : left + width] = True
        shared = (grids[0] & grids[1]).sum()
        top = localisation(bools(1), true[row : row + 1], np.ones(1), found[row : row + 1], ks=(1,))["1"]
        assert top["hit"] == (None if b[0] < 0 else 100 * (shared > 0))
        assert iou[row] == pytest.approx(shared / max(1, (grids[0] | grids[1]).sum()))
        assert cr[row] == pytest.approx(shared / max(1, grids[1].sum()))


# --- the table --------------------------------------------------------------------------------------------


def test_every_metric_is_described_once():
    listed = glossary()
    places = [place for each in listed for place in each["keys"].split(", ")]
    assert len(set(places)) == len(places)
    assert all(each["title"] and each["help"].endswith(".") for each in listed)
    (hit,) = [each for each in listed if each["title"] == "hit@k"]
    assert (hit["keys"], hit["unit"], hit["better"]) == ("localisation.hit", "%", "higher")
