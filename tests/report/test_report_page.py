"""`bench report`: the page of smoke's run, and of runs to which parts of it do not apply."""

import dataclasses
import html
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from bench.cli.report import report as report_command
from bench.errors import BenchError
from bench.pipeline.runner import make_stages
from bench.records import record as records
from bench.records.build import build_record, keep_record
from bench.report.controls import Beside
from bench.report.page import report
from bench.ssl.import_weights import Checkpoint
from bench.ssl.train import CURVE_FILE, ENCODER_FILE

SECTIONS = ["story", "numbers", "suspects", "removed", "scores", "clusters", "training", "cost", "provenance"]
HOSTILE = "<script>alert('x')</script>&amp;$\\frac{1"


class Page(HTMLParser):
    """Words of each section, tables as rows, and every address that a browser would open."""

    def __init__(self, data):
        super().__init__()
        self.words, self.rows, self.opened, self.tags, self.ids = {}, [], [], set(), []
        self._section, self._cell = None, None
        self.feed(data.decode())
        self.close()

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.add(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.opened += [found[name] for name in ("src", "href", "xlink:href", "action") if name in found]
        assert not any(name.startswith("on") for name in found)
        if tag == "section":
            self._section = self.words.setdefault(found["id"], [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell = tag

    def handle_endtag(self, tag):
        self._cell = None if tag in ("td", "th") else self._cell

    def handle_data(self, data):
        if self._section is not None:
            self._section.append(data)
        if self._cell:
            self.rows[-1][-1] += data

    def text(self, section):
        return " ".join(" ".join(self.words[section]).split())

    def row(self, first):
        return next(row for row in self.rows if row[0].strip() == first)


@pytest.fixture(scope="module")
def made(smoke):
    """(pipeline, record, page) of smoke's run, its stages not made again."""
    pipeline, _ = smoke
    record = build_record(pipeline)
    return pipeline, record, report(pipeline, record, Beside(), count=4)


def test_every_section_is_there_and_the_page_needs_nothing_else(made):
    page = Page(made[2])
    assert list(page.words) == SECTIONS
    assert all(page.text(name) for name in SECTIONS)
    assert not page.tags & {"script", "iframe", "object", "embed", "link rel", "form"}
    assert all(address.startswith(("#", "data:")) for address in page.opened)
    assert len(page.ids) == len(set(page.ids))
    anchors = {address[1:] for address in page.opened if address.startswith("#")}
    assert anchors <= set(page.ids)
    style = re.findall(r"<style>(.*?)</style>", made[2].decode(), re.DOTALL)
    assert style
    assert not re.search(r"url\(|@import", "".join(style))


def test_the_numbers_are_the_records(made):
    _, record, data = made
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
    provenance = page.text("provenance")
    for text in (record["dataset"]["fingerprint"], record["versions"]["torch"], str(record["seeds"]["attack"])):
        assert text in provenance
    assert "bench run --preset smoke --seed 0" in provenance


def test_what_was_removed_adds_up(made):
    pipeline, record, data = made
    if not record["metrics"]["detection"]["removed"]:
        pytest.skip("smoke's defense removed nothing")
    named = tuple(pipeline.dataset.classes)
    rows = [row for row in Page(data).rows if row[0].startswith(named) and len(row) == 5]
    assert sum(int(row[3]) + int(row[4]) for row in rows) == record["metrics"]["detection"]["removed"]
    assert sum(int(row[2]) for row in rows) == record["poison"]["count"]
    assert {row[1] for row in rows} == {"40"}


def test_suspects_have_their_maps_boxes_and_scores(made):
    pipeline, _, data = made
    text = data.decode()
    part = text[text.index('<section id="suspects"') : text.index('<section id="removed"')]
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
    assert f"First training: loss {losses[0]:.3f} in the first epoch, {losses[-1]:.3f} in the last" in page.text(
        "training"
    )


def test_the_command_writes_the_same_bytes_every_time(made, tmp_path):
    pipeline, record, _ = made
    records.save(tmp_path / "run.json", record)
    report_command(tmp_path / "run.json", store=pipeline.store.root, count=4)
    first = (tmp_path / "run.html").read_bytes()
    report_command(
        tmp_path / "run.json", store=pipeline.store.root, output=tmp_path / "b.html", maps=["poisoncam"], count=4
    )
    assert (tmp_path / "b.html").read_bytes() == first
    with pytest.raises(BenchError, match="has gone from the store"):
        report_command(tmp_path / "run.json", store=tmp_path / "empty", count=4)
    with pytest.raises(BenchError, match="a control looks nowhere"):
        report_command(tmp_path / "run.json", store=pipeline.store.root, maps=["oracle"], count=4)


def test_hostile_names_stay_text(smoke, made):
    pipeline, record = smoke[0], json.loads(json.dumps(made[1]))
    classes = (HOSTILE, *pipeline.dataset.classes[1:])
    hostile = dataclasses.replace(pipeline, dataset=dataclasses.replace(pipeline.dataset, classes=classes))
    record["poison"]["targets"] = [HOSTILE]
    record["run"] |= {"attack": HOSTILE, "defense": HOSTILE, "preset": HOSTILE}
    record["facts"] = {HOSTILE: HOSTILE}
    record["config"]["dataset"] = {HOSTILE: HOSTILE}
    record["hardware"] = {"cpu": HOSTILE}
    data = report(hostile, record, Beside([record]), count=2)
    page = Page(data)
    assert "script" not in page.tags
    assert HOSTILE in " ".join(page.words["story"])
    assert b"<script" not in data
    assert html.escape("<script>").encode() in data


def finished(pipeline, ear):
    make_stages(pipeline, ear)
    return pipeline, build_record(pipeline)


def test_no_defense(workshop, copied, ear):
    pipeline, record = finished(workshop.pipeline(defense="none", store=copied), ear)
    page = Page(report(pipeline, record, Beside(), count=3))
    assert list(page.words) == SECTIONS
    assert "none removed nothing." in page.text("story")
    assert "the encoder after is the encoder before" in page.text("story")
    assert "scores no image" in page.text("suspects")
    assert "Nothing was removed." in page.text("removed")
    assert "gives no image a score" in page.text("scores")
    assert "makes no clusters" in page.text("clusters")
    assert "Second training: all images were kept, so it is the first training." in page.text("training")
    assert page.row("train again on what is kept")[1] == "as above"


def settled(workshop, copied, monkeypatch, **choices):
    """A run whose second training is smoke's first: no training in these tests."""
    pipeline = workshop.pipeline(store=copied, **choices)
    from bench.pipeline.runner import make_stage

    make_stage(pipeline.clean, pipeline.store, lambda *_, **__: None)
    monkeypatch.setattr(type(pipeline), "retrain", pipeline.threat)
    monkeypatch.setattr(type(pipeline), "defended_probe", pipeline.threat_probe)
    return pipeline, build_record(pipeline)


def test_a_control(workshop, copied, monkeypatch):
    pipeline, record = settled(workshop, copied, monkeypatch, defense="oracle")
    page = Page(report(pipeline, record, Beside(), count=3))
    assert list(page.words) == SECTIONS
    assert "oracle, a control and no defense, removed" in page.text("story")
    assert "No control of this seed" not in page.text("numbers")
    assert "it is a control" in page.text("clusters")
    assert "Poisoned, and kept" not in page.text("removed")


def test_a_control_on_unpoisoned_images_and_a_training_change(workshop, copied, monkeypatch):
    pipeline, record = settled(workshop, copied, monkeypatch, defense="clean-set")
    page = Page(report(pipeline, record, Beside(), count=3))
    assert "as it was before it was poisoned" in page.text("removed")
    pipeline, record = settled(workshop, copied, monkeypatch, defense="icutmix")
    page = Page(report(pipeline, record, Beside([record]), count=3))
    assert "icutmix changes the training instead" in page.text("removed")
    assert "No image was removed; icutmix changed how" in page.text("story")
    assert len(page.row("clean images: classified rightly (ACC)")) == 4


def test_a_training_without_a_curve(smoke, made, copied):
    pipeline = dataclasses.replace(smoke[0], store=type(smoke[0].store)(copied))
    curve = pipeline.folder(pipeline.threat) / CURVE_FILE
    curve.write_text(curve.read_text().replace("loss_per_epoch", "xxxx_per_epoch"))
    page = Page(report(pipeline, made[1], Beside(), count=2))
    assert "First training: no curve stored (older run)." in page.text("training")
    assert "Second training: loss" in page.text("training")


def test_a_defense_that_scores_but_locates_nothing(smoke, made, monkeypatch, workshop, copied):
    none = workshop.pipeline(defense="none", store=copied)
    score = np.linspace(0, 1, 160)
    verdict = dataclasses.replace(smoke[0].verdict, keep=score < 0.9, score=score, trigger_score=None, boxes=None)
    monkeypatch.setattr(type(none), "verdict", verdict)
    monkeypatch.setattr(type(none), "retrain", none.threat)
    record = json.loads(json.dumps(made[1]))
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
