"""A run in words: the numbers of the record, and dashes where there is none."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench.report.terminal import share, summary

RATES = {"acc": 71.54, "asr": 3.0}


def record(**changes):
    made = {
        "run": {"attack": "htba", "defense": "poisoncam", "preset": "smoke", "seed": 3},
        "poison": {
            "count": 20,
            "targets": ["red car"],
            "rate_of_target": 50.0,
            "rate_of_dataset": 12.5,
            "triggers": [{}],
        },
        "dataset": {"name": "scenes", "counts": {"train": 160}},
        "metrics": {
            "none": {"clean": RATES, "poisoned": {"acc": 20.0, "asr": 88.8}},
            "defended": {"clean": {"acc": 70.0, "asr": None}, "poisoned": RATES},
            "detection": {"removed": 25, "recall": 95.0, "precision": 76.0},
            "localisation": {
                "5": {"accuracy": 100.0, "cr": 80.0, "iou": 60.0},
                "10": {"accuracy": 90.0, "cr": 75.0, "iou": 40.0},
            },
        },
    }
    made["metrics"] |= changes
    return made


def told(made):
    screen = Console(file=io.StringIO(), width=200)
    for part in summary(made):
        screen.print(part, highlight=False)
    return screen.file.getvalue()


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0, "0.0 %"), (71.54, "71.5 %"), (100, "100.0 %")])
def test_shares(value, text):
    assert share(value) == text


def test_everything_is_said():
    text = told(record())
    assert "htba on scenes, target 'red car': 20 of 160 training images carry the trigger" in text
    assert "(50.0 % of the target class, 12.5 % of the training set). Seed 3, preset smoke." in text
    rows = [[cell.strip() for cell in line.split("│")] for line in text.splitlines() if "│" in line]
    assert [row[1:] for row in rows] == [
        ["71.5 %", "70.0 %"],
        ["3.0 %", "-"],
        ["20.0 %", "71.5 %"],
        ["88.8 %", "3.0 %"],
    ]
    assert "removed 25 images: 19 of the 20 poisoned (recall 95.0 %) and 6 clean (precision 76.0 %)" in text
    assert "Of the 10 images it suspected most, 90.0 % are poisoned" in text
    assert "75.0 % of the trigger (catch rate) and overlaps it by 40.0 % (IoU)" in text


def test_a_defense_that_removed_and_located_nothing():
    text = told(record(detection={"removed": 0, "recall": 0.0, "precision": None}, localisation={}))
    assert "poisoncam removed nothing." in text
    assert "suspected" not in text


def test_the_largest_k_below_ten():
    few = {"5": {"accuracy": 100.0, "cr": None, "iou": None}}
    assert "Of the 5 images" in told(record(localisation=few))


def test_a_trigger_that_is_not_at_one_place():
    made = record(localisation={"10": {"accuracy": 90.0, "cr": None, "iou": None}})
    made["poison"]["triggers"] = [{"placed": False}]
    text = told(made)
    assert "Of the 10 images it suspected most, 90.0 % are poisoned. Locating the trigger does not apply" in text
    assert "IoU" not in text


def several():
    """Two targets; trigger 0 is caught and located, trigger 1 less so."""
    made = record()
    made["poison"] |= {"targets": ["red car", "[b]"], "triggers": [{}, {}]}
    for who, asrs in (("none", (90.0, 70.0)), ("defended", (5.0, None))):
        made["metrics"][who]["per_trigger"] = [{"poisoned": {"asr": asr}} for asr in asrs]
    made["metrics"]["per_trigger"] = [
        {
            "detection": {"poisoned": 12, "removed": 12, "recall": 100.0},
            "localisation": {"10": {"accuracy": 60.0, "cr": 75.0, "iou": 40.0}},
        },
        {
            "detection": {"poisoned": 8, "removed": 7, "recall": 87.5},
            "localisation": {"10": {"accuracy": 30.0, "cr": None, "iou": None}},
        },
    ]
    return made


def test_several_targets_have_a_line_each():
    text = told(several())
    assert "targets 'red car', '[b]': 20 of 160 training images carry one of the triggers" in text
    assert "(50.0 % of the target classes, 12.5 %" in text
    assert "a linear classifier on the encoder (means over the targets)" in text
    rows = [[cell.strip() for cell in line.split("│")] for line in text.splitlines() if line.count("│") > 4]
    assert rows == [
        ["red car", "90.0 %", "5.0 %", "12", "12", "100.0 %", "60.0 %", "75.0 %", "40.0 %"],
        ["[b]", "70.0 %", "-", "8", "7", "87.5 %", "30.0 %", "-", "-"],
    ]


def test_several_targets_of_a_defense_that_locates_nothing():
    made = several()
    made["metrics"]["localisation"] = {}
    for found in made["metrics"]["per_trigger"]:
        found["localisation"] = {}
    text = told(made)
    assert "87.5 %" in text
    assert "IoU" not in text


def test_an_imported_threat_model_is_named():
    text = told({**record(), "config": {"threat": {"checkpoint": "a[b].pth", "sha256": "0" * 64}}})
    assert "preset smoke. Threat model imported from a[b].pth." in text
