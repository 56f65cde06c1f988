"""`bench report -o PICTURE.png`: which images, what is drawn on them, and which runs can be shown."""

import json

import numpy as np
import pytest
from PIL import Image

from bench.cli.report import report as show
from bench.errors import BenchError
from bench.records import record
from bench.report import attention as gallery


@pytest.fixture
def run(built, tmp_path):
    """The record of smoke's run, in a file, and its store."""
    record.save(tmp_path / "run.json", built[1])
    return tmp_path / "run.json", built[0].store.root


def test_the_most_suspicious_come_first_and_unscored_ones_last(smoke):
    chosen, score = gallery.most_suspicious(smoke[0], 160), smoke[0].verdict.trigger_score
    assert sorted(chosen.tolist()) == list(range(160))
    scored = score[chosen][~np.isnan(score[chosen])]
    assert (np.diff(scored) <= 0).all()
    assert (score[chosen][: len(scored)] == scored).all()


def test_a_picture_has_a_row_for_each_locating_defense_and_the_boxes_in_it(smoke, workshop, monkeypatch):
    pipeline, none = smoke[0], workshop.pipeline(defense="none").config.defense.filter
    defense = pipeline.config.defense.filter
    chosen = gallery.most_suspicious(pipeline, 6)
    found = gallery.look(pipeline, defense, chosen)
    assert gallery.look(pipeline, none, chosen) is None
    monkeypatch.setattr(gallery, "look", lambda _, each, __: found if each == defense else None)
    figure = gallery.gallery(pipeline, [defense, none, defense], 6)
    axes = np.array(figure.axes).reshape(3, 6)
    assert [axes[row, 0].get_ylabel() for row in range(3)] == ["image", "poisoncam", "poisoncam"]
    truth = pipeline.train_manifest
    for column, index in enumerate(chosen):
        frames = {patch.get_edgecolor()[:3]: patch for patch in axes[1, column].patches}
        assert len(frames) == 1 + bool(truth.poisoned[index])
        if truth.poisoned[index]:
            true = frames[(1.0, 215 / 255, 0.0)]
            top, left, height, width = truth.boxes[index]
            drawn = (true.get_y(), true.get_x(), true.get_height(), true.get_width())
            assert drawn == (top - 0.5, left - 0.5, height, width)
    shown = axes[0, 0].images[0].get_array()
    assert (shown == pipeline.poisoned_train.batch(chosen[:1])[0].permute(1, 2, 0).numpy()).all()
    with pytest.raises(BenchError, match="none locates no trigger"):
        gallery.gallery(pipeline, [none], 3)


def test_show_draws_the_same_picture_every_time(run, tmp_path):
    file, store = run
    for name in ("one.png", "two.png"):
        show(file, store=store, output=tmp_path / name, maps=["poisoncam"], count=4)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.width > 400


def test_what_cannot_be_shown(run, tmp_path):
    file, store = run
    found = json.loads(file.read_text())

    def refused(said, place=store, **options):
        file.write_text(json.dumps(found))
        with pytest.raises(BenchError, match=said):
            show(file, store=place, output=tmp_path / "run.png", count=4, **options)

    refused("a control looks nowhere", maps=["oracle"])
    refused("has gone from the store", tmp_path / "empty", maps=["poisoncam"])
    found["stages"]["threat_model"]["key"] = "0" * 64
    refused("another threat_model now")
    del found["run"]["asked"]
    refused("does not say which command")
