"""CSV, means and spreads, markdown: worked out by hand from made-up values."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from bench.errors import BenchError
from bench.paper.studies.catalogue import find
from bench.paper.studies.engine import Row
from bench.paper.studies.report import (
    Curve,
    Stat,
    caveat,
    cell_text,
    curves,
    difference,
    from_csv,
    missing,
    seeds_of,
    setting_words,
    stat,
    to_csv,
    to_markdown,
)
from bench.paper.studies.steps import Step

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
    from bench.paper.studies.engine import Depth, Row, measure

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


# --- read back ----------------------------------------------------------------------------------------------

VALUES = st.none() | st.integers(0, 500) | st.floats(allow_nan=False, allow_infinity=False, width=32)
NAMES = ("localisation.5.iou", "localisation.5.cr", "detection.f1", "seconds.search_per_image")
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


def made(cell, values, status):
    keys = {} if status else {"threat_model": "ab", "search": "cd"}
    found = {} if status else dict(zip(NAMES, values, strict=True))
    return Row(cell=cell, values=found, keys=keys, status=status and f'failed: {status}, "quoted"')


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_page_can_be_made_again_from_its_csv(plan, data):
    cells = data.draw(st.lists(st.sampled_from(plan.cells), max_size=10, unique_by=id))
    rows = [made(cell, data.draw(st.tuples(*[VALUES] * 4)), data.draw(st.just("") | TEXTS)) for cell in cells]
    again = from_csv(plan, to_csv(plan, rows))
    assert to_markdown(plan, again) == to_markdown(plan, rows)
    assert to_csv(plan, again) == to_csv(plan, rows)
    assert [row.cell for row in again] == cells


def test_seeds_in_their_order(plan):
    rows = [made(cell, (1, 2, 3, 4), "") for cell in reversed(plan.cells)]
    assert seeds_of(to_csv(plan, rows)) == (1, 0)
    for text in ("", to_csv(plan, [])):
        with pytest.raises(BenchError, match="its seeds are nowhere; expected a row for each run"):
            seeds_of(text)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (",seed,", ",sed,", "this is no study's CSV: expected the columns study, preset, "),
        ("PoisonCAM,32,32", "PoisonCAM,33,33", r"line 2 \(PoisonCAM, 33, seed 0\) is none of this study's runs: expec"),
        ("masks,smoke", "window,smoke", "line 2 .*: its study is 'window', that of this study is 'masks'"),
        ("smoke,scenes", "laptop,scenes", "its preset is 'laptop', that of this study is 'smoke'"),
        ("defense.masks=32", "defense.masks=32 a=1", "its settings is 'defense.masks=32 a=1', that of this study is"),
        (",0,defense", ",x,defense", "its seeds are 'x'"),
        ("\n", "\nmasks,smoke\n", "its seeds are "),
        ("ab,cd,", "ab,cd,1,", "this is no study's CSV"),
    ],
)
def test_a_csv_that_is_not_of_this_study(plan, old, new, said):
    cell = next(cell for cell in plan.cells if cell.step.label == "32")
    text = to_csv(plan, [made(cell, (1, 2, 3, 4), "")])
    assert old in text
    with pytest.raises(BenchError, match=said):
        seeds_of(text.replace(old, new, 1)), from_csv(plan, text.replace(old, new, 1))


def test_a_measure_that_is_no_number(plan):
    text = to_csv(plan, [made(plan.cells[0], (1, 2, 3, 4), "")])
    broken = f"{text.rstrip().rpartition(',')[0]},high\n"
    with pytest.raises(BenchError, match=r"line 2 \(.*seed 0\): a measure is no number: .*'high'"):
        from_csv(plan, broken)


def test_where_a_page_differs(plan, rows):
    page = to_markdown(plan, rows)
    later = page.replace("metric version 1, ssl-backdoor-bench 0.1.0", "metric version 2, ssl-backdoor-bench 0.2.0")
    assert difference(page, page) == difference(later, page) == ""
    number, line = next((n, line) for n, line in enumerate(page.splitlines(), 1) if "11.0 ± 1.4" in line)
    said = difference(page.replace("11.0 ± 1.4", "12.0 ± 1.4"), page)
    assert said == f"line {number}: {line.replace('11.0', '12.0')!r}: it should be {line!r}"
    assert difference("a\nb\n", "a\n") == "line 2: 'b': it should end"
    assert difference("a\n", "a\nb\n") == "line 2 is not there: it should be 'b'"
    assert difference("- Dataset fingerprint 1\n", "b\n").startswith("line 1: ")


ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs" / "studies").glob("*.md"))


@pytest.fixture(scope="module")
def laptop(workshop):
    """The dataset of the preset laptop."""
    from bench.config.config import load_config
    from bench.plugins.manager import Plugins

    return load_config(Plugins.load(), "laptop").dataset.load()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_committed_study_is_what_its_csv_gives(page, planner, laptop):
    """What `bench study NAME --check --output docs/studies` says."""
    name, _, preset = page.stem.rpartition("-")
    text = page.with_suffix(".csv").read_text(encoding="utf-8")
    made = planner(preset=preset, seeds=seeds_of(text))
    made._dataset = laptop if preset == "laptop" else None
    plan = made.plan(find(name))
    assert difference(page.read_text(encoding="utf-8"), to_markdown(plan, from_csv(plan, text))) == ""


def test_every_study_is_held_to_its_csv():
    assert {page.stem for page in PAGES} == {file.stem for file in (ROOT / "docs" / "studies").glob("*.csv")}
    assert len(PAGES) >= 7
