"""A run in words: the numbers of the record, and dashes where there is none."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench.report.tables import share
from bench.report.terminal import summary

PLACES = {"5": {"accuracy": 100.0, "cr": 80.0, "iou": 60.0}, "10": {"accuracy": 90.0, "cr": 75.0, "iou": 40.0}}


def rates(acc, asr):
    return {"acc": acc, "asr": asr}


@pytest.fixture
def made(record):
    """20 of 160 images poisoned, one target; 25 removed."""
    record["poison"] |= {"count": 20, "targets": ["red car"], "rate_of_dataset": 12.5, "triggers": [{}]}
    record["metrics"] = {
        "none": {"clean": rates(71.54, 3.0), "poisoned": rates(20.0, 88.8)},
        "defended": {"clean": rates(70.0, None), "poisoned": rates(71.54, 3.0)},
        "detection": {"removed": 25, "recall": 95.0, "precision": 76.0},
        "localisation": PLACES,
    }
    return record


def printed(made):
    """(all text, the rows of its tables)"""
    screen = Console(file=io.StringIO(), width=200)
    for part in summary(made):
        screen.print(part, highlight=False)
    text = screen.file.getvalue()
    return text, [[cell.strip() for cell in line.split("│")] for line in text.splitlines() if "│" in line]


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0, "0.0 %"), (71.54, "71.5 %"), (100, "100.0 %")])
def test_shares(value, text):
    assert share(value) == text


def test_everything_is_said(made):
    made["config"]["threat"] = {"checkpoint": "a[b].pth", "sha256": "0" * 64}
    text, rows = printed(made)
    assert "htba on scenes, target 'red car': 20 of 160 training images carry the trigger" in text
    assert "(50.0 % of the target class, 12.5 % of the training set). Seed 0, preset smoke." in text
    assert "preset smoke. Threat model imported from a[b].pth." in text
    cells = [["71.5 %", "70.0 %"], ["3.0 %", "-"], ["20.0 %", "71.5 %"], ["88.8 %", "3.0 %"]]
    assert [row[1:] for row in rows] == cells
    assert "removed 25 images: 19 of the 20 poisoned (recall 95.0 %) and 6 clean (precision 76.0 %)" in text
    assert "Of the 10 images it suspected most, 90.0 % are poisoned" in text
    assert "75.0 % of the trigger (catch rate) and overlaps it by 40.0 % (IoU).\n" in text


def test_what_a_repair_cost(made):
    made["stages"] |= {"threat_model": stage(40.0), "retraining": stage(5.0)}
    assert "first training" not in printed(made)[0]
    made["run"]["repair"] = True
    assert "The repair took 12.5 % of the time of the first training.\n" in printed(made)[0]


def stage(seconds):
    return {"key": "0" * 64, "seconds": seconds, "peak_memory_mb": None}


def test_what_does_not_apply_or_is_new(made):
    made["metrics"] |= {"detection": {"removed": 0, "recall": 0.0, "precision": None}, "localisation": {}}
    text, _ = printed(made)
    assert "mine removed nothing." in text
    assert "suspected" not in text
    made["metrics"]["localisation"] = {"5": {"accuracy": 90.0, "hit": 62.5, "cr": None, "iou": None}}
    text, _ = printed(made)
    assert "Of the 5 images" in text
    assert "(IoU); 62.5 % of these windows hold some part of it." in text
    made["poison"]["triggers"] = [{"placed": False}]
    text, _ = printed(made)
    assert "Of the 5 images it suspected most, 90.0 % are poisoned. Locating the trigger does not apply" in text
    assert "IoU" not in text


@pytest.mark.parametrize("located", [True, False])
def test_several_targets_have_a_line_each(made, located):
    """Trigger 0 is caught and located, trigger 1 less so."""
    made["poison"] |= {"targets": ["red car", "[b]"], "triggers": [{}, {}]}
    for who, asrs in (("none", (90.0, 70.0)), ("defended", (5.0, None))):
        made["metrics"][who]["per_trigger"] = [{"poisoned": {"asr": asr}} for asr in asrs]
    places = ({"accuracy": 60.0, "hit": 80.0, "iou": 40.0, "cr": 75.0}, {"accuracy": 30.0, "iou": None, "cr": None})
    counts = ((12, 12, 100.0, 99.0), (8, 7, 87.5, None))
    made["metrics"]["per_trigger"] = [
        {
            "detection": dict(zip(("poisoned", "removed", "recall", "auroc"), count, strict=True)),
            "localisation": {"10": place} if located else {},
        }
        for count, place in zip(counts, places, strict=True)
    ]
    made["metrics"]["localisation"] = PLACES if located else {}
    text, rows = printed(made)
    assert "targets 'red car', '[b]': 20 of 160 training images carry one of the triggers" in text
    assert "(50.0 % of the target classes, 12.5 %" in text
    assert "a linear classifier on the encoder (means over the targets)" in text
    ends = (["60.0 %", "80.0 %", "40.0 %", "75.0 %"], ["30.0 %", "-", "-", "-"]) if located else ([], [])
    assert rows[-2:] == [
        ["red car", "90.0 %", "5.0 %", "12", "12", "100.0 %", "99.0 %", *ends[0]],
        ["[b]", "70.0 %", "-", "8", "7", "87.5 %", "-", *ends[1]],
    ]
