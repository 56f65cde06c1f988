"""The rule."""

from __future__ import annotations

import numpy as np
import pytest

from bench.scan.decide import LIMITS, Finding, decide, decide_quick
from bench.scan.evidence import Evidence, Measured

HIGH = {name: limits.high for name, limits in LIMITS.items()}
USUAL = Measured(pull=0.0, agreement=0.1, likeness=0.1)


def decision(removed=0.05, usual=USUAL, **changes):
    top = Measured(**{**HIGH, **changes}) if usual else None
    return decide(Evidence(top=top, usual=usual, suspects=np.arange(10), removed_share=removed, undecided=0.0))


def test_all_three_at_their_limit_is_a_trigger():
    assert all(0 < limits.low < limits.high < 1 for limits in LIMITS.values())
    found = decision()
    assert found.finding is Finding.FOUND == "trigger found"
    assert [step.says for step in found.steps] == [1, 1, 1]


@pytest.mark.parametrize("name", LIMITS)
def test_each_alone_speaks_against_it_or_leaves_it_unclear(name):
    low = LIMITS[name].low
    assert decision(**{name: low - 0.01}).finding is Finding.NONE == "no trigger found"
    between = decision(**{name: low})
    assert between.finding is Finding.UNCLEAR
    assert name in between.because


@pytest.mark.parametrize(
    ("changes", "because"),
    [({"usual": Measured(**HIGH)}, ""), ({"removed": 0.51}, ""), ({"usual": None}, "locates no trigger")],
    ids=["any window", "most removed", "no windows"],
)
def test_what_any_window_does_and_removing_most_images_and_no_windows_are_unclear(changes, because):
    found = decision(**changes)
    assert found.finding is Finding.UNCLEAR
    assert because in found.because


@pytest.mark.parametrize(
    ("patches", "finding"),
    [(0, "no planted patch found"), (1, "a planted patch recurs"), (3, "a planted patch recurs")],
)
def test_a_quick_scan_claims_no_trigger_and_names_the_next_step(patches, finding):
    found = decide_quick(patches)
    assert found.finding == finding
    assert (found.finding.alarms, found.finding.clears) == (patches > 0, patches == 0)
    assert "acts on an encoder was not asked" in found.because
    assert "the full scan (without --quick)" in found.because


def test_every_finding_alarms_or_clears_or_is_unclear():
    assert [each for each in Finding if each.alarms] == [Finding.FOUND, Finding.RECURS]
    assert [each for each in Finding if not (each.alarms or each.clears)] == [Finding.UNCLEAR]
