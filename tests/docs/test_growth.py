"""docs/growth.py: its fits and tables by hand, and that its curves can be measured at their smallest."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import astuple
from pathlib import Path

import pytest

from bench.defenses.poisoncam import PoisonCAM
from bench.defenses.search.costs import EACH_ROW

SCRIPT = Path(__file__).parents[2] / "docs" / "growth.py"


@pytest.fixture(scope="module")
def growth():
    spec = importlib.util.spec_from_file_location("growth", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["growth"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["growth"]


@pytest.fixture
def folder(growth, tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "HERE", tmp_path)
    return tmp_path


def test_an_exponent_by_hand(growth):
    """3 x^2; then flat and after that x^2, of which the fit is the mean."""
    assert astuple(growth.fitted([(1, 3), (2, 12), (4, 48)])) == pytest.approx((2, 2, 2))
    assert astuple(growth.fitted([(1, 5), (2, 5), (4, 20)])) == pytest.approx((1, 0, 2))


def test_the_least_of_a_few_runs_counts(growth, monkeypatch):
    now, left = [0.0], [0.3, 0.05, 0.2]
    monkeypatch.setattr(growth.time, "perf_counter", lambda: now[0])

    def run():
        now[0] += left.pop(0)

    assert growth.seconds((run, 10)) == pytest.approx(0.5)
    assert left == []
    assert growth.seconds((growth.Timed(0.25), 4)) == 1.0


def test_the_tables_are_written_between_their_marks(growth, folder):
    """By hand: 2 s to 8 s while images double; a run planned at 3 + 3 s that took 2 + 4."""
    (folder / "growth.csv").write_text("part,axis,value,seconds\nfeatures,images,1000,2\nfeatures,images,2000,8\n")
    lines = ["run,stage,planned,taken", "a,train,3,2", "a,search,3,4"]
    (folder / "growth-check.csv").write_text("\n".join(lines) + "\n")
    marks = [f"<!-- {name}: {word} -->" for name in ("curves", "check") for word in ("begin", "end")]
    (folder / "growth.md").write_text("# T\n" + "\nbetween\n".join(marks) + "\nend\n")
    assert not growth.write(check=True)
    assert (folder / "growth.md").read_text().startswith("# T\n<!-- curves: begin -->\nbetween")
    assert growth.write()
    assert growth.write(check=True)
    text = (folder / "growth.md").read_text()
    assert "| features | images | 1,000 to 2,000 | 2 to 8 | 2.00 | 2.00 to 2.00 | 1 |" in text
    assert (
        "| a | train | 3.0 | 2.0 | 1.50 |\n| a | search | 3.0 | 4.0 | 0.75 |\n| a | **in all** | 6.0 | 6.0 | 1.00 |"
        in text
    )
    growth.write()
    assert (folder / "growth.md").read_text() == text


def test_the_committed_page_is_what_the_committed_measurements_give(growth):
    text = (growth.HERE / "growth.md").read_text(encoding="utf-8")
    assert growth.written(text) == text, "stale: python docs/growth.py write"
    (line,) = [line for line in text.splitlines() if f"clusters + {EACH_ROW} | 40 to 544" in line]
    assert line.endswith("| 1 |")


def test_a_stale_page_ends_with_exit_code_1(growth, folder, capsys):
    for name in ("growth.csv", "growth-check.csv", "growth.md"):
        (folder / name).write_bytes((SCRIPT.parent / name).read_bytes())
    page = (folder / "growth.md").read_text(encoding="utf-8")
    (folder / "growth.md").write_text(page.replace("| 8 to 512 |", "| 8 to 513 |"), encoding="utf-8")
    assert growth.main(["write", "--check"]) == 1
    assert capsys.readouterr().out == "growth.md is stale: python docs/growth.py write\n"
    assert growth.main(["write"]) == growth.main(["write", "--check"]) == 0
    assert (folder / "growth.md").read_text(encoding="utf-8") == page
    with pytest.raises(SystemExit):
        growth.main(["check", "--check"])


def test_the_measured_exponents_bear_out_what_a_plan_takes(growth):
    """What a plan takes to be in proportion has been measured to be so, but for what is small at the low end."""
    found = growth.read_points()
    assert found.keys() == {(curve.part, curve.axis) for curve in growth.CURVES}
    for curve in growth.CURVES:
        if curve.law == 1:
            within = 0.3 if curve.part == "k-means" else 0.1  # whose rows leave the cache
            assert growth.fitted(found[curve.part, curve.axis]).exponent == pytest.approx(1, abs=within), curve.part
    clusters = [(count + EACH_ROW, seconds) for count, seconds in found["k-means", "clusters"]]
    masks = [(PoisonCAM(masks=int(count)).encoded(32), seconds) for count, seconds in found["masking", "masks"]]
    for points in (clusters, masks):
        assert growth.fitted(points).exponent == pytest.approx(1, abs=0.1)


def test_plans_were_within_a_factor_of_one_and_a_half(growth):
    rows = growth.read_csv(growth.HERE / "growth-check.csv")
    assert {row["run"] for row in rows} == set(growth.RUNS)
    for run in growth.RUNS:
        planned, taken = (sum(float(row[name]) for row in rows if row["run"] == run) for name in ("planned", "taken"))
        assert 1 / 1.5 < planned / taken < 1.5


def test_parts_can_be_measured(growth):
    """Those that need no more than a few images."""
    ready = [growth.masking(16), growth.flips(16, 2), growth.means(64, 4), growth.probe(64), growth.poison(64)]
    assert all(0 < growth.seconds(each) < 60 for each in ready)


def test_a_plot_has_a_panel_a_curve(growth, tmp_path):
    points = {("a", "x"): [(1, 1.0), (2, 4.0)], ("b", "y"): [(10, 1.0), (20, 2.0)]}
    growth.plot(points, tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text()
    assert "a: exponent 2.00" in text
    assert "b: exponent 1.00" in text
