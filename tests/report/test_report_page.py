"""`bench report`: the page of smoke's run, and of runs to which parts of it do not apply."""

import copy
import dataclasses
import html
import json
import re

import numpy as np
import pytest
import torch

from bench.cli.report import report as report_command
from bench.defenses.recur.recur import png
from bench.errors import BenchError
from bench.pipeline.runner import make_stage, make_stages
from bench.records import record as records
from bench.records.build import build_record, keep_record
from bench.report.controls import Beside
from bench.report.page import report, run_page
from bench.report.pictures import Seen
from bench.ssl.import_weights import Checkpoint
from bench.ssl.train import CURVE_FILE, ENCODER_FILE

SECTIONS = ["story", "numbers", "suspects", "removed", "scores", "clusters", "training", "cost", "provenance"]
HOSTILE = "<script>alert('x')</script>&amp;$\\frac{1"


def words(markup):
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())


class Page:
    """The markup of each section and the rows of all tables."""

    def __init__(self, data):
        self.data = data.decode()
        self.parts = dict(re.findall(r'<section id="(\w+)"[^>]*>(.*?)</section>', self.data, re.DOTALL))
        rows = re.findall(r"<tr.*?</tr>", self.data, re.DOTALL)
        self.rows = [[words(cell) for cell in re.findall(r"<t[dh].*?</t[dh]>", row, re.DOTALL)] for row in rows]

    def text(self, section):
        return words(self.parts[section])

    def row(self, first):
        return next(row for row in self.rows if row[0] == first)


@pytest.fixture(scope="module")
def made(built):
    """(pipeline, record, page) of smoke's run, its stages not made again."""
    pipeline, record = built
    return pipeline, record, report(pipeline, record, Beside(), count=4)


def test_every_section_is_there_and_the_page_needs_nothing_else(made):
    page = Page(made[2])
    assert list(page.parts) == SECTIONS
    assert all(page.text(name) for name in SECTIONS)
    assert not re.search(r"<(script|iframe|object|embed|form)\b|<[^>]*\son\w+=", page.data)
    opened = re.findall(r'\s(?:src|href|xlink:href|action)="([^"]*)', page.data)
    ids = re.findall(r'\sid="([^"]*)', page.data)
    assert len(ids) == len(set(ids))
    assert all(each.startswith("data:") or each.removeprefix("#") in ids for each in opened)
    style = re.findall(r"<style>(.*?)</style>", page.data, re.DOTALL)
    assert style
    assert not re.search(r"url\(|@import", "".join(style))


def test_the_numbers_are_the_records(made):
    pipeline, record, data = made
    page, metrics = Page(data), record["metrics"]
    for label, split, name in (
        ("clean images: classified rightly (ACC)", "clean", "acc"),
        ("triggered images: taken for the target class (ASR)", "poisoned", "asr"),
    ):
        assert page.row(label)[1:] == [f"{metrics[who][split][name]:.1f} %" for who in ("none", "defended")]
    assert page.row("poisoncam")[1] == str(metrics["detection"]["removed"])
    for k, found in metrics["localisation"].items():
        assert page.row(f"top {k}")[1] == f"{found['accuracy']:.1f} %"
    assert page.row("find the poison")[1].endswith("s")
    for text in (record["dataset"]["fingerprint"], record["versions"]["torch"], str(record["seeds"]["attack"])):
        assert text in page.text("provenance")
    assert "bench run --preset smoke --seed 0" in page.text("provenance")
    named = tuple(pipeline.dataset.classes)
    rows = [row for row in page.rows if row[0].startswith(named) and len(row) == 5]
    assert sum(int(row[3]) + int(row[4]) for row in rows) == metrics["detection"]["removed"] > 0
    assert sum(int(row[2]) for row in rows) == record["poison"]["count"]
    assert {row[1] for row in rows} == {"40"}


def test_suspects_have_their_maps_boxes_and_scores(made):
    pipeline, _, data = made
    part = Page(data).parts["suspects"]
    assert part.count('<figure class="card">') == 4
    assert part.count('aria-label="where poisoncam looks in training image') == 4
    truth, verdict = pipeline.train_manifest, pipeline.verdict
    chosen = [int(number) for number in re.findall(r"no\. (\d+)", part)]
    assert part.count('class="found-box"') == 2 * 4
    assert part.count('class="true-box"') == 2 * int(truth.poisoned[chosen].sum())
    top, left, height, width = verdict.boxes[chosen[0]]
    assert f'class="found-box" x="{left}" y="{top}" width="{width}" height="{height}"' in part
    assert f"trigger score {verdict.trigger_score[chosen[0]]:g}" in part


