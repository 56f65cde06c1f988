"""Times against the baseline: what is divided by what, and what is complained of."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def compare():
    found = importlib.util.spec_from_file_location("compare", HERE / "compare.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def report(**least):
    times = {"test_bench_reference.py::test_reference": 0.5, **least}
    return {"benchmarks": [{"fullname": f"tests/benchmarks/{name}", "stats": {"min": t}} for name, t in times.items()]}


def test_times_are_divided_by_the_references(compare):
    assert compare.ratios(report(a=2.0, b=0.25)) == {"a": 4.0, "b": 0.5}


def test_a_report_of_part_of_the_suite(compare):
    with pytest.raises(SystemExit, match=r"no test_bench_reference\.py::test_reference"):
        compare.ratios({"benchmarks": []})


def test_what_is_complained_of(compare):
    baseline = {"bound": 3.0, "ratios": {"even": 1.0, "slow": 1.0, "gone": 1.0}}
    wrong = list(compare.complaints({"even": 3.0, "slow": 3.1, "new": 9.0}, baseline))
    assert [text.split()[0] for text in wrong] == ["gone", "new", "slow"]
    assert wrong[2] == "slow takes 3.1 matrix products, over 3 times the baseline's 1"


def test_a_baseline_is_made_and_held_against(compare, tmp_path, capsys):
    times, baseline = tmp_path / "times.json", tmp_path / "baseline.json"
    times.write_text(json.dumps(report(a=2.0)))
    with pytest.raises(SystemExit, match="make this session the baseline"):
        compare.main([str(times), "--baseline", str(baseline)])
    assert compare.main([str(times), "--baseline", str(baseline), "--update"]) == 0
    assert json.loads(baseline.read_text()) == {"bound": compare.BOUND, "ratios": {"a": 4.0}}
    assert compare.main([str(times), "--baseline", str(baseline)]) == 0
    times.write_text(json.dumps(report(a=20.0)))
    assert compare.main([str(times), "--baseline", str(baseline)]) == 1
    assert "10.00\na takes 40 matrix products" in capsys.readouterr().out


def test_the_baseline_names_every_benchmark(compare):
    """By the functions: a benchmark that is added must be timed, one that goes must leave the baseline."""
    if not compare.BASELINE.exists():
        pytest.skip("no session has been made the baseline yet (compare.py --update)")
    known = {name.partition("[")[0] for name in json.loads(compare.BASELINE.read_text())["ratios"]}
    text = {path.name: path.read_text() for path in HERE.glob("test_bench_*.py")}
    there = {
        f"{file}::{line.removeprefix('def ').partition('(')[0]}"
        for file, lines in text.items()
        for line in lines.splitlines()
        if line.startswith("def test_")
    }
    assert known == there - {compare.REFERENCE}
