"""What a run would refuse is refused before anything is computed."""

from __future__ import annotations

import dataclasses

import pytest

from bench.errors import BenchError
from bench.pipeline.check import check_runnable, laid_out
from bench.pipeline.runner import make_stages
from bench.pipeline.stage import Machine


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("attack.target=99", "there is no class 99: 4 classes, so 0 to 3"),
        ("attack.trigger_size=40", r"a trigger of 40 px is larger than the images \(32 px\)"),
        ("defense.clusters=161", "161"),
        ("encoder.backbone=resnt18", "unknown timm backbone 'resnt18'"),
        ("ssl.hidden=1000000000", "the networks of this training take [0-9,]+ GiB with their gradients and averages"),
    ],
)
def test_it_is_refused_and_nothing_was_made(workshop, tmp_path, ear, setting, said):
    pipeline = workshop.pipeline(setting, "ssl.projector=2", store=tmp_path)
    with pytest.raises(BenchError, match=said):
        check_runnable(pipeline)
    with pytest.raises(BenchError, match=said):
        make_stages(pipeline, ear)
    assert ear.heard == []


def test_what_can_run_is_let_through(smoke, workshop, tmp_path):
    check_runnable(smoke[0])
    check_runnable(workshop.pipeline(store=tmp_path, defense="oracle"))


def test_the_networks_are_counted_without_their_numbers(smoke):
    config = smoke[0].config
    assert {each.device.type for each in laid_out(config, 32).parameters()} == {"meta"}


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ({"accelerator": "gpuu"}, "cannot train on accelerator 'gpuu'"),
        ({"accelerator": "cpu", "devices": 5}, "train.batch 32 is not a multiple of the 5 devices"),
    ],
)
def test_a_machine_that_cannot_be_is_refused_even_where_everything_is_stored(smoke, machine, said):
    with pytest.raises(BenchError, match=said):
        dataclasses.replace(smoke[0], machine=Machine(**machine))


def test_an_error_of_an_attack_itself_is_left_to_its_stage(workshop, tmp_path, monkeypatch):
    pipeline = workshop.pipeline(store=tmp_path)
    monkeypatch.setattr(type(pipeline.config.attack), "poison_train", lambda *_: {}["nothing"])
    check_runnable(pipeline)
    with pytest.raises(KeyError):
        pipeline.config.attack.poison_train(None, None)


def test_what_was_checked_for_one_run_is_not_checked_again_for_another(workshop, tmp_path):
    pipeline, known = workshop.pipeline("attack.target=99", store=tmp_path), set()
    with pytest.raises(BenchError, match="there is no class 99"):
        check_runnable(pipeline, known)
    assert known == {pipeline.poison.key}
    check_runnable(dataclasses.replace(pipeline), known)
