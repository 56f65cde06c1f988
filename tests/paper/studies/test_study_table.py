"""What a study leaves to read: means and spreads, curves, markdown."""

from __future__ import annotations

import math

import pytest

from bench.errors import BenchError
from bench.paper.studies.study import find
from bench.paper.studies.table import (
    HEAD,
    caveat,
    curves,
    not_run,
    panels,
    read_csv,
    setting_words,
    to_markdown,
)

NAMES = ("localisation.5.iou", "localisation.5.cr", "detection.f1", "seconds.search_per_image")
MASKS = ((8, 0, 10, 50, 60, 0.5), (8, 1, 12, None, 64, 0.5), (16, 0, 30, None, 8, 1), (16, 1, 34, None, 0, 1))
NAN = pytest.approx(math.nan, nan_ok=True)


@pytest.fixture
def rows():
    """PoisonCAM with 8 and 16 masks and two seeds."""
    return [("PoisonCAM", str(x), x, seed, dict(zip(NAMES, values, strict=True))) for x, seed, *values in MASKS]


def points(study, number, table):
    """Of each curve of a panel: {x: (mean, spread)}."""
    found = curves(study, panels(study, table)[number], table)
    return {name: {x: tuple(row) for x, row in zip(c.index, c.to_numpy(), strict=True)} for name, c in found.items()}


def test_curves_over_the_steps(table, rows):
    """Mean and sample deviation of what is defined."""
    found, study = table("masks", rows), find("masks")
    deviation = pytest.approx(math.sqrt(2))
    assert points(study, 0, found) == {"PoisonCAM": {8: (11, deviation), 16: (32, pytest.approx(math.sqrt(8)))}}
    assert points(study, 1, found) == {"PoisonCAM": {8: (50, NAN)}}


def test_curves_over_k_take_one_search_of_each_seed(table):
    """The search is the same whatever the classifier's k: 60 and 40 are not averaged with their copies."""
    values = {"localisation.10.iou": 40.0, "localisation.5.iou": 60.0, "localisation.20.iou": None}
    found = table("masking", [("full coverage", str(k), k, seed, values) for seed in (0, 1) for k in (5, 10)])
    (curve,) = points(find("masking"), 0, found).values()
    assert list(curve.items()) == [(5, (60, 0)), (10, (40, 0))]


def test_several_curves_of_a_line_and_lines_along_the_axis(table):
    found = table("epochs", [("", "2", 2.0, 0, {"none.clean.acc": 80.0, "none.poisoned.acc": 20.0})])
    both = points(find("epochs"), 0, found)
    assert {name: curve[2.0][0] for name, curve in both.items()} == {"clean images": 80, "triggered images": 20}
    accuracy = (("no defense", 70.0), ("i-CutMix", 72.0))
    found = table("augmentation", [(line, "rate 0.5", 0.5, 0, {"defended.clean.acc": acc}) for line, acc in accuracy])
    assert points(find("augmentation"), 0, found) == {"rate 0.5": {"no defense": (70, NAN), "i-CutMix": (72, NAN)}}


def cells(text, start="|"):
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith(start)]
    return [[cell.strip() for cell in line] for line in lines]


def test_markdown(table, rows):
    text = to_markdown(find("masks"), table("masks", rows, changed="train.epochs=1"), left=6)
    assert text.startswith("# Number of masks\n\n**Unfinished: 6 of 10 runs are still to come.**\n\n")
    assert "After Figure 11 of the PoisonCAM paper." in text
    assert "- Here: preset smoke, scenes, attack htba, seeds 0, 1\n" in text
    assert "- Changed by --set: train.epochs=1\n" in text
    assert "- **This is not the paper's setting: compare the shape, not the numbers.**" in text
    assert cells(text)[2] == ["PoisonCAM", "8", "11.0 ± 1.4", "50.0", "62.0 ± 2.8", "0.500 ± 0.000"]
    assert cells(text)[3] == ["PoisonCAM", "16", "32.0 ± 2.8", "–", "4.0 ± 5.7", "1.0 ± 0.0"]  # noqa: RUF001
    assert "Mean ± standard deviation over 2 seeds" in text


def test_markdown_of_one_seed_and_over_k(table, rows):
    text = to_markdown(find("masks"), table("masks", [(*rows[0][:-1], {NAMES[2]: 7, NAMES[3]: 0.0514})]))
    assert cells(text)[2] == ["PoisonCAM", "8", "–", "–", "7.0", "0.051"]  # noqa: RUF001
    assert "One seed: no spread can be given." in text
    values = {"localisation.5.iou": 50.0, "localisation.10.iou": 25.0}
    text = to_markdown(find("search-number"), table("search-number", [("PoisonCAM, 2 targets", "", "", 0, values)]))
    assert "## IoU (%) by search number" in text
    assert cells(text, "| PoisonCAM") == [["PoisonCAM, 2 targets", "50.0", "25.0"]]
    assert "No values." in text  # of the catch rate


def test_what_was_not_run_is_said(table, rows):
    status = "skipped: defense 'nosuch' is not installed"
    more = [(line, "", "", seed, {}, status) for line in ("Else", "More") for seed in (0, 1)]
    found = table("masks", [*rows, *more])
    assert not_run(found) == [f"Else; More: {status}"]
    text = to_markdown(find("masks"), found)
    assert "\n- Not run: Else; More" in text
    assert cells(text, "| Else")[0][-1] == "skipped"


def test_the_papers_own_preset_unchanged_needs_no_caveat(table, rows):
    changed = {"preset": "paper-stl10", "changed": "train.epochs=1"}
    found = [caveat(table("masks", rows, **facts)) for facts in ({"preset": "paper-stl10"}, changed, {})]
    assert [bool(each) for each in found] == [False, True, True]
    assert setting_words(table("masks", rows[:1])) == "preset smoke, scenes, attack htba, seed 0"


def test_a_table_of_before_the_column_k_is_about_ten(table, rows):
    old = table("masks", rows).drop(columns=["k", "changed"])
    assert panels(find("masks"), read_csv(old.to_csv(index=False)))[0].axis == "IoU in the top 10 (%)"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed", "sed", "expected the columns study, preset, "),
        ("50.0", "high", "this is no study's CSV: could not convert string to float: .*high"),
        ("\n", "\n1,2,3\n" + "," * 99 + "\n", "this is no study's CSV"),
        (None, "", "this is no study's CSV"),
        (None, ",".join(HEAD) + "\n", "this is no study's CSV"),
    ],
)
def test_another_file(table, rows, old, new, said):
    text = table("masks", rows).to_csv(index=False)
    assert old is None or old in text
    with pytest.raises(BenchError, match=said):
        read_csv(text.replace(old, new, 1) if old else new)


def test_points_stand_in_the_order_of_the_runs_where_the_first_has_no_value():
    import pandas as pd

    from bench.paper.studies.table import _spread

    table = pd.DataFrame({"x": [6, 16, 64] * 2, "iou": [None, 60.0, 50.0, 40.0, 62.0, 52.0]})
    points = _spread(table, "x", "iou")
    assert (points.index.tolist(), points["mean"].tolist()) == ([6, 16, 64], [40.0, 61.0, 51.0])
