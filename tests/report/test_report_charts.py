"""The charts: where what is drawn lies in their frames."""

import numpy as np
import pytest

from bench.report import charts
from bench.report.plot import Axis, Frame
from bench.seeds import Seeds
from bench.ssl.schedule import Schedule
from bench.ssl.settings import TrainSettings


def path(frame, points):
    return "M" + "L".join(f"{frame.x(x)} {frame.y(y)}" for x, y in points)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (60, 85, [60, 65, 70, 75, 80, 85]),
        (0, 0.03, [0, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03]),
        (-0.5, 0.5, [-0.4, -0.2, 0, 0.2, 0.4]),
        (2.87, 2.9, [2.87, 2.875, 2.88, 2.885, 2.89, 2.895, 2.9]),
    ],
)
def test_an_axis_has_round_ticks(low, high, ticks):
    axis = Axis(title="", low=low, high=high)
    assert axis.ticks == pytest.approx(ticks)
    shares = [axis.share(value) for value in (low, (low + high) / 2, high, high + 30)]
    assert shares == pytest.approx([0.04, 0.5, 0.96, 0.96])


def test_a_frame_puts_values_between_its_sides():
    axis = Axis(title="", low=0, high=10)
    frame = Frame(across=axis, along=axis)
    assert frame.x(5) == (frame.left + frame.right) / 2
    assert frame.left < frame.x(0) < frame.x(10) < frame.right
    assert frame.top < frame.y(10) < frame.y(0) < frame.bottom


def test_the_curves_hold_epoch_means_and_rates():
    settings = TrainSettings(epochs=2, batch=10, lr=0.256, warmup=1.0)
    curve = charts.Curve("first training", [3.0, 2.0], Schedule(settings, 30, Seeds(0)))
    loss, rate = charts.loss_chart([curve]), charts.rate_chart([curve])
    (shape,) = loss.shapes
    assert (shape.name, shape.look, shape.path) == ("first training", "first", path(loss.frame, [(3, 3.0), (6, 2.0)]))
    assert len(shape.dots) == 2
    rates = [0.01 / 3, 0.02 / 3, 0.01, 0.01, 0.0075, 0.0025]
    assert rate.shapes[0].path == path(rate.frame, enumerate(rates, 1))
    assert rate.frame.along.high == pytest.approx(0.01)


def test_losses_that_are_there_and_that_are_not(tmp_path):
    assert charts.read_losses(tmp_path) == []
    for text, losses in (('{"loss_per_epoch": [2, 1.5]}', [2.0, 1.5]), ("{}", []), ("[1]", []), ("{", [])):
        (tmp_path / "curve.json").write_text(text)
        assert charts.read_losses(tmp_path) == losses


def test_the_histogram_and_the_score_that_parts_removed_from_kept():
    score, poisoned = np.array([0.0, 0.0, 0.0, 1.0]), np.array([False, False, True, True])
    made = charts.score_chart(score, poisoned, score < 0.5)
    assert [shape.name for shape in made.shapes] == ["clean", "poisoned", "removed from here"]
    clean, bad, limit = (shape.path for shape in made.shapes)
    assert (clean.count("M"), bad.count("M")) == (1, 2)
    assert f"V{made.frame.y(100)}" in clean
    assert f"V{made.frame.y(50)}" in bad
    assert limit.startswith(f"M{made.frame.x(0.5)} ")
    assert charts.threshold(np.array([0.1, 0.4, 0.6]), np.array([True, False, True])) is None
    assert charts.threshold(score, np.ones(4, bool)) is None
    for scores in (np.zeros(4), np.array([-1.0, 0.0, 2.0, 1e6])):
        assert len(charts.score_chart(scores, np.zeros(4, bool), scores > -5).shapes) == 1
