"""Runs of a detector and of an encoder test: their stages, what they see, their records, tables and pages."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bench import boards
from bench.api import Detector, EncoderTest, EncoderVerdict
from bench.boards.judged import AREA, ENCODERS, judged
from bench.config.combination import Combination
from bench.errors import BenchError
from bench.isolation.scores import check_scores, read_scores
from bench.pipeline.events import silent
from bench.pipeline.lot import drawn
from bench.pipeline.runner import make_stages
from bench.plugins.manager import Plugins
from bench.records import record as records
from bench.records.build import build_record, keep_record
from bench.records.submission import to_bytes
from bench.report.controls import Beside
from bench.report.page import report
from bench.report.per_image import per_image
from bench.report.terminal import summary
from bench.seeds import Seeds
from bench.session.result import Result


@dataclasses.dataclass(frozen=True, kw_only=True)
class Doorkeeper(Detector):
    """Scores an image by its first pixel."""

    name = "doorkeeper"
    seen = []

    def score(self, view, known):
        images = view.batch(range(len(view)))
        self.seen.append((images, known.batch(range(len(known))), view.seeds("a").value, known.seeds("a").value))
        known.step("kept", lambda: {"x": np.zeros(1)})
        return images[:, 0, 0, 0].double().numpy()


def finished(smoke, defense, tmp_path):
    """A run of `smoke`'s threat model with this object, in this process, its store that of `smoke` in a copy."""
    pipeline, _ = smoke
    config = dataclasses.replace(pipeline.config, defense=Combination(filter=defense), until="detection")
    machine = dataclasses.replace(pipeline.machine, in_place=True)  # its class lies in no module that is imported
    made = dataclasses.replace(pipeline, config=config, machine=machine, store=type(pipeline.store)(tmp_path))
    make_stages(made, silent)
    return made


@pytest.fixture
def door(smoke, copied):
    Doorkeeper.seen.clear()
    return finished(smoke, Doorkeeper(), copied)


@pytest.mark.parametrize(("count", "triggers", "expected"), [(80, 1, [40, 40]), (81, 3, [41, 14, 13, 13])])
def test_half_of_the_images_are_clean_and_the_triggers_share_the_rest(count, triggers, expected):
    lot, other = drawn(count, triggers, Seeds(1)), drawn(count, triggers, Seeds(2))
    assert lot.index.tolist() == list(range(count)), "each image once: no pair tells which has the trigger"
    assert [int((lot.trigger == each).sum()) for each in range(-1, triggers)] == expected
    assert lot.trigger.tolist() == drawn(count, triggers, Seeds(1)).trigger.tolist() != other.trigger.tolist()


def test_a_detector_sees_a_mixture_in_a_hidden_order_and_the_known_images(door):
    assert [stage.name for stage in door.stages()] == ["poison", "pretrain", "probe", "detect"]
    ((tested, known, one, other),) = Doorkeeper.seen
    scores, val = door.judgement, door.dataset.val.images
    triggered = door.triggered_val()[0]
    expected = torch.stack([(triggered if t >= 0 else val).batch([i])[0] for i, t in enumerate(scores.trigger)])
    assert sorted(map(bytes, tested.numpy())) == sorted(map(bytes, expected.numpy()))
    assert not torch.equal(tested, expected), "an order of its own"
    assert scores.score.tolist() == expected[:, 0, 0, 0].tolist(), "each image has its own score again"
    everything = door.poisoned_train.batch(range(len(door.dataset.train)))
    assert sorted(map(bytes, known.numpy())) == sorted(map(bytes, everything.numpy()))
    assert one != other
    assert scores.facts == {"in_place": True}
    again = read_scores(door.folder(door.clean))
    assert all(np.array_equal(getattr(again, name), getattr(scores, name)) for name in ("index", "trigger", "score"))


def test_its_record_tables_and_pages(door):
    made, path = keep_record(door)
    assert set(made["metrics"]) == {"none", "test_time"}
    assert (made["metrics"]["test_time"]["clean"], made["metrics"]["test_time"]["triggered"]) == (40, 40)
    assert (made["run"]["until"], set(made["stages"])) == (
        "detection",
        {"poison", "threat_model", "threat_probe", "defense"},
    )
    assert records.fingerprint(records.load(path)) == records.fingerprint(build_record(door))
    (table,) = boards.tables([made])
    assert "; test-time detectors" in table.title
    (line,) = table.lines
    assert (line.label, line.cell("test AUROC")) == (
        "doorkeeper (htba)",
        f"{made['metrics']['test_time']['auroc']:.1f}",
    )
    for form in boards.FORMATS.values():
        assert "doorkeeper" in form([table])
    assert "**TPR@1%**" in boards.renderer("markdown")([table])
    assert "test AUROC" in boards.renderer("csv")([table]).splitlines()[0]
    page = report(door, made, Beside()).decode()
    assert "doorkeeper, a test-time detector, scored 40 validation images as they are and 40 others" in page
    assert "Histogram of the scores of test images" in page
    assert 'id="removed"' not in page
    assert any("doorkeeper, a test-time detector" in str(part) for part in summary(made))
    assert per_image(door).decode().splitlines()[0] == "id,class,trigger,score"
    frame = Result(record=made, path=path, pipeline=door, known=Plugins.load()).images()
    assert list(frame.columns) == ["id", "class", "triggered", "trigger", "score"]
    assert (len(frame), int(frame["triggered"].sum()), int(frame["trigger"].isna().sum())) == (80, 40, 40)
    with pytest.raises(BenchError, match="'doorkeeper', which chooses no training images"):
        to_bytes(made, None)
    with pytest.raises(BenchError, match="doorkeeper judges no training images"):
        Result(record=made, path=path, pipeline=door, known=Plugins.load()).figure([])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sniffer(EncoderTest):
    """Scores an encoder by one number of it."""

    name = "sniffer"

    def verdict(self, view):
        return EncoderVerdict(score=float(view.encoder(view.batch([0])).mean()), facts={"images": len(view)})


