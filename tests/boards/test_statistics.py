"""Intervals, ranks and comparisons: by hand, against scipy, and in words."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from bench.boards import BoardLine, Group, Leaderboard, SeedResult
from bench.boards.compare import chosen, comparisons
from bench.boards.ranks import Comparisons, ranks
from bench.boards.statistics import mean_interval, paired
from bench.errors import BenchError

quick = settings(deadline=None, max_examples=60)
VALUES = st.lists(st.floats(0, 100), min_size=2, max_size=8)


def by_seed(*values):
    return {(seed, "a threat model"): float(value) for seed, value in enumerate(values)}


def test_a_mean_and_its_interval_by_hand():
    """1, 2, 3: mean 2, deviation 1; t of two degrees of freedom at 97.5 % is 4.3027: 4.3027 / sqrt 3 = 2.4841."""
    assert mean_interval([1, 2, 3]) == (2, pytest.approx(2.4841, abs=1e-4))
    assert mean_interval([5, 5, 5]) == (5, 0)
    mean, half = mean_interval([7])
    assert (mean, math.isnan(half)) == (7, True)
    assert all(map(math.isnan, mean_interval([])))


def test_a_difference_by_hand():
    """Differences 1, 2, 3, of one comparison as above; of two, t at 98.75 % is 6.2053: 6.2053 / sqrt 3 = 3.5827."""
    one, other = by_seed(11, 22, 33, 50), by_seed(10, 20, 30)
    found = paired(one, other, 1)
    assert (found.mean, found.half, found.seeds) == (2, pytest.approx(2.4841, abs=1e-4), (0, 1, 2))
    assert not found.apart
    assert paired(one, other, 2).half == pytest.approx(3.5827, abs=1e-4)
    assert paired(by_seed(14, 25, 36), other, 1).apart, "5 +- 2.48"


def test_what_does_not_vary_and_what_is_not_compared():
    equal = paired(by_seed(0.1 + 0.2, 5), by_seed(0.3, 5), 6)
    assert (equal.equal, equal.apart, equal.half) == (True, False, 0)
    shifted = paired(by_seed(3, 5, 7), by_seed(1, 3, 5), 6)
    assert (shifted.equal, shifted.apart, shifted.interval) == (False, True, (2, 2))
    assert not paired(by_seed(3, 5), by_seed(1, 3), 6).apart, "two seeds may agree by chance"
    assert paired(by_seed(1, 2), by_seed(1), 1) is None
    assert paired(by_seed(1, 2), {(0, "another"): 1.0, (1, "another"): 2.0}, 1) is None
    assert paired({}, {}, 1) is None


@quick
@given(VALUES, st.integers(1, 40), st.integers(0, 99))
def test_intervals_are_those_of_scipy(values, comparisons_made, seed):
    if np.ptp(values) < 1e-6:
        return
    mean, half = mean_interval(values)
    expected = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx(expected)
    other = np.random.default_rng(seed).uniform(0, 100, len(values))
    found = paired(by_seed(*values), by_seed(*other), comparisons_made)
    expected = stats.ttest_rel(values, other).confidence_interval(1 - 0.05 / comparisons_made)
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert found.apart == (stats.ttest_rel(values, other).pvalue < 0.05 / comparisons_made)


# --- lines --------------------------------------------------------------------------------------------


def line(name, threats="abcde", *, kind="defense", status="measured", settings="", **values):
    """Values by the names of columns, a list over the seeds; None: undefined. threats: of each seed, one letter."""
    names = {each.replace("_", " "): list(found) for each, found in values.items()}
    seeds = range(max(map(len, names.values())))
    found = {s: {n: math.nan if v[s] is None else float(v[s]) for n, v in names.items()} for s in seeds}
    return BoardLine(
        defense=name,
        settings=settings,
        status=status,
        kind=kind,
        results=tuple(SeedResult(seed, "") for seed in seeds),
        mean={n: float(np.mean([v for v in values if v is not None] or [math.nan])) for n, values in names.items()},
        by_seed=found,
        threats=dict(zip(seeds, threats, strict=False)),
    )


def board(*lines, attack="htba", preset="laptop", title="htba on scenes, preset laptop"):
    group = Group("scenes", "a" * 64, attack, "{}", preset, 1)
    return Leaderboard(title=title, note="", group=group, k=10, lines=lines)


GOOD, FAIR, ALIKE, POOR = ([95, 96, 97, 95], [80, 81, 82, 81], [81, 80, 81, 82], [20, 21, 20, 22])


def test_all_pairs_of_two_kinds_that_can_be_compared_count_as_one_family():
    lines = [
        line("a", AP=GOOD),
        line("b", AP=FAIR),
        line("c", AP=POOR),
        line("d", AP=[50]),
        line("e", "zzzzz", AP=POOR),
    ]
    lines += [line(name, AP=POOR, kind="baseline") for name in "xyzw"]
    found = Comparisons(lines, "AP")
    pairs = sum(1 for _ in combinations("abc", 2))  # d has one seed, and e other threat models
    assert found.difference(lines[0], lines[1]).comparisons == pairs, "however many baselines there are"
    assert found.difference(lines[0], lines[5]).comparisons == found.difference(lines[6], lines[0]).comparisons == 12
    assert found.difference(lines[5], lines[6]).comparisons == 6
    assert found.difference(lines[0], lines[3]) is None
    assert found.difference(lines[0], lines[4]) is None


def recalled(by_seed):
    """With a recall that differs by seed."""
    return {seed: {**values, "recall": float(seed)} for seed, values in by_seed.items()}


def test_what_a_combination_detects_is_in_no_family_and_its_encoders_are():
    lines = [line("a", AP=GOOD, points_lost=GOOD), line("b", AP=FAIR, points_lost=FAIR)]
    both = replace(line("a+icutmix", AP=GOOD, points_lost=POOR), repeats=True)
    idle = line("icutmix", recall=[0] * 4, removed=[0] * 4, points_lost=ALIKE)
    for name, pairs in (("AP", 1), ("recall", 1), ("10.cr", 0), ("points lost", 6)):
        every = [*(replace(each, by_seed=recalled(each.by_seed)) for each in lines), both, idle]
        found = Comparisons(every, name).difference(every[0], every[1])
        assert (found.comparisons if found else 0) == pairs, name


def test_lines_that_are_not_told_apart_share_a_rank_and_kinds_are_ranked_apart():
    lines = [
        line("good", AP=GOOD),
        line("fair", AP=FAIR),
        line("alike", AP=ALIKE),
        line("poor", AP=POOR),
        line("colour", AP=[100] * 4, kind="baseline"),
        line("density", AP=POOR, kind="baseline"),
        line("isolation", "zzzz", AP=FAIR, kind="baseline"),
        line("sent", AP=GOOD, status="submitted"),
        line("oracle", AP=[100] * 4, kind="control"),
        line("without", AP=[None] * 4),
    ]
    found = {each.defense: rank for each, rank in ranks(lines, ["AP"]).items()}
    assert found == {"good": 1, "fair": 2, "alike": 2, "poor": 4, "colour": 1, "density": 2}, (
        "that nothing comparable is better says nothing of isolation, whose threat models are others, nor of sent"
    )


def test_no_rank_above_a_line_with_a_better_mean():
    lines = [line("top", AP=[99, 99, 99, 98]), line("wild", AP=[5, 99, 5, 99]), line("low", AP=[50, 51, 50, 51])]
    assert [each.defense for each in ranks(lines, ["AP"])] == ["top", "wild", "low"]
    assert list(ranks(lines, ["AP"]).values()) == [1, 1, 2]
    low = line("lower", AP=[40, 41, 0, 99])  # not told apart from the best, its mean below one that is
    assert {each.defense: rank for each, rank in ranks([*lines, low], ["AP"]).items()}["lower"] == 2


def test_the_second_number_ranks_where_the_first_does_not_tell_apart():
    first = {"AP": [100] * 4}
    lines = [line("a", **first, **{"R@1%": POOR}), line("b", **first, **{"R@1%": GOOD})]
    assert list(ranks(lines, ["AP", "R@1%"]).values()) == [2, 1]
    assert list(ranks(lines, ["AP"]).values()) == [1, 1]
    lines = [line("a", points_lost=POOR), line("b", points_lost=GOOD)]
    assert list(ranks(lines, ["points lost"]).values()) == [1, 2], "fewer are better"


def test_verdicts_in_words():
    a = line("a", AP=GOOD, recall=[50] * 4, removed=GOOD, points_lost=GOOD, F1=FAIR, ACC=[1, None, None, None])
    b = line("b", AP=POOR, recall=[50] * 4, removed=POOR, points_lost=POOR, F1=ALIKE, ACC=GOOD)
    found = {each.metric: each.verdict for each in comparisons(board(a, b), a, b)}
    assert found == {
        "AP": "a is better",
        "recall": "equal in every seed",
        "removed": "a has more, which is neither better nor worse",
        "points lost": "b is better",
        "F1": "not told apart",
        "ACC": "not compared: fewer than two common seeds",
    }


def test_two_seeds_that_agree_are_named_for_what_they_are():
    a, b = line("a", AP=[3, 5]), line("b", AP=[1, 3])
    (found,) = comparisons(board(a, b), a, b)
    assert found.verdict == "not told apart: two seeds that agree tell nothing"


def test_the_table_and_the_lines_that_names_choose():
    a, b, c = line("a", AP=GOOD), line("b", AP=FAIR), line("c", AP=POOR, settings="x=1")
    first, second = board(a, b), board(a, b, attack="ctrl", title="ctrl on scenes, preset laptop")
    assert chosen([first, second], ["a", "b"], attack="ctrl") == (second, [a, b])
    assert chosen([first, board(a, c)], ["c"])[1] == [c]
    assert chosen([board(a, c)], ["c (x=1)"])[1] == [c]
    one, two = (line("mine", AP=POOR, settings=f"code_sha256={start}") for start in ("0123456789ab", "01ff456789ab"))
    both = board(a, one, two)
    for name in (
        "mine (code_sha256=012",
        "mine (code_sha256=0123456789ab)",
        f"mine (code_sha256=0123456789ab{'c' * 52})",
    ):
        assert chosen([both], [name])[1] == [one], name
    with pytest.raises(BenchError, match="is the name of several lines"):
        chosen([both], ["mine (code_sha256=01"])
    twice = line("c", AP=POOR, settings="x=2")
    for tables, names, options, said in (
        (
            [first, second],
            ["a", "b"],
            {},
            "several tables have a and b; choose by --attack, --dataset, --preset or --ssl:\n  ht",
        ),
        ([first], ["a"], {"preset": "lapto"}, "--preset lapto: no table is of that preset. Did you mean 'laptop'?"),
        ([first], ["a"], {"attack": "htbaa"}, "--attack htbaa: no table is of that attack. Did you mean 'htba'?"),
        ([first], ["a", "poisoncam"], {}, "no line is called 'poisoncam', and no file or folder."),
        ([board(a), board(b)], ["a", "b"], {}, "no table has both a and b: they were run with other data"),
        ([board(a, c, twice)], ["c"], {}, "c is the name of several lines of htba on scenes, preset laptop; name one"),
    ):
        with pytest.raises(BenchError) as refusal:
            chosen(tables, names, **options)
        assert str(refusal.value).startswith(said)
