"""CSV, means and spreads, markdown: worked out by hand from made-up values."""

from __future__ import annotations

import csv
import dataclasses
import io
import math

import pytest

from bench.studies.catalogue import find
from bench.studies.report import (
    Curve,
    Stat,
    caveat,
    cell_text,
    curves,
    missing,
    setting_words,
    stat,
    to_csv,
    to_markdown,
)
from bench.studies.steps import Step

A, B = Step(8, "8", ("defense.masks=8",)), Step(16, "16")


@pytest.fixture
def plan(planner):
    return planner(seeds=(0, 1)).plan(find("masks"))


@pytest.fixture
def rows(row):
    """PoisonCAM with 8 and 16 masks and two seeds."""
    names = ("localisation.5.iou", "localisation.5.cr", "detection.f1", "seconds.search_per_image")
    values = {
        (A, 0): (10, 50, 60, 0.5),
        (A, 1): (12, None, 64, 0.5),
        (B, 0): (30, None, 8, 1),
        (B, 1): (34, None, 0, 1),
    }
    return [
        row("PoisonCAM", step, seed, dict(zip(names, found, strict=True))) for (step, seed), found in values.items()
    ]


def test_mean_and_sample_deviation_of_what_is_defined():
    assert stat([10, 12]) == Stat(11, pytest.approx(math.sqrt(2)))
    assert stat([None, 5]) == Stat(5, None)
    assert stat([None]) is None


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Stat(11, math.sqrt(2)), "11.0 ± 1.4"),
        (Stat(0.0514, None), "0.051"),
        (Stat(0, 0.0), "0.0 ± 0.0"),
        (None, "–"),  # noqa: RUF001 - the dash of the tables
    ],
)
def test_cells(found, text):
    assert cell_text(found) == text


def test_curves_over_the_steps(plan, rows):
    iou, cr, *_ = plan.panels
    assert curves(plan, iou, rows) == [
        Curve("PoisonCAM", {8: Stat(11, pytest.approx(math.sqrt(2))), 16: Stat(32, pytest.approx(math.sqrt(8)))})
    ]
    assert curves(plan, cr, rows) == [Curve("PoisonCAM", {8: Stat(50, None)})]


def test_curves_over_k_take_one_search_of_each_seed(planner, row):
    """The search is the same whatever the classifier's k: 60 and 40 are not averaged with their copies."""
    plan = planner().plan(find("masking"))
    five, ten = Step(5, "5"), Step(10, "10")
    found = {"localisation.10.iou": 40.0, "localisation.5.iou": 60.0, "localisation.20.iou": None}
    rows = [row("full coverage", step, seed, found) for seed in (0, 1) for step in (five, ten)]
    (curve,) = curves(plan, plan.panels[0], rows)
    assert curve == Curve("full coverage", {5: Stat(60, 0), 10: Stat(40, 0)})
    assert list(curve.points) == [5, 10]


def test_several_curves_of_one_line_are_named(planner, row):
    plan = planner().plan(find("epochs"))
    values = {"none.clean.acc": 80.0, "none.poisoned.acc": 20.0}
    found = curves(plan, plan.panels[0], [row("", Step(2.0, "2"), 0, values)])
    assert [(curve.name, curve.points[2.0].mean) for curve in found] == [("clean images", 80), ("triggered images", 20)]


def test_across_lines_the_steps_are_the_curves(planner, row):
    plan = planner().plan(find("augmentation"))
    half = Step(0.5, "rate 0.5")
    rows = [
        row(label, half, 0, {"defended.clean.acc": acc}) for label, acc in (("no defense", 70.0), ("i-CutMix", 72.0))
    ]
    assert curves(plan, plan.panels[0], rows) == [
        Curve("rate 0.5", {"no defense": Stat(70, None), "i-CutMix": Stat(72, None)})
    ]


def test_markdown(plan, rows):
    text = to_markdown(plan, rows)
    assert text.startswith("# Number of masks\n\n")
    assert "After Figure 11 of the PoisonCAM paper." in text
    assert "- Here: preset smoke, scenes, attack htba, seeds 0, 1\n" in text
    assert "- **This is not the paper's setting: compare the shape, not the numbers.**" in text
    assert "**Unfinished: 6 of 10 runs are still to come.**" in text
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[0:1] == "|"]
    assert table[2] == ["PoisonCAM", "8", "11.0 ± 1.4", "50.0", "62.0 ± 2.8", "0.500 ± 0.000"]
    assert table[3] == ["PoisonCAM", "16", "32.0 ± 2.8", "–", "4.0 ± 5.7", "1.0 ± 0.0"]  # noqa: RUF001
    assert "Mean ± standard deviation over 2 seeds" in text


def test_markdown_over_k(planner, row):
    plan = planner().plan(find("search-number"))
    rows = [row("PoisonCAM, 2 targets", Step("", ""), 0, {"localisation.5.iou": 50.0, "localisation.10.iou": 25.0})]
    text = to_markdown(plan, rows)
    assert "## IoU &#40;%&#41; by search number" in text or "## IoU (%) by search number" in text
    assert [line.split() for line in text.splitlines() if line.startswith("| PoisonCAM")] == [
        ["|", "PoisonCAM,", "2", "targets", "|", "50.0", "|", "25.0", "|"]
    ]
    assert "No values." in text  # of the catch rate


def test_what_was_not_run_is_said_in_both(plan, rows, row):
    status = "skipped: defense 'nosuch' is not installed"
    rows = [*rows, *(row(label, Step("", ""), seed, status=status) for label in ("Else", "More") for seed in (0, 1))]
    assert missing(rows) == ["Else; More: skipped: defense 'nosuch' is not installed"]
    text = to_markdown(plan, rows)
    assert "\n- Not run: Else; More" in text
    assert next(line for line in text.splitlines() if line.startswith("| Else")).rstrip("| ").endswith("skipped")
    *_, last = csv.DictReader(io.StringIO(to_csv(plan, rows)))
    assert last["status"] == "skipped: defense 'nosuch' is not installed"
    assert last["detection.f1"] == ""


def test_csv_holds_every_value_exactly(plan, smoke):
    from bench.studies.engine import Depth, Row, measure

    cell = next(cell for cell in plan.cells if cell.step.x == 16)
    values = measure(smoke[0], Depth.SEARCH)
    (found,) = csv.DictReader(io.StringIO(to_csv(plan, [Row(cell=cell, values=values, keys={"search": "abc"})])))
    assert {name: float(found[name]) if found[name] else None for name in values} == values
    facts = {name: found[name] for name in ("study", "preset", "dataset", "attack", "defense", "line", "x", "seed")}
    assert list(facts.values()) == ["masks", "smoke", "scenes", "htba", "poisoncam", "PoisonCAM", "16", "0"]
    assert (found["search_key"], found["status"], found["settings"]) == ("abc", "", "")
    names = [name for name in found if name.endswith(".iou")]
    assert names == sorted(names, key=lambda name: int(name.split(".")[1]))


def test_the_papers_own_preset_unchanged_needs_no_caveat(plan):
    paper = dataclasses.replace(plan, config=dataclasses.replace(plan.config, preset="paper-stl10"))
    assert caveat(paper) == ""
    assert caveat(dataclasses.replace(paper, settings=("train.epochs=1",)))
    assert caveat(plan)
    assert setting_words(dataclasses.replace(plan, seeds=(3,))) == "preset smoke, scenes, attack htba, seed 3"
