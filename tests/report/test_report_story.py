"""Five sentences whose numbers are the record's, and what they say where something is missing."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from bench.records import record as records
from bench.report.controls import Beside
from bench.report.removed import removed_by_class
from bench.report.story import Played, chance, points, story

FIXTURES = Path(__file__).parents[1] / "fixtures" / "records"
MINUS = "\N{MINUS SIGN}"
PLAYED = Played(change=None, unpoisoned=False, trained_again=True)


@pytest.fixture
def record():
    """100 of 1,000 images poisoned, half of class a; 90 of these removed, and 10 clean ones of class b."""
    found = copy.deepcopy(records.load(FIXTURES / "v2-multi-target.json"))
    found["run"] |= {"defense": "mine", "attack": "htba", "seed": 3, "control": False}
    found["config"].pop("threat", None)
    found["dataset"]["counts"] = {"train": 1000, "val": 400}
    found["poison"] |= {"count": 100, "rate_of_target": 50.0, "rate_of_dataset": 10.0, "targets": ["a"]}
    rates = lambda acc, asr: {"acc": acc, "asr": asr}  # noqa: E731
    found["metrics"] = {
        "none": {"clean": rates(80.0, 2.0), "poisoned": rates(20.0, 90.0)},
        "defended": {"clean": rates(78.5, 3.0), "poisoned": rates(60.0, 12.5)},
        "detection": {"removed": 100, "precision": 90.0, "recall": 90.0, "f1": 90.0, "auroc": None}
        | {"average_precision": None},
        "localisation": {},
    }
    records.validate(found)
    return found


@pytest.fixture
def removed():
    labels = np.repeat([0, 1], [200, 800])
    poisoned, keep = np.zeros(1000, bool), np.ones(1000, bool)
    poisoned[:100], keep[:90], keep[200:210] = True, False, False
    return removed_by_class(labels, ["a", "b"], poisoned, keep)


def test_what_was_removed_by_class(removed):
    a, b = removed.rows
    assert (a.size, a.poisoned, a.poisoned_removed, a.clean_removed, a.clean) == (200, 100, 90, 0, 100)
    assert (b.size, b.poisoned, b.poisoned_removed, b.clean_removed, b.share(b.removed)) == (800, 0, 0, 10, 1.25)
    assert removed.missed.tolist() == list(range(90, 100))
    assert removed.collateral.tolist() == list(range(200, 210))
    assert [row.name for row in removed.told] == ["a", "b"]
    none = removed_by_class(np.array([0, 1, 1]), ["a", "b", "c"], np.zeros(3, bool), np.ones(3, bool))
    assert none.told == []
    assert none.rows[2].share(0) == 0


def test_the_five_sentences(record, removed):
    planted, threat, defended, after, noise = story(record, Beside(), removed, PLAYED)
    assert planted.startswith(
        "In 100 of the 1,000 training images (10.0 %; 50.0 % of the images of 'a') the attack htba"
    )
    assert "right on 80.0 % of the clean" in threat
    assert "takes 90.0 % of the images of other classes for 'a'" in threat
    assert "against 2.0 % of them without it: a strong backdoor." in threat
    assert defended == (
        "mine removed 100 images: 90 of the 100 poisoned (recall 90.0 %) and 10 clean (precision 90.0 %), the most "
        "in 'b' (10 of 800 clean images)."
    )
    assert "right on 78.5 % (-1.5 points) of the clean images and takes 12.5 % (-77.5 points)" in after.replace(
        MINUS, "-"
    )
    assert "clean-set" not in after
    assert "This is one run, seed 3: with 400 validation images chance alone moves a share by up to 4.9 points" in noise
    assert "no record of another seed" in noise
    assert "no control of the same seed was found" in noise


def test_controls_and_other_seeds_are_told_of(record, removed):
    clean = copy.deepcopy(record)
    clean["run"] |= {"defense": "clean-set", "control": True}
    clean["metrics"]["defended"]["poisoned"]["asr"] = 5.5
    other = copy.deepcopy(record)
    other["metrics"]["defended"]["poisoned"]["asr"] = 40.04
    *_, after, noise = story(record, Beside([clean], [other]), removed, PLAYED)
    assert "an encoder that never saw a trigger (clean-set) takes 5.5 %" in after
    assert "over the 2 seeds found, the last share goes from 12.5 to 40.0 %" in noise
    assert "the controls of the same seed (clean-set) are in the table" in noise


def test_a_control_a_change_and_no_defense(record, removed):
    nothing = removed_by_class(np.array([0]), ["a"], np.array([True]), np.array([True]))
    control = copy.deepcopy(record)
    control["run"]["control"] = True
    sentences = story(control, Beside(), removed, PLAYED)
    assert sentences[2].startswith("mine, a control and no defense, removed 100 images")
    assert "it is itself a control" in sentences[4]
    clean = story(control, Beside(), nothing, Played(change=None, unpoisoned=True, trained_again=True))
    assert clean[2].endswith("trained on the same images without any trigger.")
    record["metrics"]["detection"] |= {"removed": 0, "precision": None}
    changed = story(record, Beside(), nothing, Played(change="mix", unpoisoned=False, trained_again=True))
    assert changed[2] == "No image was removed; mix changed how the new encoder was trained."
    none = story(record, Beside(), nothing, Played(change=None, unpoisoned=False, trained_again=False))
    assert none[2] == "mine removed nothing."
    assert none[3].endswith("the encoder after is the encoder before.")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (2.0, 60.0, "a strong backdoor."),
        (2.0, 30.0, "a backdoor."),
        (2.0, 12.0, "a weak backdoor."),
        (2.0, 5.0, "nothing to defend against."),
        (None, 5.0, "cannot be said."),
    ],
)
def test_how_strong_the_attack_is(record, removed, before, after, words):
    none = record["metrics"]["none"]
    none["clean"]["asr"], none["poisoned"]["asr"] = before, after
    assert story(record, Beside(), removed, PLAYED)[1].endswith(words)


def test_undefined_shares_and_several_targets(record, removed):
    record["poison"]["targets"] = ["a", "b", "c"]
    record["metrics"]["defended"]["clean"]["acc"] = None
    sentences = story(record, Beside(), removed, PLAYED)
    assert "'a', 'b' and 'c'" in sentences[0]
    assert "one of 3 triggers" in sentences[0]
    assert "- (- points)" in sentences[3]
    assert len(sentences) == 5


def test_differences_and_chance():
    assert [points(1.04, 1.0), points(1.0, 1.04), points(50.0, 40.0), points(40.0, 50.26), points(None, 1.0)] == [
        *("0.0", "0.0", f"{MINUS}10.0", "+10.3", "-"),
    ]
    assert chance(2401) == 2.0
    assert chance(0) == 98.0


def test_every_kept_record_has_a_story(removed):
    for file in sorted(FIXTURES.glob("*.json")):
        assert len(story(records.upgraded(json.loads(file.read_text())), Beside(), removed, PLAYED)) == 5
