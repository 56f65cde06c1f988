"""Where a plot's points and numbers are drawn."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given, settings, strategies as st

from bench.boards import BoardLine, SeedResult
from bench.boards.site.plots import _box, _meet, scatter
from bench.boards.site.row import SiteRow
from bench.report.html import environment


def row(number, acc, asr, half=math.nan, seed=(72.0, 20.0)):
    line = BoardLine(
        defense="mine",
        settings="",
        status="measured",
        results=(SeedResult(0, "a.html"), SeedResult(1, "b.html")),
        mean={"ACC": acc, "ASR triggered": asr},
        half={"ACC": half, "ASR triggered": half},
        by_seed={0: {"ACC": seed[0], "ASR triggered": seed[1]}, 1: {"ACC": math.nan, "ASR triggered": 20.0}},
    )
    return SiteRow(number=number, table="t1", group="", line=line)


def plotted(rows):
    return scatter("encoders", rows, x="ASR triggered", y="ACC")


def test_both_axes_fit_means_and_intervals_and_stay_in_percent():
    plot = plotted([row(1, 70, 10, 4), row(2, 81, 90)])
    assert (plot.frame.along.low, plot.frame.along.high) == (65, 85)
    assert (plot.frame.across.low, plot.frame.across.high) == (5, 90)
    far = plotted([row(1, 70, 10, seed=(51.0, 20.0)), row(2, 81, 90)]).frame.along
    assert (far.low, far.high) == (50, 85), "a seed beyond the interval"
    wide = plotted([row(1, 70, 3, 4), row(2, 81, 98, 60)]).frame.across
    assert (wide.low, wide.high) == (0, 100)
    alone = plotted([row(1, 99, 10)]).frame.along
    assert (alone.low, alone.high) == (70, 100)


def test_a_point_its_interval_and_its_seeds():
    plot = plotted([row(1, 75, 50, 10), row(2, 70, math.nan)])
    (point,), frame = plot.points, plot.frame
    assert (frame.left, frame.right, frame.across.low, frame.across.high) == (46, 466, 20, 60)
    assert point.x == 352.6, "46 + 420 x (0.04 + 0.92 x 3 / 4)"
    assert point.across == (frame.x(40), frame.x(60))
    assert point.along == (frame.y(65), frame.y(85))
    (dot,) = point.dots
    assert (dot.x, dot.y, dot.href) == (frame.x(20), frame.y(72), "a.html")
    assert dot.words == "mine, seed 0: ASR triggered 20.0, ACC 72.0"
    assert point.words == "1: mine, ASR triggered 50.0 ± 10.0, ACC 75.0 ± 10.0"


percent = st.floats(0, 100)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(percent, percent), min_size=1, max_size=9))
def test_numbers_are_inside_and_cover_no_other(places):
    plot = plotted([row(number, *place) for number, place in enumerate(places, 1)])
    points, frame = plot.points, plot.frame
    boxes = [_box(*point.label, point.row.number) for point in points]
    for number, box in enumerate(boxes):
        assert frame.left < box[0] < box[2] < frame.right
        assert frame.top < box[1] < box[3] < frame.bottom
        assert not any(_meet(box, other) for other in boxes[:number])


def test_kinds_differ_in_shape_and_what_was_sent_in_is_hollow():
    kinds = {"defense": "mine", "baseline": "colour", "control": "oracle", "none": "none"}
    lines = {
        mark: replace(row(1, 1, 1).line, defense=name, kind="control" if mark == "none" else mark)
        for mark, name in kinds.items()
    }
    made = {mark: SiteRow(number=1, table="t", group="", line=line) for mark, line in lines.items()}
    assert {mark: each.mark for mark, each in made.items()} == {mark: mark for mark in kinds}
    sent = SiteRow(number=1, table="t", group="", line=replace(lines["defense"], status="submitted"))
    assert sent.mark == "defense hollow"
    draw = environment().get_template("plot.html").module.mark
    assert len({str(draw(mark)) for mark in kinds}) == 4
    assert draw("defense hollow") == draw("defense")
