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
    encoder,
    glossary,
    localisation,
    of_each_trigger,
    of_test_images,
    overlap,
)
from bench.store import canonical

quick = settings(deadline=None, max_examples=60)
NAN, INF = float("nan"), float("inf")
LABELS = np.array([0, 0, 1, 1, 1, 2, 2, 2, 2, 2])
CLEAN = np.array([0, 1, 1, 1, 0, 2, 2, 2, 1, 0])
POISONED = np.array([0, 0, 0, 0, 1, 0, 2, 0, 1, 0])
RATES = ("acc", "asr", "asr_all", "asr_correct", "false_positives")
PLACE = ("accuracy", "hit", "iou", "cr")
MORE = ("false_removal", "precision_at_p", "recall_at_1")
NOWHERE = (-1, -1, -1, -1)


def bools(*values):
    return np.array(values, bool)


def boxes(*rows):
    return np.array(rows, np.int64).reshape(-1, 4)


def named(names, values):
    return pytest.approx(dict(zip(names, values, strict=True)))


def shares(values, *counts):
    """All of `values` are percent or undefined, but for those of the names `counts`; plain numbers, fit for JSON."""
    assert canonical(values)
    assert all(value is None or 0 <= value <= 100 for name, value in values.items() if name not in counts)


def test_rates_by_hand_of_one_trigger_and_of_several():
    """Not of class 0: images 2 to 9, eight of them, five right when clean (2, 3, 5, 6, 7).

    Clean: right are 0, 2, 3, 5, 6, 7 (6 of 10); predicted as 0 among the eight are 4 and 9; among all also 0.
    Triggered: right are 0, 1, 4, 6 (4 of 10); predicted as 0 among the eight are 2, 3, 5, 7, 9; of the five
    right ones 2, 3, 5, 7. A second trigger aims at class 2 and always hits: asr 100, acc 50.
    """
    clean, poisoned = (60, 25, 30, 0, 2), (40, 62.5, 70, 80, 5)
    one = classification(CLEAN, POISONED, LABELS, 0)
    assert (one["clean"], one["poisoned"]) == (named(RATES, clean), named(RATES, poisoned))
    found = classification(CLEAN, np.stack([POISONED, np.full(10, 2)]), LABELS, [0, 2])
    first, second = found["per_trigger"]
    assert one["per_trigger"] == [first] == [{"target": 0, **{part: one[part] for part in ("clean", "poisoned")}}]
    assert second["target"] == 2
    assert second["poisoned"] == named(RATES, (50, 100, 100, 100, 5))
    assert second["clean"]["asr"] == 0
    means = [found[part][name] for part in ("clean", "poisoned") for name in ("acc", "asr")]
    assert means == pytest.approx([60, 12.5, 45, (62.5 + 100) / 2])


def test_a_share_of_nothing_is_none_and_the_mean_passes_over_it():
    target = np.array([0, 0])
    assert classification(np.array([0, 1]), target, target, 0)["poisoned"] == named(RATES, (100, None, 100, None, 0))
    nothing = classification(*[np.zeros(0, np.int64)] * 3, 0)["clean"]
    assert [nothing[name] for name in RATES] == [None, None, None, None, 0]
    found = classification(target, np.array([[0, 0], [1, 0]]), target, [0, 1])
    assert [entry["poisoned"]["asr"] for entry in found["per_trigger"]] == [None, 50]
    assert found["poisoned"]["asr"] == 50


