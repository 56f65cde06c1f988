"""Ray: what stages take of machines, whether the store is shared, and what cannot be used. The rest: test_run.py."""

from __future__ import annotations

import sys

import pytest

from bench.cli import main as cli
from bench.errors import BenchError
from bench.matrix.ray import connect, room_for, sees, stage_resources
from bench.pipeline.stage import VERSIONS, Machine


def need(cpus, gpus=0):
    return {"CPU": cpus, "GPU": gpus}


def test_a_stage_takes_what_its_kind_and_the_last_change_say():
    light = dict.fromkeys(("poison", "control", "import"), need(1))
    found = stage_resources(Machine(devices=2), gpus=True)
    assert set(found) == set(VERSIONS)
    assert found == {**found, "pretrain": need(2, 2), "clean": need(1, 1), "probe": need(1, 1), **light}
    found = stage_resources(Machine(devices=2), False, ["clean.cpus=1"], threads=4)
    assert [found[stage]["CPU"] for stage in ("poison", "import", "pretrain", "probe", "clean")] == [1, 1, 8, 4, 1]
    found = stage_resources(Machine(), False, ["pretrain.cpus=4", "clean.gpus=0.5", "pretrain.cpus=8"])
    assert found == {**dict.fromkeys(VERSIONS, need(1)), "pretrain": need(8), "clean": need(1, 0.5)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pretrian.cpus=1", "there is no stage 'pretrian'. Did you mean 'pretrain'?"),
        ("pretrain.ram=1", "expected pretrain.cpus=NUMBER or pretrain.gpus=NUMBER"),
        *(
            (f"pretrain.{each}", "pretrain.gpus=NUMBER, a whole number, or a share between 0 and 1")
            for each in ("cpus", "cpus=-1", "gpus=1.5", "gpus=inf", "gpus=nan")
        ),
    ],
)
def test_resources_that_cannot_be_used(text, said):
    with pytest.raises(BenchError, match="--resources") as caught:
        stage_resources(Machine(), False, [text])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("needs", "rooms", "count"),
    [
        ([need(3)], [{"CPU": 8}], 2),
        ([need(1, 0.5)], [{"CPU": 8, "GPU": 2}], 4),
        ([need(0)], [{}], 1),
        ([need(1), need(4, 1)], [{"CPU": 8, "GPU": 4}, {"CPU": 6, "GPU": 4}, {"CPU": 64}], 2 + 1 + 0),
    ],
)
def test_room_is_counted_by_machine_for_the_largest_stage(needs, rooms, count):
    assert room_for(rooms, {str(number): each for number, each in enumerate(needs)}) == count


def test_a_stage_with_room_nowhere_is_named():
    said = r"a pretrain stage takes 8 CPUs and 0 GPUs, and no machine .* \(4 CPUs and 0 GPUs; 4 CPUs and 1 GPUs\)"
    with pytest.raises(BenchError, match=said):
        room_for([{"CPU": 4}, {"CPU": 4, "GPU": 1}], {"poison": need(1), "pretrain": need(8)})


def test_a_machine_sees_a_file_of_the_store_or_not(tmp_path):
    assert not sees(str(tmp_path / "probe"), patience=0.0)
    (tmp_path / "probe").touch()
    assert sees(str(tmp_path / "probe"))


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BenchError, match=r'pip install "ssl-backdoor-bench\[ray\]"'):
        connect(None, None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--resources", "pretrain.cpus=2"], "--resources is for Ray: add --engine ray"),
        (["--engine", "processes", "--ray-address", "auto"], "--ray-address is for Ray: add --engine ray"),
        (["--engine", "dask"], "--engine dask: expected processes or ray"),
        (["--engine", "ray", "--resources", "pretrian.cpus=2"], "there is no stage 'pretrian'. Did you mean"),
        (["--ray-address", "ray://head:10001"], "run the command on a machine of the cluster"),
    ],
)
def test_options_that_cannot_be_used_end_with_2(arguments, said, tmp_path, capsys):
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra: ray)")
    (tmp_path / "m.toml").write_text('preset = "smoke"\ndefenses = ["none"]\nattacks = ["htba"]\n')
    command = ["matrix", str(tmp_path / "m.toml"), "--store", str(tmp_path / "store"), *arguments]
    assert cli.guarded(lambda: cli.app(command, standalone_mode=False)) == 2
    assert said in capsys.readouterr().err
    assert not ray.is_initialized()
