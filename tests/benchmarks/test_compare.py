"""Times against the baseline: what is divided by what, and what is complained of."""

from __future__ import annotations

import importlib.util
import json
import re
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
    times = {"test_reference": 0.5, **least}
    return {"benchmarks": [{"name": name, "stats": {"min": time}} for name, time in times.items()]}


def test_times_are_divided_by_the_references(compare):
    assert compare.ratios(report(a=2.0, b=0.25)) == {"a": 4.0, "b": 0.5}
    with pytest.raises(SystemExit, match="no test_reference: run all"):
        compare.ratios({"benchmarks": []})


def test_what_is_complained_of(compare):
    baseline = {"bound": 3.0, "ratios": {"even": 1.0, "slow": 1.0, "gone": 1.0}}
    wrong = list(compare.complaints({"even": 3.0, "slow": 3.1, "new": 9.0}, baseline))
    assert [text.split()[0] for text in wrong] == ["gone", "new", "slow"]
    assert wrong[2] == "slow takes 3.1 matrix products, over 3 times the baseline's 1"


def test_a_baseline_is_made_and_held_against(compare, tmp_path, capsys):
    times, baseline = tmp_path / "times.json", tmp_path / "baseline.json"
    command = [str(times), "--baseline", str(baseline)]
    times.write_text(json.dumps(report(a=2.0)))
    with pytest.raises(SystemExit, match="make this session the baseline"):
        compare.main(command)
    assert compare.main([*command, "--update"]) == 0
    assert json.loads(baseline.read_text()) == {"bound": compare.BOUND, "ratios": {"a": 4.0}}
    assert compare.main(command) == 0
    times.write_text(json.dumps(report(a=20.0)))
    assert compare.main(command) == 1
    assert "10.00\na takes 40 matrix products" in capsys.readouterr().out


def test_the_baseline_names_every_benchmark(compare):
    """By the functions: a benchmark that is added must be timed, one that goes must leave the baseline."""
    known = {name.partition("[")[0] for name in json.loads(compare.BASELINE.read_text())["ratios"]}
    assert known == set(re.findall(r"^def (test_\w+)", (HERE / "test_timed.py").read_text(), re.M)) - {
        compare.REFERENCE
    }
