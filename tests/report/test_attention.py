"""`bench report -o PICTURE.png`: which images, what is drawn on them, and which runs can be shown."""

import json

import numpy as np
import pytest
from PIL import Image

from bench.cli.report import report as show
from bench.errors import BenchError
from bench.records import record
from bench.records.build import build_record
from bench.report import attention as gallery


@pytest.fixture
def run(smoke, tmp_path):
    """The record of smoke's run, in a file."""
    pipeline, _ = smoke
    record.save(tmp_path / "run.json", build_record(pipeline))
    return tmp_path / "run.json", pipeline.store.root


def test_the_most_suspicious_come_first_and_unscored_ones_last(smoke):
    pipeline, _ = smoke
    chosen, score = gallery.most_suspicious(pipeline, 160), pipeline.verdict.trigger_score
    assert sorted(chosen.tolist()) == list(range(160))
    ordered = score[chosen]
    scored = ordered[~np.isnan(ordered)]
    assert (np.diff(scored) <= 0).all()
    assert not np.isnan(ordered[: len(scored)]).any()


def test_a_picture_has_a_row_for_each_locating_defense_and_the_boxes_in_it(smoke):
    pipeline, _ = smoke
    defense = pipeline.config.defense.filter
    chosen = gallery.most_suspicious(pipeline, 6)
    figure = gallery.gallery(pipeline, [defense, defense], 6)
    axes = np.array(figure.axes).reshape(3, 6)
    assert [axes[row, 0].get_ylabel() for row in range(3)] == ["image", "poisoncam", "poisoncam"]
    truth = pipeline.train_manifest
    for column, index in enumerate(chosen):
        frames = {patch.get_edgecolor()[:3]: patch for patch in axes[1, column].patches}
        assert len(frames) == 1 + bool(truth.poisoned[index])
        if truth.poisoned[index]:
            true = frames[(1.0, 215 / 255, 0.0)]
            top, left, height, width = truth.boxes[index]
            assert (true.get_y(), true.get_x()) == (top - 0.5, left - 0.5)
            assert (true.get_height(), true.get_width()) == (height, width)
    shown = axes[0, 0].images[0].get_array()
    assert (shown == pipeline.poisoned_train.batch(chosen[:1])[0].permute(1, 2, 0).numpy()).all()


def test_a_defense_that_locates_nothing(smoke, workshop):
    none = workshop.pipeline(defense="none").config.defense.filter
    with pytest.raises(BenchError, match="none locates no trigger"):
        gallery.gallery(smoke[0], [none], 3)


def test_show_draws_the_same_picture_every_time(run, tmp_path):
    file, store = run
    for name in ("one.png", "two.png"):
        show(file, store=store, output=tmp_path / name, maps=["poisoncam"], count=4)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.width > 400


def test_what_cannot_be_shown(run, tmp_path):
    file, store = run
    with pytest.raises(BenchError, match="a control looks nowhere"):
        show(file, store=store, output=tmp_path / "run.png", maps=["oracle"], count=4)
    with pytest.raises(BenchError, match="has gone from the store"):
        show(file, store=tmp_path / "empty", output=tmp_path / "run.png", maps=["poisoncam"], count=4)
    found = json.loads(file.read_text())
    found["stages"]["threat_model"]["key"] = "0" * 64
    file.write_text(json.dumps(found))
    with pytest.raises(BenchError, match="another threat_model now"):
        show(file, store=store, output=tmp_path / "run.png", count=4)
    del found["run"]["asked"]
    file.write_text(json.dumps(found))
    with pytest.raises(BenchError, match="does not say which command"):
        show(file, store=store, output=tmp_path / "run.png", count=4)
