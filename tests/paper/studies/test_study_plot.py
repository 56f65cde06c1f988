"""The figure: the same bytes for the same values, and every curve can be told from the others."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from bench.paper.studies import plot
from bench.paper.studies.plot import draw
from bench.paper.studies.study import find

NAMES = ("localisation.5.iou", "localisation.10.iou", "localisation.5.cr", "detection.recall", "detection.precision")


@pytest.fixture
def masking(table):
    """masking(first=None) -> (study, table): two strategies with two seeds, and a third that was not run; first: the
    recall of the first run."""

    def make(first=None):
        rows = [
            (label, str(k), k, seed, {name: 10.0 * n + k + 3 * seed for n, name in enumerate(NAMES)})
            for label in ("full coverage", "random")
            for k in (5, 10)
            for seed in (0, 1)
        ]
        if first is not None:
            rows[0][-1]["detection.recall"] = first
        return find("masking"), table("masking", [*rows, ("0-1 interval", "", "", 0, {}, "skipped: a reason")])

    return make


def test_the_same_values_give_the_same_bytes_whatever_the_user_prefers_and_others_another_picture(masking):
    import matplotlib

    first = draw(*masking())
    with matplotlib.rc_context({"lines.linewidth": 9, "svg.hashsalt": None, "figure.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        assert draw(*masking()) == first
        assert dict(matplotlib.rcParams) == before
    assert draw(*masking(99.0))["png"] != first["png"]
    assert b"<dc:date>" not in first["svg"]
    assert ElementTree.fromstring(first["svg"]).tag.endswith("svg")
    image = Image.open(io.BytesIO(first["png"]))
    assert image.size[0] >= 1200
    pixels = np.asarray(image.convert("RGB"))
    for colour in ([0x00, 0x72, 0xB2], [0xE6, 0x9F, 0x00]):
        assert (pixels == colour).all(-1).sum() > 200, colour


def texts(figure):
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text)]


def test_the_figure_says_what_it_shows(masking):
    """Error bars too: the seeds differ by 3, so at k = 5 from 6.5 - 3 / sqrt(2) to 6.5 + 3 / sqrt(2)."""
    figure = plot._figure(*masking())
    found = texts(figure)
    assert "Masking strategies (after the PoisonCAM paper's Figure 5)" in found
    for label in ("search number (top k)", "IoU (%)", "Catch rate (%)", "Recall of the removal (%)", "full coverage"):
        assert label in found
    foot = " ".join(next(text for text in found if text.startswith("preset smoke")).split())
    assert "seeds 0, 1; error bars: standard deviation over 2 seeds not the paper's setting" in foot
    assert "0-1 interval: skipped: a reason" in foot
    ((bottom, top), *_) = (segment[:, 1] for segment in figure.axes[0].containers[0].lines[2][0].get_segments())
    assert (bottom, top) == pytest.approx((6.5 - 3 / 2**0.5, 6.5 + 3 / 2**0.5))


def test_curves_differ_in_colour_marker_and_line():
    from matplotlib import style

    with style.context(["default", plot.STYLE]):
        from matplotlib import rcParams

        looks = rcParams["axes.prop_cycle"].by_key()
    for each in ("color", "marker", "linestyle"):
        assert len({str(item) for item in looks[each]}) == 6
    assert "009E73" not in looks["color"]  # green, beside vermilion


def test_bars_for_defenses_and_those_not_run(table):
    acc = {f"defended.{name}": 50.0 for name in ("clean.acc", "poisoned.acc", "poisoned.asr")}
    rows = [("no defense", f"rate {rate}", rate, 0, acc) for rate in (0.5, 1)]
    found = texts(plot._figure(find("augmentation"), table("augmentation", rows)))
    assert "PoisonCAM + i-CutMix" in found
    assert found.count("not run") == 3 * 5
    assert found.count("50.0") == 3 * 2
    assert {"rate 0.5", "rate 1"} <= set(found)


def test_a_number_that_a_run_does_not_define_is_not_called_not_run(table):
    nothing = {"detection.recall": 0.0, "seconds.search": 3.0}  # nothing is removed, so there is no precision
    found = texts(plot._figure(find("recur"), table("recur", [("no whitening, varied", "", "", 0, nothing)])))
    assert found.count("undefined") == 2
    assert found.count("not run") == 4 * (len(find("recur").lines) - 1)


@pytest.mark.parametrize("name", ["masking", "search-number", "epochs"])
def test_title_and_legend_lie_apart_and_inside(name, table):
    """With every line drawn: the widest legends there are."""
    study = find(name)
    paths = [path.replace("*", "5") for panel in study.panels for path in panel.curves.values()]
    rows = [(line.label, "5", 5, 0, dict.fromkeys(paths, 50.0)) for line in study.lines]
    figure = plot._figure(study, table(name, rows))
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box, page = legend.get_window_extent(), figure.bbox
    assert box.y0 >= max(ax.get_window_extent().y1 for ax in figure.axes)
    assert (box.x0 >= page.x0, box.x1 <= page.x1, box.y1 <= page.y1) == (True, True, True)
    assert figure._suptitle is None
    assert legend.get_title().get_text().startswith(study.title)


def test_a_panel_without_values_says_so(table):
    rows = [("PoisonCAM", "8", 8, 0, {"localisation.5.iou": None, "detection.f1": 3.0})]
    assert texts(plot._figure(find("masks"), table("masks", rows))).count("no values") == 3


def test_bars_of_seconds_fit_into_their_panel_and_one_unnamed_curve_needs_no_legend(table):
    study = find("recur")
    values = {path: 50.0 for panel in study.panels for path in panel.curves.values()} | {"seconds.search": 300.0}
    rows = [(line.label, "", 10, 0, values) for line in study.lines]
    figure = plot._figure(study, table("recur", rows))
    ends = {ax.get_xlabel(): ax.get_xlim()[1] for ax in figure.axes}
    assert ends["Search (s)"] == pytest.approx(390)
    assert ends["Recall of the removal (%)"] == 115
    assert figure.legends == []
    assert figure.get_suptitle() == study.title