def test_clusters_and_curves(made):
    pipeline, _, data = made
    page = Page(data)
    found = re.findall(r"Cluster (\d+) , score (-?\d+) (\d+) images?, (\d+) poisoned", page.text("clusters"))
    assert len(found) >= 3
    scores = [int(score) for _, score, *_ in found]
    assert scores == sorted(scores, reverse=True)
    assert "learnt again for this page" in page.text("clusters")
    losses = json.loads((pipeline.folder(pipeline.threat) / CURVE_FILE).read_text())["loss_per_epoch"]
    said = f"First training: loss {losses[0]:.3f} in the first epoch, {losses[-1]:.3f} in the last"
    assert said in page.text("training")


def test_the_command_writes_the_same_bytes_every_time(made, tmp_path):
    pipeline, record, data = made
    run, store = tmp_path / "run.json", pipeline.store.root
    records.save(run, record)
    report_command(run, store=store, maps=["poisoncam"], count=4)
    assert (tmp_path / "run.html").read_bytes() == data
    for place, maps, said in (
        (tmp_path, [], "has gone from the store"),
        (store, ["oracle"], "a control looks nowhere"),
    ):
        with pytest.raises(BenchError, match=said):
            report_command(run, store=place, maps=maps, count=4)


@pytest.fixture
def unseen(monkeypatch):
    """No defense looks at the images again, which takes seconds: the first two are the suspects."""
    first = np.arange(2)
    monkeypatch.setattr("bench.report.artifacts.seen", lambda _, album, *__: Seen(album.pictures(first), None))


@pytest.mark.usefixtures("unseen")
def test_hostile_names_stay_text(built):
    pipeline, record = built[0], copy.deepcopy(built[1])
    classes = (HOSTILE, *pipeline.dataset.classes[1:])
    hostile = dataclasses.replace(pipeline, dataset=dataclasses.replace(pipeline.dataset, classes=classes))
    record["poison"]["targets"] = [HOSTILE]
    record["run"] |= {"attack": HOSTILE, "defense": HOSTILE, "preset": HOSTILE}
    record["facts"] = {HOSTILE: HOSTILE}
    record["config"]["dataset"] = {HOSTILE: HOSTILE}
    record["hardware"] = {"cpu": HOSTILE}
    page = Page(report(hostile, record, Beside([record]), count=2))
    assert HOSTILE in page.text("story")
    assert HOSTILE in page.text("suspects")
    assert "<script" not in page.data
    assert html.escape("<script>") in page.data


def test_no_defense(workshop, copied, ear):
    pipeline = workshop.pipeline(defense="none", store=copied)
    make_stages(pipeline, ear)
    page = Page(report(pipeline, build_record(pipeline), Beside(), count=3))
    assert list(page.parts) == SECTIONS
    said = {
        "story": ("none removed nothing.", "the encoder after is the encoder before"),
        "suspects": ("scores no image",),
        "removed": ("Nothing was removed.",),
        "scores": ("gives no image a score",),
        "clusters": ("makes no clusters",),
        "training": ("Second training: all images were kept, so it is the first training.",),
    }
    assert not [text for section, texts in said.items() for text in texts if text not in page.text(section)]
    assert page.row("train again on what is kept")[1] == "as above"


@pytest.fixture
def settled(workshop, copied, monkeypatch, ear):
    """settled(defense) -> the page of a run whose second training is smoke's first: no training in these tests."""

    def make(defense):
        pipeline = workshop.pipeline(store=copied, defense=defense)
        make_stage(pipeline.clean, pipeline.store, ear)
        monkeypatch.setattr(type(pipeline), "retrain", pipeline.threat)
        monkeypatch.setattr(type(pipeline), "defended_probe", pipeline.threat_probe)
        record = build_record(pipeline)
        return Page(report(pipeline, record, Beside([record] if defense == "icutmix" else []), count=3))

    return make


def test_a_control_and_one_on_unpoisoned_images_and_a_training_change(settled):
    page = settled("oracle")
    assert list(page.parts) == SECTIONS
    assert "oracle, a control and no defense, removed" in page.text("story")
    assert "No control of this seed" not in page.text("numbers")
    assert "it is a control" in page.text("clusters")
    assert "Poisoned, and kept" not in page.text("removed")
    assert "as it was before it was poisoned" in settled("clean-set").text("removed")
    page = settled("icutmix")
    assert "icutmix changes the training instead" in page.text("removed")
    assert "No image was removed; icutmix changed how" in page.text("story")
    assert len(page.row("clean images: classified rightly (ACC)")) == 4


