"""The rule."""

from __future__ import annotations

import numpy as np
import pytest

from bench.scan.decide import LIMITS, Finding, decide
from bench.scan.evidence import Evidence, Measured

HIGH = {name: limits.high for name, limits in LIMITS.items()}
LOW = {name: limits.low for name, limits in LIMITS.items()}
USUAL = Measured(pull=0.0, agreement=0.1, likeness=0.1)


def evidence(removed=0.05, usual=USUAL, **changes):
    top = Measured(**{**HIGH, **changes})
    return Evidence(top=top, usual=usual, suspects=np.arange(10), removed_share=removed, undecided=0.0)


def test_all_three_at_their_limit_is_a_trigger():
    found = decide(evidence())
    assert found.finding is Finding.FOUND == "trigger found"
    assert [step.says for step in found.steps] == [1, 1, 1]


@pytest.mark.parametrize("name", LIMITS)
def test_each_alone_speaks_against_it_or_leaves_it_unclear(name):
    assert decide(evidence(**{name: LOW[name] - 0.01})).finding is Finding.NONE == "no trigger found"
    between = decide(evidence(**{name: LOW[name]}))
    assert between.finding is Finding.UNCLEAR
    assert name in between.because


@pytest.mark.parametrize(
    "changes", [{"usual": Measured(**HIGH)}, {"removed": 0.51}], ids=["any window", "most removed"]
)
def test_what_any_window_does_and_removing_most_images_is_unclear(changes):
    assert decide(evidence(**changes)).finding is Finding.UNCLEAR


def test_without_windows_there_is_no_verdict():
    nothing = Evidence(top=None, usual=None, suspects=np.arange(3), removed_share=0.1, undecided=0.0)
    found = decide(nothing)
    assert found.finding is Finding.UNCLEAR
    assert "locates no trigger" in found.because


def test_limits_are_in_order():
    assert all(0 < limits.low < limits.high < 1 for limits in LIMITS.values())
