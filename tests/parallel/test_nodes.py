"""Nodes: who leads, what they tell each other, what ends them, and what the launchers' environments say."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from safetensors.torch import load_file
from torch import testing
from torch.distributed import HashStore

from bench.cli import main as cli
from bench.errors import BenchError
from bench.parallel import nodes
from bench.parallel.nodes import Meeting, Parted, Party, _seat
from bench.pipeline.runner import follow, make_stage
from bench.pipeline.stage import Machine

PATIENCE = 2.0
COMMAND = ["run", "--preset", "smoke", "--defense", "none", "--accelerator", "cpu"]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(nodes, "GRACE", 1.0)
    monkeypatch.setattr(nodes, "_PAUSE", 0.01)


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("SLURM_", "TORCHELASTIC_", "MASTER_")) or name in ("NODE_RANK", "GROUP_RANK", "RANK"):
            monkeypatch.delenv(name)


def parties(count=2):
    """As many as nodes, sharing a store of this process."""
    store = HashStore()
    return [Party(store, rank, count, "10.0.0.1", PATIENCE) for rank in range(count)]


def together(*functions):
    """What each returns or raises, all run at once."""
    with ThreadPoolExecutor(len(functions)) as pool:
        running = [pool.submit(function) for function in functions]
        return [each.exception(timeout=60) or each.result() for each in running]


def lead(party, *trainings, error="", fails=lambda: None):
    """Does what `run` and the stages do on the first node; the meetings."""
    found = []
    try:
        party.greet({"--nodes": party.count})
        for key in trainings:
            with party.training(key, f"pretrain/{key}.partial") as meeting:
                found.append(meeting)
                fails()
    except BenchError as said:
        party.leave(str(said))
        raise
    party.leave(error)
    return found


def obey(party, fails=lambda: None):
    """Does what `follow` does on another node; (key, folder, meeting) of each training."""
    found = []
    try:
        party.greet({"--nodes": party.count})
        for key, folder in party.orders():
            with party.training(key, folder) as meeting:
                found.append((key, folder, meeting))
                fails()
    except BenchError as said:
        party.leave(str(said))
        raise
    return found


def test_all_nodes_meet_at_the_same_place_for_each_training():
    first, second, third = parties(3)
    led, *followed = together(lambda: lead(first, "a", "b"), lambda: obey(second), lambda: obey(third))
    assert [(each.rank, each.nodes, each.address, each.patience) for each in led] == [(0, 3, "10.0.0.1", PATIENCE)] * 2
    assert all(1024 <= each.port < 65536 for each in led)
    for rank, found in enumerate(followed, 1):
        assert [row[:2] for row in found] == [("a", "pretrain/a.partial"), ("b", "pretrain/b.partial")]
        assert [row[2].rank for row in found] == [rank] * 2
        assert [row[2].port for row in found] == [each.port for each in led]


def test_a_run_without_a_training_ends_on_all_nodes():
    first, second = parties()
    assert together(lambda: lead(first), lambda: obey(second)) == [[], []]


def test_a_node_that_does_not_come_is_named():
    first, second, _ = parties(3)
    led, told = together(lambda: lead(first), lambda: obey(second))
    assert str(led).startswith("node 2 did not come within 2 s: start the same command there")
    assert str(told).startswith("node 0 has ended: node 2 did not come")


def test_nodes_that_were_started_otherwise():
    first, second = parties()
    second.greet({"--nodes": 2, "--devices": 4})
    with pytest.raises(BenchError, match=r"node 1 \(.+\) has --devices 4, node 0 has 2: start the same command"):
        first.greet({"--nodes": 2, "--devices": 2})


def test_the_failure_of_the_first_node_ends_the_others():
    first, second = parties()
    _, told = together(lambda: lead(first, error="the disk is full"), lambda: obey(second))
    assert isinstance(told, BenchError)
    assert str(told) == "node 0 has ended: the disk is full"


def test_the_failure_of_another_node_ends_the_first():
    first, second = parties()

    def fails():
        second.greet({"--nodes": 2})
        next(second.orders())
        second.leave("no such plugin")

    led, _ = together(lambda: lead(first, "a"), fails)
    assert str(led).startswith("node 1 (")
    assert str(led).endswith(") failed: no such plugin")


def test_a_broken_training_names_the_node_that_is_silent():
    (first, second, third), begun = parties(3), threading.Barrier(3, timeout=60)

    def dies():
        third.greet({"--nodes": 3})
        next(third.orders())
        third.training("a", "").__enter__()
        begun.wait()

    def breaks():
        begun.wait()
        raise Parted("Connection closed by peer")

    led, followed, _ = together(lambda: lead(first, "a", fails=breaks), lambda: obey(second, fails=breaks), dies)
    assert str(led).startswith("the training over 3 nodes broke off: Connection closed by peer; node 2 (")
    assert "does not answer; node 1 (" in str(led)
    assert str(led).endswith("The same command on all of them goes on from its last checkpoint")
    assert "node 2" not in str(followed)


class Lost:
    """A store whose server has gone."""

    def check(self, keys):
        raise RuntimeError("Connection reset by peer")


def test_others_end_when_the_first_node_has_gone():
    with pytest.raises(BenchError, match=r"node 0 .*has gone: its own output says why"):
        next(Party(Lost(), 1, 2, "10.0.0.1", PATIENCE).orders())


def test_a_node_waits_for_a_file_system_that_is_slow():
    looks = iter([None, "found"])
    party = parties()[1]
    assert party.settled(lambda: next(looks), "never") == "found"
    with pytest.raises(BenchError, match="never"):
        party.settled(lambda: None, "never")


# --- the environments of launchers ----------------------------------------------------------------


def test_plain_variables_say_who_this_is(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    with pytest.raises(BenchError, match=r"needs NODE_RANK \(the number .*\), MASTER_PORT \(a free port there\) in"):
        _seat(2)
    monkeypatch.setenv("NODE_RANK", "1")
    monkeypatch.setenv("MASTER_PORT", "29500")
    assert _seat(2) == (1, "10.0.0.1", 29500)
    monkeypatch.setenv("NODE_RANK", "2")
    with pytest.raises(BenchError, match="this is node 2 of --nodes 2: they count from 0 to 1"):
        _seat(2)


def test_torchrun_says_who_this_is(monkeypatch):
    said = {"TORCHELASTIC_RUN_ID": "x", "GROUP_RANK": "1", "RANK": "1", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}
    for name, value in {**said, "MASTER_ADDR": "head", "MASTER_PORT": "29400"}.items():
        monkeypatch.setenv(name, value)
    assert _seat(2) == (1, "head", 29400)
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(BenchError, match="--nodes 2 does not fit how this was started: one process on each node"):
        _seat(2)


def test_slurm_says_who_this_is(monkeypatch):
    said = {"NTASKS": "2", "NTASKS_PER_NODE": "1", "NNODES": "2", "NODEID": "1", "NODELIST": "gpu[07-08]"}
    said |= {"JOB_ID": "123456", "JOB_NAME": "train", "PROCID": "1", "LOCALID": "0"}
    for name, value in said.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("MASTER_ADDR", "")  # Fabric sets both: put back after the test
    monkeypatch.setenv("MASTER_PORT", "")
    monkeypatch.delenv("MASTER_ADDR")
    monkeypatch.delenv("MASTER_PORT")
    assert _seat(2) == (1, "gpu07", 18456)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    with pytest.raises(BenchError, match="srun --nodes=2 --ntasks-per-node=1"):
        _seat(2)


def test_the_processes_of_a_training_see_its_meeting_alone(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("MASTER_PORT", "1")
    before = dict(os.environ)
    with Meeting(address="head", port=7, rank=3, nodes=4).in_environment():
        found = {name: os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")}
        assert found == {"MASTER_ADDR": "head", "MASTER_PORT": "7", "NODE_RANK": "3"}
        assert "TORCHELASTIC_USE_AGENT_STORE" not in os.environ
    assert dict(os.environ) == before
    with Meeting().in_environment():
        assert (os.environ["MASTER_ADDR"], os.environ["NODE_RANK"]) == ("127.0.0.1", "0")
        assert "MASTER_PORT" not in os.environ  # Fabric finds one


# --- stages and commands --------------------------------------------------------------------------


def test_a_training_has_the_key_of_as_many_devices(workshop):
    pipeline = workshop.pipeline()

    def key(**machine):
        return replace(pipeline, machine=Machine(accelerator="cpu", **machine)).threat.key

    two, three = parties(2)[0], parties(3)[0]
    assert key(party=two) == key(devices=2) != key()
    assert key(party=three, devices=2) == key(devices=6)


def test_a_follower_takes_its_part_in_the_stage_that_the_first_node_names(workshop, tmp_path, ear, monkeypatch):
    pipeline = workshop.pipeline(store=tmp_path)
    make_stage(pipeline.poison, pipeline.store, ear)
    first, second = parties()
    threads, seen = [], []

    def part(job, report, devices, accelerator, meeting):
        seen.append((job.work.name, job.train.batch, meeting))

    monkeypatch.setattr("bench.ssl.train.pretrain", part)
    mine = replace(pipeline, machine=Machine(accelerator="cpu", party=second))
    folder = tmp_path / "pretrain" / f"{mine.threat.key}.partial"
    folder.mkdir(parents=True)
    thread = threading.Thread(target=lambda: threads.append(lead(first, mine.threat.key)))
    thread.start()
    second.greet({"--nodes": 2})
    follow(second, lambda: mine)
    thread.join()
    ((name, batch, meeting),) = seen
    assert (name, batch) == (folder.name, 32)
    assert (meeting.rank, meeting.port) == (1, threads[0][0].port)


def test_a_follower_that_would_train_something_else_says_so(workshop):
    pipeline = workshop.pipeline()
    first, second = parties()
    led, followed = together(
        lambda: lead(first, "0" * 64),
        lambda: second.greet({"--nodes": 2}) or follow(second, lambda: pipeline),
    )
    assert "node 1 would not train in" in str(followed)
    assert "did not come" in str(led)


def test_a_launch_that_does_not_say_who_this_is_ends_with_2(tmp_path, capsys):
    command = [*COMMAND, "--nodes", "2", "--store", str(tmp_path)]
    assert cli.guarded(lambda: cli.app(command, standalone_mode=False)) == 2
    assert "--nodes without torchrun or srun needs NODE_RANK" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_torchrun_on_two_nodes_makes_what_two_devices_make(tmp_path):
    port, running = str(find_free_network_port()), []
    launch = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1"]
    for rank in (1, 0):
        command = [sys.executable, *launch, f"--master-port={port}", f"--node-rank={rank}", "-m", "bench", *COMMAND]
        command += ["--nodes", "2", "--store", str(tmp_path / "two")]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    try:
        said = [each.communicate(timeout=600) for each in running]
    finally:
        for each in running:
            each.kill()
    assert [each.returncode for each in running] == [0, 0], said
    assert said[0] == ("", "")
    assert "done train on the poisoned images" in said[1][0]
    one = [*COMMAND, "--devices", "2", "--store", str(tmp_path / "one")]
    assert cli.guarded(lambda: cli.app(one, standalone_mode=False)) == 0
    (two,) = (tmp_path / "two" / "pretrain").glob("*/encoder.safetensors")
    expected = load_file(tmp_path / "one" / two.relative_to(tmp_path / "two"))
    for name, value in load_file(two).items():
        testing.assert_close(value, expected[name], atol=1e-5, rtol=0)
