"""The rule."""

from __future__ import annotations

import numpy as np
import pytest

from bench.scan.decide import LIMITS, Finding, decide, decide_quick
from bench.scan.evidence import Evidence, Measured

HIGH = {name: limits.high for name, limits in LIMITS.items()}
USUAL = Measured(alike=1, gap=0.02, pull=0.1)


def decision(*, held=0.05, usual=USUAL, pulls=(), **changes):
    evidence = Evidence(
        top=Measured(**{**HIGH, **changes}) if usual else None,
        usual=usual,
        suspects=np.arange(10),
        alike=np.arange(10) < 4,
        holders=np.arange(100) < 100 * held,
        pulls=pulls,
        usual_pulls=(0.1,) * len(pulls),
        removed_share=0.2,
        undecided=0.0,
    )
    return decide(evidence)


def test_four_alike_of_ten_that_act_are_a_trigger_whatever_the_other_six_are():
    found = decision(alike=4, gap=0.08, pull=0.3)
    assert found.finding is Finding.FOUND == "trigger found"
    assert [step.says for step in found.steps] == [1, 1, 1]
    assert (found.windows, found.patches) == (True, ())


@pytest.mark.parametrize(("name", "low", "between"), [("alike", 1, 2), ("gap", 0.04, 0.05), ("pull", 0.14, 0.15)])
def test_each_alone_speaks_against_it_or_leaves_it_unclear(name, low, between):
    found = decision(**{name: low})
    assert (found.finding, found.windows) == (Finding.NONE, False)
    found = decision(**{name: between})
    assert (found.finding, found.windows) == (Finding.UNCLEAR, True)


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"usual": Measured(**HIGH)}, "no clear case"),
        ({"held": 0.51}, "more than half of the images hold it"),
        ({"usual": None}, "locates no trigger"),
    ],
    ids=["any window", "most hold it", "no windows"],
)
def test_what_any_window_does_and_what_most_images_hold_and_no_windows_are_unclear(changes, because):
    found = decision(**changes)
    assert found.finding is Finding.UNCLEAR
    assert because in found.because


@pytest.mark.parametrize("windows", [{"alike": 1}, {"alike": 3}, {"usual": None}])
def test_a_patch_of_the_quick_look_that_acts_is_a_trigger_whatever_the_windows_are(windows):
    found = decision(pulls=(0.29, 0.5), **windows)
    assert (found.finding, found.patches, found.windows) == (Finding.FOUND, (1,), False), "the first does not act"


def test_a_patch_that_does_not_act_stays_a_planted_patch():
    found = decision(pulls=(0.1, 0.29), alike=1)
    assert (found.finding, found.patches, found.windows) == (Finding.RECURS, (0, 1), False)
    assert "a watermark, or a trigger that so short a training has not taken up" in found.because


def test_windows_that_are_a_trigger_count_beside_a_patch():
    assert decision(pulls=(0.1,)).finding is Finding.FOUND
    assert (decision(pulls=(0.1,)).patches, decision(pulls=(0.1,)).windows) == ((), True)
    assert (decision(pulls=(0.5,)).patches, decision(pulls=(0.5,)).windows) == ((0,), True)


@pytest.mark.parametrize(
    ("patches", "finding"),
    [(0, "no planted patch found"), (1, "a planted patch recurs"), (3, "a planted patch recurs")],
)
def test_a_quick_look_claims_no_trigger_and_names_the_next_step(patches, finding):
    found = decide_quick(patches)
    assert found.finding == finding
    assert (found.finding.alarms, found.finding.clears) == (patches > 0, patches == 0)
    assert found.patches == tuple(range(patches))
    assert "acts on an encoder was not asked" in found.because
    assert "the full scan (without --quick)" in found.because
    assert "what the rest of the scan asks" in decide_quick(patches, goes_on=True).because


def test_every_finding_alarms_or_clears_or_is_unclear():
    assert [each for each in Finding if each.alarms] == [Finding.FOUND, Finding.RECURS]
    assert [each for each in Finding if not (each.alarms or each.clears)] == [Finding.UNCLEAR]
