"""What stages take of a machine."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.matrix.needs import Needs, largest, stage_needs
from bench.pipeline.stage import VERSIONS, Machine


def test_a_training_takes_as_many_as_it_has_devices_and_what_decides_takes_no_gpu():
    found = stage_needs(Machine(devices=2), gpus=True)
    assert set(found) == set(VERSIONS)
    assert found["pretrain"] == Needs(2, 2)
    assert found["clean"] == found["probe"] == Needs(1, 1)
    assert found["poison"] == found["control"] == found["import"] == Needs(1, 0)
    assert {each.gpus for each in stage_needs(Machine(devices=2), gpus=False).values()} == {0}


def test_changes_reach_their_stage_alone_and_the_last_counts():
    found = stage_needs(Machine(), False, ["pretrain.cpus=4", "clean.gpus=0.5", "pretrain.cpus=8"])
    assert found["pretrain"] == Needs(8, 0)
    assert found["clean"] == Needs(1, 0.5)
    assert found["probe"] == Needs(1, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pretrian.cpus=1", "there is no stage 'pretrian'. Did you mean 'pretrain'?"),
        ("pretrain.ram=1", "expected pretrain.cpus=NUMBER or pretrain.gpus=NUMBER"),
        ("pretrain.cpus", "expected a whole number, or a share between 0 and 1"),
        ("pretrain.cpus=-1", "expected a whole number"),
        ("pretrain.gpus=1.5", "expected a whole number"),
        ("pretrain.gpus=inf", "expected a whole number"),
        ("pretrain.gpus=nan", "expected a whole number"),
    ],
)
def test_what_cannot_be_used_is_said(text, said):
    with pytest.raises(BenchError, match="--resources") as caught:
        stage_needs(Machine(), False, [text])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("need", "room", "count"),
    [
        (Needs(1, 0), {"CPU": 8}, 8),
        (Needs(3, 0), {"CPU": 8}, 2),
        (Needs(1, 0.5), {"CPU": 8, "GPU": 2}, 4),
        (Needs(1, 1), {"CPU": 8}, 0),
        (Needs(0, 0), {}, 1),
    ],
)
def test_how_many_have_room(need, room, count):
    assert need.fits(room) == count


def test_threads_are_whole_and_at_least_one():
    assert [Needs(cpus).threads for cpus in (0, 0.5, 1, 4)] == [1, 1, 1, 4]
    assert largest([Needs(1, 2), Needs(4, 0)]) == Needs(4, 2)
