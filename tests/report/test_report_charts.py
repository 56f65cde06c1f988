"""The charts: equal bytes, the page's colours, and what is drawn."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from bench.report import charts
from bench.seeds import Seeds
from bench.ssl.schedule import Schedule
from bench.ssl.settings import TrainSettings


@pytest.fixture
def curve():
    settings = TrainSettings(epochs=2, batch=10, lr=0.256, warmup=1.0)
    return charts.Curve("first training", [3.0, 2.0], Schedule(settings, 30, Seeds(0)))


def test_a_chart_is_the_same_every_time_and_in_the_colours_of_the_page(curve):
    one = charts.loss_chart([curve])
    assert one == charts.loss_chart([curve])
    assert one.startswith('<svg viewBox="')
    assert "var(--first)" in one
    assert not re.search("#0102", one)
    assert not re.search(r"<!--|<\?|<metadata|http", one)


def test_ids_of_two_charts_do_not_meet(curve):
    ids = [set(re.findall(r'id="([^"]+)"', chart([curve]))) for chart in (charts.loss_chart, charts.rate_chart)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text in (charts.loss_chart([curve]), charts.rate_chart([curve])):
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= set(re.findall(r'id="([^"]+)"', text))


def test_the_curves_hold_epoch_means_and_rates(monkeypatch, curve):
    drawn = []
    ax = SimpleNamespace(
        plot=lambda x, y, *_, **more: drawn.append((list(x), list(y), more["label"])),
        **{name: lambda *_, **__: None for name in ("set_ylabel", "set_xlabel", "set_xlim", "set_ylim", "legend")},
    )
    monkeypatch.setattr(charts, "_svg", lambda draw, name: draw(ax))
    charts.loss_chart([curve])
    charts.rate_chart([curve])
    assert drawn[0] == ([3, 6], [3.0, 2.0], "first training")
    steps, rates, _ = drawn[1]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert rates[:4] == pytest.approx([0.01 / 3, 0.02 / 3, 0.01, 0.01])
    assert rates[4] == pytest.approx(0.0075)


def test_losses_that_are_there_and_that_are_not(tmp_path):
    assert charts.read_losses(tmp_path) == []
    (tmp_path / "curve.json").write_text(json.dumps({"loss_per_epoch": [2, 1.5]}))
    assert charts.read_losses(tmp_path) == [2.0, 1.5]
    for text in ("{}", "[1]", "{", '{"loss_per_epoch": null}'):
        (tmp_path / "curve.json").write_text(text)
        assert charts.read_losses(tmp_path) == []


def test_the_score_that_parts_removed_from_kept():
    score = np.array([0.1, 0.4, 0.6, 0.9])
    assert charts.threshold(score, score < 0.5) == 0.5
    assert charts.threshold(score, np.array([True, False, True, False])) is None
    assert charts.threshold(score, np.ones(4, bool)) is None


@pytest.mark.parametrize("score", [np.zeros(4), np.array([-1.0, 0.0, 2.0, 1e6])])
def test_a_histogram_of_any_finite_scores(score):
    for poisoned in (np.array([True, False, True, False]), np.zeros(4, bool)):
        assert "poison score" in charts.score_chart(score, poisoned, score > 5)
