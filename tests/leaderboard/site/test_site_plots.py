"""Where a plot's points and numbers are drawn."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings, strategies as st

from bench.leaderboard import BoardLine, SeedResult
from bench.leaderboard.site.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, _box, _meet, scatter
from bench.leaderboard.site.tables import Row


def pair(number, acc, asr, spread=math.nan):
    line = BoardLine(
        defense="mine",
        settings="",
        status="measured",
        control=False,
        results=(SeedResult(0, "a.html"), SeedResult(1, "b.html")),
        mean={"ACC": acc, "ASR triggered": asr},
        spread={"ACC": spread, "ASR triggered": spread},
    )
    row = Row(
        number=number,
        anchor=f"t1-{number}",
        name="mine",
        settings="",
        status="measured",
        control=False,
        seeds="2",
        links=(),
        find="mine",
        kind="measured",
        cells={},
    )
    return row, line


def plotted(pairs, runs=None):
    return scatter("encoders", pairs, runs or {}, x="ASR triggered", y="ACC")


def test_an_axis_of_percent():
    axis = Axis(title="", low=0, high=100)
    assert axis.ticks == [0, 20, 40, 60, 80, 100]
    assert [axis.share(value) for value in (0, 50, 100, 130)] == pytest.approx([0.04, 0.5, 0.96, 0.96])
    assert Axis(title="", low=60, high=85).ticks == [60, 65, 70, 75, 80, 85]


def test_the_other_axis_fits_means_and_spreads():
    plot = plotted([pair(1, 70, 10, 4), pair(2, 81, 90)])
    assert (plot.along.low, plot.along.high) == (65, 85)
    assert (plot.across.low, plot.across.high) == (0, 100)
    alone = plotted([pair(1, 99, 10)]).along
    assert (alone.low, alone.high) == (85, 100)


def test_a_point_its_spread_and_its_seeds():
    run = {"metrics": {"defended": {"clean": {"acc": 72.0}, "poisoned": {"asr": 20.0}}}}
    plot = plotted([pair(1, 75, 50, 10), pair(2, 70, math.nan)], {"a.html": run})
    (point,) = plot.points
    assert point.x == LEFT + (WIDTH - LEFT - RIGHT) / 2
    assert point.across == (plot.x(40), plot.x(60))
    assert point.along == (plot.y(65), plot.y(85))
    assert plot.y(65) > point.y > plot.y(85)
    (dot,) = point.dots
    assert (dot.x, dot.y, dot.href) == (plot.x(20), plot.y(72), "a.html")
    assert dot.words == "mine, seed 0: ASR triggered 20.0, ACC 72.0"
    assert point.words == "1: mine, ASR triggered 50.0 ± 10.0, ACC 75.0 ± 10.0"


percent = st.floats(0, 100)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(percent, percent), min_size=1, max_size=9))
def test_numbers_are_inside_and_cover_no_other(places):
    points = plotted([pair(number, *place) for number, place in enumerate(places, 1)]).points
    boxes = [_box(*point.label, point.row.number) for point in points]
    for number, box in enumerate(boxes):
        assert box[0] > LEFT
        assert box[2] < WIDTH - RIGHT
        assert box[1] > TOP
        assert box[3] < HEIGHT - BOTTOM
        assert not any(_meet(box, other) for other in boxes[:number])
