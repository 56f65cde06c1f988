"""Which stages a run consists of, and what makes two runs share one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.errors import BenchError

FIRST = ("poison", "threat", "threat_probe", "clean")


def keys(pipeline):
    return {name: getattr(pipeline, name).key for name in FIRST}


def changed(workshop, *settings, **more):
    """The stages that another configuration does not share with `smoke`."""
    base, other = keys(workshop.pipeline()), keys(workshop.pipeline(*settings, **more))
    return [name for name in FIRST if base[name] != other[name]]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], []),
        (["train.loader_workers=3"], []),
        (["probe.epochs=3"], ["threat_probe"]),
        (["defense.masks=17"], ["clean"]),
        (["train.epochs=3"], ["threat", "threat_probe", "clean"]),
        (["views.flip=0"], ["threat", "threat_probe", "clean"]),
        (["encoder.options.channels=[8, 8, 8, 8]"], ["threat", "threat_probe", "clean"]),
        (["ssl.momentum=0.5"], ["threat", "threat_probe", "clean"]),
        (["attack.rate=0.6"], list(FIRST)),
        (["dataset.seed=1"], list(FIRST)),
        (["seed=1"], list(FIRST)),
    ],
)
def test_an_option_changes_the_stages_behind_it_and_no_others(workshop, settings, expected):
    assert changed(workshop, *settings) == expected


def test_another_defense_shares_the_threat_model(workshop):
    assert changed(workshop, defense="none") == ["clean"]


def test_a_defense_that_looks_at_no_encoder_does_not_hang_on_the_training(workshop):
    short, long = (workshop.pipeline(f"train.epochs={epochs}", defense="none") for epochs in (2, 3))
    assert short.clean.key == long.clean.key
    assert short.threat.key != long.threat.key


def test_what_comes_after_the_defense_is_unknown_before_it(workshop, tmp_path):
    pipeline = workshop.pipeline(store=tmp_path)
    assert [stage.name for stage in pipeline.stages()] == ["poison", "pretrain", "probe", "clean"]


def test_a_finished_run_has_six_stages(smoke):
    pipeline, _ = smoke
    assert [stage.name for stage in pipeline.stages()] == ["poison", "pretrain", "probe", "clean", "pretrain", "probe"]
    assert len({stage.key for stage in pipeline.stages()}) == 6


def test_a_stage_that_is_not_there(workshop, tmp_path):
    pipeline = workshop.pipeline(store=tmp_path)
    with pytest.raises(BenchError, match="'poison the images' has gone from the store"):
        pipeline.folder(pipeline.poison)


def test_only_the_rows_of_truth_are_changed(smoke):
    pipeline, _ = smoke
    clean = pipeline.dataset.train.images.batch(range(160)).numpy()
    seen = pipeline.poisoned_train.batch(range(160)).numpy()
    touched = (clean != seen).any((1, 2, 3))
    truth = pipeline.train_manifest
    np.testing.assert_array_equal(touched, truth.poisoned)
    assert (pipeline.dataset.train.labels[truth.poisoned] == 0).all()
    for image in np.flatnonzero(truth.poisoned):
        top, left, height, width = truth.boxes[image]
        inside = np.zeros((32, 32), bool)
        inside[top : top + height, left : left + width] = True
        assert (height, width) == (10, 10)
        assert not (clean[image] != seen[image]).any(0)[~inside].any()


def test_every_validation_image_carries_the_trigger(smoke):
    pipeline, _ = smoke
    (triggered,) = pipeline.triggered_val()
    differs = (triggered.batch(range(80)) != pipeline.dataset.val.images.batch(range(80))).flatten(1).any(1)
    assert differs.all()
    assert torch.equal(triggered.batch([3]), triggered.batch([3]))


def test_the_second_training_sees_what_is_kept(smoke):
    pipeline, _ = smoke
    kept = int(pipeline.verdict.keep.sum())
    assert pipeline.retrain.inputs["kept"] != pipeline.threat.inputs["kept"] == "all"
    assert pipeline.retrain.work == kept // 32 * 32 * 2