def test_an_encoder_test_s_record_and_page(smoke, copied):
    run = finished(smoke, Sniffer(), copied)
    assert [stage.name for stage in run.stages()] == ["poison", "pretrain", "probe", "judge"]
    made, path = keep_record(run)
    assert set(made["metrics"]) == {"none", "encoder"}
    assert made["metrics"]["encoder"]["score"] == run.judgement.score
    assert made["facts"] == {"images": 160, "in_place": True}
    assert "sniffer, an encoder test, gives this encoder the score" in report(run, made, Beside()).decode()
    with pytest.raises(BenchError, match="sniffer judges the encoder and scores no image"):
        Result(record=made, path=path, pipeline=run, known=Plugins.load()).images()


def test_detectors_stand_in_one_table_over_all_attacks(smoke, copied):
    """Means by hand; where nothing is poisoned there is a column, in no mean."""
    made = build_record(finished(smoke, Doorkeeper(), copied))

    def of(seed, area, attack, poisoned=True):
        threat = {**made["stages"]["threat_model"], "key": f"{seed}{attack}".encode().hex().ljust(64, "0")}
        return {
            **made,
            "run": {**made["run"], "seed": seed, "attack": attack},
            "metrics": {**made["metrics"], "test_time": {**made["metrics"]["test_time"], "auroc": area}},
            "poison": {**made["poison"], "count": made["poison"]["count"] if poisoned else 0},
            "stages": {**made["stages"], "threat_model": threat},
        }

    many = [of(0, 90, "htba"), of(1, 80, "htba"), of(0, 50, "sig"), of(1, 60, "sig"), of(0, 10, "quiet", False)]
    (table,) = judged(many)
    every, single = table.parts()
    assert list(every.columns) == ["mean", "worst", "htba", "sig", "quiet: no backdoor"]
    (line,) = every.lines
    assert [line.by_seed[seed][every.columns["mean"]] for seed in (0, 1)] == [70, 70]
    assert [line.by_seed[seed][every.columns["worst"]] for seed in (0, 1)] == [50, 60]
    assert line.number(every.columns["quiet: no backdoor"])[0] == 10
    assert [each.attack for each in single.lines] == ["htba", "quiet", "sig"]
    assert every.ranks == {}, "there is no other detector"
    other = [
        {**each, "run": {**each["run"], "defense": "other"}, "config": {**each["config"], "defense": {"name": "other"}}}
        for each in many[:4]
    ]
    (both,) = judged([*many, *other])
    assert set(both.parts()[0].ranks.values()) == {1}, "equal in every seed"
    (alone,) = judged(many[:2])
    assert len(alone.parts()) == 1, "one attack needs no mean"


def test_encoders_are_pooled_each_counted_once(smoke, copied):
    """Three poisoned with scores 3, 2, 1 and two clean with 2 and 0: 3 beats both, 2 ties one and beats one, 1 beats
    one: 4.5 of 6. One of the poisoned is there twice, of two attacks."""
    made = build_record(finished(smoke, Sniffer(), copied))

    def of(number, score, poisoned, attack="htba"):
        stages = {**made["stages"], "threat_model": {**made["stages"]["threat_model"], "key": f"{number:064x}"}}
        return {
            **made,
            "run": {**made["run"], "seed": number, "attack": attack},
            "metrics": {**made["metrics"], "encoder": {"score": score}},
            "poison": {**made["poison"], "count": made["poison"]["count"] if poisoned else 0},
            "stages": stages,
        }

    many = [of(1, 3, True), of(2, 2, True), of(3, 1, True), of(4, 2, False), of(5, 0, False)]
    (table,) = judged([*many, of(1, 3, True, "other")])
    (line,) = table.lines
    assert table.title.endswith(ENCODERS.lower())
    assert line.mean[AREA] == pytest.approx(75)
    assert (line.cell("encoders with poison"), line.cell("encoders without")) == ("3", "2")
    assert line.cell(AREA) == "75.0", "no interval"
    (table,) = judged(many[:3])
    assert table.lines[0].cell(AREA) == boards.UNDEFINED, "no clean encoder, no AUROC"


@pytest.mark.parametrize(
    ("score", "said"),
    [(np.zeros(3), r"shape \(3,\), expected \(2,\)"), (np.array([1.0, np.inf]), "1 scores that are not finite")],
)
def test_scores_that_are_none_are_refused(score, said):
    with pytest.raises(BenchError, match=said):
        check_scores(score, 2, "x")