@pytest.mark.parametrize(
    ("function", "arguments", "complaint"),
    [
        (classification, (CLEAN[:9], POISONED, LABELS, 0), r"pred_clean has the shape \(9,\); expected \(10,\)"),
        (classification, (CLEAN, POISONED, LABELS, [0, 1]), r"pred_poisoned .* \(1, 10\); expected \(2, 10\)"),
        (classification, (CLEAN, POISONED[:9], LABELS, 0), r"pred_poisoned .* \(1, 9\); expected \(1, 10\)"),
        (detection, (bools(1, 0), bools(1, 0), np.array([NAN, 1])), "score of 1 image is NaN"),
        (detection, (bools(1, 0), bools(1, 0), np.ones(1)), r"score has the shape \(1,\)"),
        (detection, (bools(1, 0), bools(1), None), r"keep has the shape \(1,\)"),
        (clean_removed, (np.zeros(1, int), "ab", bools(1, 0), bools(1, 0)), "labels"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(function, arguments, complaint):
    with pytest.raises(BenchError, match=complaint):
        function(*arguments)


CLASSES = st.integers(1, 20).flatmap(
    lambda n: st.tuples(*[hnp.arrays(np.int64, n, elements=st.integers(0, 3))] * 3, st.permutations(range(n)))
)


@quick
@given(CLASSES, st.integers(0, 3))
def test_rates_are_percent_and_do_not_depend_on_the_order_of_images(arrays, target):
    clean, poisoned, labels, order = map(np.array, arrays)
    found = classification(clean, poisoned, labels, target)
    assert classification(clean[order], poisoned[order], labels[order], target) == found
    for which in ("clean", "poisoned"):
        shares(found[which], "false_positives")
        assert 0 <= found[which]["false_positives"] <= len(labels)
    assert found["clean"]["asr_correct"] in (0, None)


def test_detection_by_hand():
    """Removed: 0, 1, 2, of which 0 and 1 are poisoned; 3 is missed. Precision 2/3, recall 2/3, F1 2/3.

    Score order: 0 (poisoned), 2, 1 (poisoned), 3 (poisoned), 4. AP = (1/1 + 2/3 + 3/4) / 3 = 29/36.
    AUROC: 0 beats both clean ones, 1 and 3 beat only 4: 4 of 6 pairs.
    """
    found = detection(bools(1, 1, 0, 1, 0), bools(0, 0, 0, 1, 1), np.array([9.0, 5, 7, 3, 1]))
    names = ("removed", "precision", "recall", "f1", "auroc", "average_precision")
    assert {name: found[name] for name in names} == named(names, (3, *[200 / 3] * 4, 2900 / 36))


@pytest.mark.parametrize(
    ("poisoned", "score", "removed", "expected"),
    [
        # Of the three highest (9, 7, 5) two are poisoned. No clean image may go: above 7 there is one of three.
        ((1, 1, 0, 1, 0), (9, 5, 7, 3, 1), (1, 1, 1, 0, 0), (50, 200 / 3, 100 / 3)),
        # Two places: the first is poisoned; four images, one of them poisoned, tie for the second. 1 + 1/4 of 2.
        ((1, 1, 0, 0, 0), (2, 1, 1, 1, 1), (0, 0, 0, 0, 0), (0, 62.5, 50)),
        # All tie: as by chance, two fifths; no threshold parts them.
        ((1, 1, 0, 0, 0), (4, 4, 4, 4, 4), (1, 1, 1, 1, 1), (100, 40, 0)),
        ((1, 0), (INF, -INF), (1, 0), (0, 100, 100)),
        ((0, 0), (0, 1), (1, 0), (50, None, None)),  # nothing is poisoned
        ((1, 1), (0, 1), (1, 0), (None, None, None)),  # nothing is clean
    ],
)
def test_the_measures_of_false_removal_and_of_the_highest_scores_by_hand(poisoned, score, removed, expected):
    found = detection(bools(*poisoned), ~bools(*removed), np.array(score, float))
    assert tuple(found[name] for name in MORE) == pytest.approx(expected)
    without = detection(bools(*poisoned), ~bools(*removed), None)
    assert [without[name] for name in MORE] == [found["false_removal"], None, None]


def test_one_percent_of_the_clean_images_may_be_lost():
    """200 clean images: two may go. The third clean one stands above the last poisoned one."""
    poisoned = bools(1, 0, 1, 0, 1, 0, 1, *[0] * 197)
    found = detection(poisoned, np.ones(204, bool), -np.arange(204.0))
    assert found["recall_at_1"] == 75
    assert detection(poisoned[:-1], np.ones(203, bool), -np.arange(203.0))["recall_at_1"] == 50, "of 199 only one"


@pytest.mark.parametrize(
    ("poisoned", "score", "auroc", "precision"),
    [
        ((1, 0, 0, 0), (1, 1, 1, 1), 50, 25),  # equal scores count half
        ((1, 1, 0, 0), (INF, 0, -INF, -INF), 100, 100),  # infinities are only an order
        ((1, 1, 0, 0), (INF, -INF, INF, -INF), 50, 50),
        ((1, 1), (0, 1), None, None),  # both kinds are needed
        ((0, 0), (0, 1), None, None),
        ((), (), None, None),
    ],
)
def test_edges_of_a_score(poisoned, score, auroc, precision):
    found = detection(bools(*poisoned), np.ones(len(poisoned), bool), np.array(score, float))
    assert (found["auroc"], found["average_precision"]) == (auroc, precision)


@pytest.mark.parametrize(
    ("poisoned", "keep", "expected"),
    [
        ((1, 0), (1, 1), (0, None, 0, 0)),
        ((0, 0), (1, 0), (1, 0, None, 0)),
        ((0, 0), (1, 1), (0, None, None, None)),
        ((1, 1), (0, 0), (2, 100, 100, 100)),
        ((), (), (0, None, None, None)),
    ],
)
def test_edges_of_detection(poisoned, keep, expected):
    found = detection(bools(*poisoned), bools(*keep), None)
    names = ("removed", "precision", "recall", "f1", "auroc", "average_precision")
    assert tuple(found[name] for name in names) == (*expected, None, None)
    assert type(found["removed"]) is int


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
    expected = metrics.precision_recall_fscore_support(poisoned, ~keep, average="binary", zero_division=0)[:3]
    ranked = (metrics.roc_auc_score(poisoned, score), metrics.average_precision_score(poisoned, score))
    names = ("precision", "recall", "f1", "auroc", "average_precision")
    assert [found[name] / 100 for name in names] == pytest.approx([*expected, *ranked])


@quick
@given(VERDICTS, st.integers(0, 99))
def test_the_same_measures_by_a_second_implementation(arrays, seed):
    """Each threshold is tried, and ties are broken by chance many times over."""
    poisoned, keep, score, _ = arrays
    assume(poisoned.any() and not poisoned.all())
    found, clean = detection(poisoned, keep, score), ~poisoned
    assert found["false_removal"] == pytest.approx(100 * np.mean(~keep[clean]))
    cuts = [score >= limit for limit in (*score, INF)]
    assert found["recall_at_1"] == pytest.approx(
        max(100 * np.mean(cut[poisoned]) for cut in cuts if np.mean(cut[clean]) <= 0.01)
    )
    rng, count = np.random.default_rng(seed), poisoned.sum()
    orders = [np.lexsort((rng.random(len(score)), -score))[:count] for _ in range(400)]
    assert found["precision_at_p"] == pytest.approx(100 * np.mean([poisoned[order] for order in orders]), abs=10)


@quick
@given(VERDICTS, st.integers(1, 3), st.integers(0, 99))
def test_detection_is_percent_in_any_order_and_the_triggers_together_are_the_whole(arrays, count, seed):
    poisoned, keep, score, order = map(np.array, arrays)
    whole = detection(poisoned, keep, score)
    assert detection(poisoned[order], keep[order], score[order]) == pytest.approx(whole)
    shares(whole, "removed")
    assert whole["removed"] == np.sum(~keep)
    trigger = np.where(poisoned, np.random.default_rng(seed).integers(0, count, len(poisoned)), -1)
    nowhere = np.full((len(poisoned), 4), -1)
    found = [e["detection"] for e in of_each_trigger(trigger, range(count), nowhere, keep, score, None, None)]
    assert sum(each["poisoned"] for each in found) == poisoned.sum()
    assert sum(each["removed"] for each in found) == (poisoned & ~keep).sum()
    pairs = [each["auroc"] * each["poisoned"] for each in found if each["auroc"] is not None]
    assert (whole["auroc"] or 0) * poisoned.sum() == pytest.approx(sum(pairs))


@quick
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=30))
def test_clean_images_removed_are_the_removed_without_the_poisoned(rows):
    labels = np.array([row[0] for row in rows], int)
    poisoned, keep = (np.array([row[place] for row in rows], bool) for place in (1, 2))
    found = clean_removed(labels, "abcd", poisoned, keep)
    assert found == {name: sum(row == (place, False, False) for row in rows) for place, name in enumerate("abcd")}
    assert canonical(found), "plain numbers, fit for JSON"


@pytest.mark.parametrize(
    ("found", "true", "iou", "cr"),
    [
        ((0, 0, 4, 4), (0, 0, 4, 4), 1, 1),
        ((0, 0, 4, 4), (2, 2, 4, 4), 4 / 28, 4 / 16),
        ((0, 0, 6, 6), (1, 1, 2, 3), 6 / 36, 1),
        ((1, 1, 2, 3), (0, 0, 6, 6), 6 / 36, 6 / 36),
        ((0, 0, 4, 4), (0, 4, 4, 4), 0, 0),
        (NOWHERE, (0, 0, 4, 4), 0, 0),
        ((0, 0, 4, 4), NOWHERE, 0, 0),
        (NOWHERE, NOWHERE, 0, 0),
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
    true = boxes((2, 2, 4, 4), (0, 0, 4, 4), *[NOWHERE] * 3, (5, 5, 2, 2), (1, 1, 1, 1))
    found = boxes((2, 2, 4, 4), (8, 8, 4, 4), (0, 0, 4, 4), *[(0, 0, 9, 9)] * 2, (4, 4, 4, 4), NOWHERE)
    metrics = localisation(poisoned, true, np.array([8, 7, 6, 1, 2, 9, NAN]), found, ks=(1, 2, 5, 6, 7))
    expected = {"1": (100, 100, 25, 100), "2": (100, 100, 62.5, 100)}
    expected |= {k: (accuracy, 200 / 3, 125 / 3, 200 / 3) for k, accuracy in (("5", 60), ("6", 50))}
    assert metrics == {k: named(PLACE, values) for k, values in expected.items()}


def test_of_equal_scores_the_lower_index_comes_first_and_ks_go_up_to_the_number_scored():
    poisoned, same = bools(0, 1, 0, 1), boxes(*[(0, 0, 2, 2)] * 4)
    metrics = localisation(poisoned, same, np.array([1.0, 2, 2, 2]), same, ks=(1, 2, 3))
    assert [metrics[k]["accuracy"] for k in ("1", "2", "3")] == pytest.approx([100, 50, 200 / 3])
    n = 1000
    box, score = np.tile([0, 0, 2, 2], (n, 1)), np.where(np.arange(n) < 100, 1.0, NAN)
    many = localisation(np.arange(n) < 10, box, score, box)
    assert list(many) == ["5", "10", "20", "50", "100"]
    assert many["10"]["accuracy"] == 100


@pytest.mark.parametrize(
    ("poisoned", "true", "found", "expected"),
    [
        ((1, 1), (NOWHERE, NOWHERE), ((0, 0, 2, 2), (0, 0, 2, 2)), (100, None, None, None)),  # all over the image
        ((1, 1), (NOWHERE, (0, 0, 2, 2)), ((0, 0, 2, 2), (0, 0, 2, 2)), (100, 100, 100, 100)),
        ((1, 1), ((0, 0, 2, 2), (0, 0, 2, 2)), None, (100, None, None, None)),  # the defense locates nothing
        ((0, 0), (NOWHERE, (0, 0, 2, 2)), ((0, 0, 2, 2), (0, 0, 2, 2)), (0, None, None, None)),
        ((1, 1), ((0, 0, 2, 2), (0, 0, 2, 2)), (NOWHERE, (0, 0, 2, 2)), (100, 50, 50, 50)),
    ],
)
def test_what_has_no_place_has_no_overlap(poisoned, true, found, expected):
    score, windows = np.array([2.0, 1]), None if found is None else boxes(*found)
    assert localisation(bools(*poisoned), boxes(*true), score, windows, ks=(2,)) == {"2": named(PLACE, expected)}
    for nothing in (None, np.full(2, NAN)):
        assert localisation(bools(*poisoned), boxes(*true), nothing, windows) == {}


# Images 0, 1 carry trigger 0 (class 4), images 2, 3, 4 trigger 1 (class 7), images 5, 6, 7 nothing.
TRIGGER = np.array([0, 0, 1, 1, 1, -1, -1, -1])
TRUE = boxes(*[(0, 0, 2, 2)] * 5, *[NOWHERE] * 3)
FOUND = boxes((0, 0, 2, 2), (0, 1, 2, 2), (0, 0, 4, 4), (4, 4, 2, 2), NOWHERE, *[(0, 0, 2, 2)] * 3)
OF_ONE = ("poisoned", "removed", "recall", "auroc")


def test_each_trigger_is_detected_by_hand():
    """Removed: 0, 2, 3, 5. Trigger 0: 1 of 2, trigger 1: 2 of 3; the clean 5 counts against neither.

    Scores fall from image 0 to 7, but the clean 5 comes first. Trigger 0: each beats 6 and 7, 4 of 6 pairs;
    trigger 1 likewise, 6 of 9, for those of trigger 0 are left out.
    """
    score = np.array([8.0, 7, 6, 5, 4, 9, 2, 1])
    found = of_each_trigger(TRIGGER, (4, 7), TRUE, bools(0, 1, 0, 0, 1, 0, 1, 1), score, None, None)
    assert [entry["target"] for entry in found] == [4, 7]
    for entry, expected in zip(found, ((2, 1, 50, 200 / 3), (3, 2, 200 / 3, 200 / 3)), strict=True):
        assert entry["detection"] == named(OF_ONE, expected)
        assert entry["localisation"] == {}
    unscored = of_each_trigger(TRIGGER, (4, 7), TRUE, np.ones(8, bool), None, None, None)
    assert [(entry["detection"]["recall"], entry["detection"]["auroc"]) for entry in unscored] == [(0, None)] * 2
    assert canonical(found), "plain numbers, fit for JSON"


def test_each_trigger_is_located_by_hand():
    """The top 5 are 0, 2, 5, 1, 3. Trigger 0: 0 exactly, 1 half covered (IoU 2 / 6, CR 2 / 4).

    Trigger 1: 2 in a window of four times its area (IoU 4 / 16, CR 1), 3 missed. Sum of the shares: 4 of 5.
    """
    order = np.array([8.0, 5, 7, 4, 1, 6, NAN, NAN])
    found = of_each_trigger(TRIGGER, (4, 7), TRUE, np.ones(8, bool), None, order, FOUND)
    first, second = (entry["localisation"]["5"] for entry in found)
    assert first == named(PLACE, (40, 100, 100 * (1 + 1 / 3) / 2, 75))
    assert second == named(PLACE, (40, 50, 12.5, 50))
    whole = localisation(TRIGGER >= 0, TRUE, order, FOUND)["5"]
    assert whole["accuracy"] == 80
    assert whole["cr"] == pytest.approx((75 + 50) / 2)


def test_a_trigger_that_nobody_carries_or_that_is_everywhere():
    trigger = np.array([0, 0, 0, 0, 0, -1, -1, -1])
    found = of_each_trigger(trigger, (1, 2), np.full((8, 4), -1), np.ones(8, bool), None, np.ones(8), FOUND)
    spread, nobody = (entry["localisation"]["5"] for entry in found)
    assert (spread, nobody) == (named(PLACE, (100, None, None, None)), named(PLACE, (0, None, None, None)))
    assert found[1]["detection"] == named(OF_ONE, (0, 0, None, None))


@st.composite
def localisations(draw):
    n = draw(st.integers(1, 12))
    box = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.integers(1, 9)) | st.just(NOWHERE)
    score = draw(st.lists(st.integers(0, 50), min_size=n, max_size=n, unique=True))
    columns = [boxes(*draw(st.lists(box, min_size=n, max_size=n))) for _ in range(2)]
    return draw(hnp.arrays(bool, n)), np.array(score, float), *columns, draw(st.permutations(range(n)))


@quick
@given(localisations())
def test_localisation_is_percent_in_any_order_and_its_overlap_that_of_pixels(arrays):
    """Each pair of boxes is painted on a grid and counted."""
    poisoned, score, true, found, order = map(np.array, arrays)
    metrics = localisation(poisoned, true, score, found, ks=(1, 2, 5))
    again = localisation(poisoned[order], true[order], score[order], found[order], ks=(1, 2, 5))
    assert again == {k: pytest.approx(values) for k, values in metrics.items()}
    for values in metrics.values():
        shares(values)
        assert values["iou"] is None or values["iou"] <= values["cr"] + 1e-9
    iou, cr = overlap(found, true)
    for row, pair in enumerate(zip(found, true, strict=True)):
        grids = np.zeros((2, 20, 20), bool)
        for grid, (top, left, height, width) in zip(grids, pair, strict=True):
            if top >= 0:
                grid[top : top + height, left : left + width] = True
        shared = (grids[0] & grids[1]).sum()
        one = localisation(bools(1), true[row : row + 1], np.ones(1), found[row : row + 1], ks=(1,))["1"]
        assert one["hit"] == (None if pair[1][0] < 0 else 100 * (shared > 0))
        assert iou[row] == pytest.approx(shared / max(1, (grids[0] | grids[1]).sum()))
        assert cr[row] == pytest.approx(shared / max(1, grids[1].sum()))


def test_every_metric_is_described_once():
    listed = glossary()
    places = [place for each in listed for place in each["keys"].split(", ")]
    assert len(set(places)) == len(places)
    assert all(each["title"] and each["help"].endswith(".") for each in listed)
    (hit,) = [each for each in listed if each["title"] == "hit@k"]
    assert (hit["keys"], hit["unit"], hit["better"]) == ("localisation.hit", "%", "higher")


def test_a_detector_s_numbers_by_hand():
    """Four with a trigger, five without; scores 9 8 5 1 and 8 4 3 2 1.

    Pairs won: 9 beats 5, 8 beats 4 and ties 1 (4.5), 5 beats 4, 1 ties 1 (0.5): 14 of 20. Neither 1 nor 5 % of five is
    an image, so the threshold is over 8, and one of four is over it. With 20 without (7, and nineteen times 2) one may
    be over it at 5 %: at 1 % 9 and 8 are found, at 5 % also 5.
    """
    triggered = bools(*[1] * 4, *[0] * 5)
    found = of_test_images(triggered, np.array([9.0, 8, 5, 1, 8, 4, 3, 2, 1]))
    assert found == {"clean": 5, "triggered": 4, "auroc": pytest.approx(70), "tpr_at_1": 25.0, "tpr_at_5": 25.0}
    many = bools(*[1] * 4, *[0] * 20)
    found = of_test_images(many, np.array([9.0, 8, 5, 1, 7, *[2] * 19]))
    assert (found["tpr_at_1"], found["tpr_at_5"]) == (50.0, 75.0)
    nothing = of_test_images(bools(0, 0), np.array([1.0, 2]))
    assert nothing == {"clean": 2, "triggered": 0, "auroc": None, "tpr_at_1": None, "tpr_at_5": None}
    with pytest.raises(BenchError, match=r"score has the shape \(3,\)"):
        of_test_images(bools(0, 1), np.zeros(3))
    assert encoder(np.float64(-0.5)) == {"score": -0.5}


@quick
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=2, max_size=200))
def test_a_detector_s_numbers_are_those_of_scikit_learn(rows):
    from sklearn.metrics import roc_auc_score, roc_curve

    triggered, score = (np.array(column) for column in zip(*rows, strict=True))
    assume(triggered.any() and not triggered.all())
    found = of_test_images(triggered, score.astype(float))
    assert found["auroc"] == pytest.approx(100 * roc_auc_score(triggered, score))
    lost, hits, _ = roc_curve(triggered, score, drop_intermediate=False)
    for name, share in (("tpr_at_1", 0.01), ("tpr_at_5", 0.05)):
        assert found[name] == pytest.approx(100 * hits[lost <= share + 1e-12].max())
    shares(found, "clean", "triggered")
