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
def test_each_alone_speaks_against_it(name):
    found = decide(evidence(**{name: LOW[name] - 0.01}))
    assert found.finding is Finding.NONE == "no trigger found"


@pytest.mark.parametrize("name", LIMITS)
def test_between_the_limits_is_unclear_and_says_which(name):
    found = decide(evidence(**{name: LOW[name]}))
    assert found.finding is Finding.UNCLEAR
    assert name in found.because


def test_what_any_window_does_is_no_sign_of_a_trigger():
    assert decide(evidence(usual=Measured(**HIGH))).finding is Finding.UNCLEAR


def test_removing_most_images_is_unclear():
    assert decide(evidence(removed=0.51)).finding is Finding.UNCLEAR


def test_without_windows_there_is_no_verdict():
    nothing = Evidence(top=None, usual=None, suspects=np.arange(3), removed_share=0.1, undecided=0.0)
    found = decide(nothing)
    assert found.finding is Finding.UNCLEAR
    assert "locates no trigger" in found.because


def test_limits_are_in_order():
    assert all(0 < limits.low < limits.high < 1 for limits in LIMITS.values())
