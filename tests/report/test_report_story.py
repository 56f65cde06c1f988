"""Five sentences whose numbers are the record's, and what they say where something is missing."""

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench.records import record as records
from bench.report.controls import Beside
from bench.report.removed import removed_by_class
from bench.report.story import chance, points, story

FIXTURES = Path(__file__).parents[1] / "fixtures" / "records"
MINUS = "\N{MINUS SIGN}"


def rates(acc, asr):
    return {"acc": acc, "asr": asr}


@pytest.fixture
def record(record):
    """100 of 1,000 images poisoned, half of class a; 90 of these removed, and 10 clean ones of class b."""
    record["run"]["seed"] = 3
    record["dataset"]["counts"] = {"train": 1000, "val": 400}
    record["poison"] |= {"count": 100, "rate_of_target": 50.0, "rate_of_dataset": 10.0, "targets": ["a"]}
    unscored = {"auroc": None, "average_precision": None}
    record["metrics"] = {
        "none": {"clean": rates(80.0, 2.0), "poisoned": rates(20.0, 90.0)},
        "defended": {"clean": rates(78.5, 3.0), "poisoned": rates(60.0, 12.5)},
        "detection": {"removed": 100, "precision": 90.0, "recall": 90.0, "f1": 90.0, **unscored},
        "localisation": {},
        "clean_removed": {"a": 0, "b": 10},
    }
    records.validate(record)
    return record


def of(record, *, beside=(), seeds=(), **artifacts):
    known = {"training_change": None, "unpoisoned": False} | artifacts
    return story(record, Beside(beside, seeds), SimpleNamespace(**known) if artifacts else None)


def changed(record, defense="mine", control=False, asr=12.5):
    found = copy.deepcopy(record)
    found["run"] |= {"defense": defense, "control": control}
    found["metrics"]["defended"]["poisoned"]["asr"] = asr
    return found


def test_a_run_that_ended_with_the_verdict(record):
    record["run"]["until"] = "detection"
    del record["metrics"]["defended"]
    other = copy.deepcopy(record)
    other["metrics"]["detection"]["recall"] = 70.0
    sentences = of(record, seeds=[other])
    assert sentences[3] == "The run ended with this verdict: no new encoder was trained on what is kept."
    assert "the recall goes from 70.0 to 90.0 %; what training on the kept images would give" in sentences[4]


def test_nothing_is_poisoned(record):
    record["run"]["attack"] = "no-attack"
    record["poison"] |= {"count": 0, "rate_of_target": 0.0, "rate_of_dataset": 0.0}
    record["metrics"]["detection"] |= {"removed": 10, "precision": 0.0, "recall": None, "f1": 0.0}
    sentences = of(record)
    assert sentences[0] == "The attack no-attack poisoned none of the 1,000 training images."
    assert "mine removed 10 images, though none is poisoned, the most in 'b' (10)." in sentences[2]


def test_what_was_removed_by_class():
    labels, poisoned, keep = np.repeat([0, 1], [200, 800]), np.zeros(1000, bool), np.ones(1000, bool)
    poisoned[:100], keep[:90], keep[200:210] = True, False, False
    removed = removed_by_class(labels, ["a", "b", "c"], poisoned, keep)
    a, b, c = removed.rows
    assert (a.size, a.poisoned, a.poisoned_removed, a.clean_removed) == (200, 100, 90, 0)
    assert (b.size, b.poisoned, b.poisoned_removed, b.clean_removed, b.share(b.removed)) == (800, 0, 0, 10, 1.25)
    assert c.share(0) == 0
    assert removed.missed.tolist() == list(range(90, 100))
    assert removed.collateral.tolist() == list(range(200, 210))
    assert [row.name for row in removed.affected] == ["a", "b"]


def test_the_five_sentences(record):
    planted, threat, defended, after, noise = of(record)
    start = "In 100 of the 1,000 training images (10.0 %; 50.0 % of the images of 'a') the attack htba"
    assert planted.startswith(start)
    for text in (
        "right on 80.0 % of the clean",
        "takes 90.0 % of the images of other classes for 'a'",
        "against 2.0 % of them without it: a strong backdoor.",
    ):
        assert text in threat
    caught = "90 of the 100 poisoned (recall 90.0 %) and 10 clean (precision 90.0 %)"
    assert defended == f"mine removed 100 images: {caught}, the most in 'b' (10)."
    assert f"right on 78.5 % ({MINUS}1.5 points) of the clean images and takes 12.5 % ({MINUS}77.5 points)" in after
    assert "clean-set" not in after
    for text in (
        "This is one run, seed 3: with 400 validation images chance alone moves a share by up to 4.9 points",
        "no record of another seed",
        "no control of the same seed was found",
    ):
        assert text in noise


def test_controls_and_other_seeds_are_said(record):
    clean, other = changed(record, "clean-set", control=True, asr=5.5), changed(record, asr=40.04)
    *_, after, noise = of(record, beside=[clean], seeds=[other])
    assert "an encoder that never saw a trigger (clean-set) takes 5.5 %" in after
    assert "over the 2 seeds found, the last share goes from 12.5 to 40.0 %" in noise
    assert "the controls of the same seed (clean-set) are in the table" in noise


def test_a_control_a_change_and_no_defense(record):
    control = of(changed(record, control=True))
    assert control[2].startswith("mine, a control and no defense, removed 100 images")
    assert "it is itself a control" in control[4]
    assert of(record, unpoisoned=True)[2].endswith("trained on the same images without any trigger.")
    assert of(record, training_change="mix")[2].endswith("(10); mix changed how the new encoder was trained.")
    record["metrics"]["detection"] |= {"removed": 0, "precision": None}
    assert of(record, training_change="mix")[2] == "No image was removed; mix changed how the new encoder was trained."
    assert of(record)[2] == "mine removed no image: it changed the images, or how the new encoder was trained on them."
    record["run"] |= {"defense": "mine+mend", "repair": True}
    assert of(record)[2] == "No image was removed; mend made the new encoder out of the old one."
    record["run"] |= {"defense": "mine", "repair": False}
    record["stages"]["retraining"] = record["stages"]["threat_model"]
    none = of(record)
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
def test_how_strong_the_attack_is(record, before, after, words):
    none = record["metrics"]["none"]
    none["clean"]["asr"], none["poisoned"]["asr"] = before, after
    assert of(record)[1].endswith(words)


def test_undefined_shares_several_targets_and_older_records(record):
    record["poison"]["targets"] = ["a", "b", "c"]
    record["metrics"]["defended"]["clean"]["acc"] = None
    del record["metrics"]["clean_removed"]
    sentences = of(record)
    assert "'a', 'b' and 'c'" in sentences[0]
    assert "one of 3 triggers" in sentences[0]
    assert sentences[2].endswith("and 10 clean (precision 90.0 %).")
    assert "- (- points)" in sentences[3]
    for file in sorted(FIXTURES.glob("*.json")):
        assert len(of(records.upgraded(json.loads(file.read_text())))) == 5


def test_differences_and_chance():
    pairs = [(1.04, 1.0), (1.0, 1.04), (50.0, 40.0), (40.0, 50.26), (None, 1.0)]
    assert [points(*pair) for pair in pairs] == ["0.0", "0.0", f"{MINUS}10.0", "+10.3", "-"]
    assert (chance(2401), chance(0)) == (2.0, 98.0)