@pytest.mark.usefixtures("unseen")
def test_a_training_without_a_curve(built, copied):
    pipeline = dataclasses.replace(built[0], store=type(built[0].store)(copied))
    curve = pipeline.folder(pipeline.threat) / CURVE_FILE
    curve.write_text(curve.read_text().replace("loss_per_epoch", "xxxx_per_epoch"))
    text = Page(report(pipeline, built[1], Beside(), count=2)).text("training")
    assert "First training: no curve stored (older run)." in text
    assert "Second training: loss" in text


def test_a_defense_that_scores_but_locates_nothing(built, monkeypatch, workshop, copied):
    none, score = workshop.pipeline(defense="none", store=copied), np.linspace(0, 1, 160)
    verdict = dataclasses.replace(built[0].verdict, keep=score < 0.9, score=score, trigger_score=None, boxes=None)
    monkeypatch.setattr(type(none), "verdict", verdict)
    monkeypatch.setattr(type(none), "retrain", none.threat)
    record = copy.deepcopy(built[1])
    record["metrics"]["localisation"] = {}
    page = Page(report(none, record, Beside(), count=3))
    assert "no. 159" in page.text("suspects")
    assert "score 1.000" in page.text("suspects")
    assert "scores no candidate triggers" in page.text("numbers")
    assert "removed from here" in page.text("scores")


def test_a_run_with_an_imported_threat_model(smoke, workshop, copied, tmp_path, ear):
    """Its record says so, and the file is no longer needed; an older record says so in its config alone."""
    file = tmp_path / "theirs.safetensors"
    file.write_bytes((smoke[0].folder(smoke[0].threat) / ENCODER_FILE).read_bytes())
    pipeline = workshop.pipeline(defense="none", store=copied)
    config = dataclasses.replace(pipeline.config, threat_checkpoint=Checkpoint.of(file))
    pipeline = dataclasses.replace(pipeline, config=config)
    make_stages(pipeline, ear)
    file.unlink()
    record, kept = keep_record(pipeline)
    assert record["run"]["asked"]["threat_checkpoint"] == config.threat_checkpoint.facts
    report_command(kept, store=copied, output=tmp_path / "new.html", count=2)
    del record["run"]["asked"]["threat_checkpoint"]
    records.save(kept, record)
    report_command(kept, store=copied, output=tmp_path / "old.html", count=2)
    assert (tmp_path / "old.html").read_bytes() == (tmp_path / "new.html").read_bytes()
    page = Page((tmp_path / "new.html").read_bytes())
    assert "imported from theirs.safetensors" in page.text("story")
    assert "First training: the encoder was imported, not trained here." in page.text("training")
    assert "Second training: all images were kept, so it is the first training." in page.text("training")
    assert page.row("import the encoder")
    assert "--threat-checkpoint theirs.safetensors" in page.text("provenance")


def test_the_patches_that_a_defense_found_are_pictures(record):
    good = {"size": [10, 12], "images": 140, "hole": 0.4, "picture": png(torch.rand(3, 10, 12))}
    bad = [
        {"picture": 3},
        {**good, "picture": "javascript:alert(1)"},
        {**good, "size": [1]},
        {**good, "images": "many"},
    ]
    record["facts"] = {"triggers": [good, *bad, "none"]}
    page = Page(run_page(record, Beside()))
    shown = re.findall(r'<img class="patch" src="data:image/png;base64,([^"]*)"', page.data)
    assert shown == [good["picture"]]
    assert "this patch, 10 x 12 px, in 140 images" in page.text("suspects")
    assert "triggers.1.hole" in page.data
    assert "triggers.1.picture" not in page.data
    assert "a logo" not in page.text("suspects")
    record["facts"] = {"triggers": [], "not_tied": [good]}
    logo = Page(run_page(record, Beside()))
    assert "this patch, 10 x 12 px, in 140 images that are not of one kind: a logo, not removed" in logo.text(
        "suspects"
    )
    assert "not_tied.1.picture" not in logo.data
    record["status"], record["submission"] = "submitted", {"sha256": "0" * 64}
    assert "data:image/png" not in Page(run_page(record, Beside())).data
    record["facts"] = {"triggers": "none"}
    assert "this patch" not in Page(run_page(record, Beside())).data
