"""Several nodes: what torchrun says, who leads, what the processes check of each other, and what ends them all."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import pytest
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from safetensors.torch import load_file
from torch import testing

from bench.cli import main as cli
from bench.errors import BenchError
from bench.parallel import nodes
from bench.parallel.nodes import NodeGroup, environment, joined, settled, torchrun_devices
from bench.pipeline.runner import follow, make_stage
from bench.pipeline.stage import Machine

PATIENCE = 2.0
COMMAND = ["run", "--preset", "smoke", "--defense", "none", "--accelerator", "cpu"]
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "RANK": "0"}


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("TORCHELASTIC_", "MASTER_")) or name in ("GROUP_RANK", "RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name)


# --- what the processes say to each other -----------------------------------------------------------


@pytest.fixture
def play(tmp_path):
    """play(first, second) -> what each of two processes says: what its function returns, or its BenchError. Each
    function is called with the process's NodeGroup; two may be given instead with what it has in common and its store.
    """
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    context = multiprocessing.get_context("fork")

    def process(rank, port, said, function, about=None, store=tmp_path):
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        try:
            with joined(PATIENCE, about or {"version": 1}, store, gpus=False) as group:
                said.put((rank, function(group)))
        except BenchError as error:
            said.put((rank, str(error)))

    def run(*functions):
        port, said = str(find_free_network_port()), context.SimpleQueue()
        parts = [each if isinstance(each, tuple) else (each,) for each in functions]
        processes = [context.Process(target=process, args=(n, port, said, *part)) for n, part in enumerate(parts)]
        for each in processes:
            each.start()
        for each in processes:
            each.join(60)
            each.kill()
        found = {}
        while not said.empty():
            found.update([said.get()])
        return [found.get(0), found.get(1)]

    return run


def lead(group, *, fails=lambda: None):
    """What the first process does: two trainings."""
    for key in ("a", "b"):
        with group.training(key, f"pretrain/{key}.partial"):
            fails()
    return "led"


def obey(group, *, fails=lambda: None):
    """What another process does."""
    found = []
    for key, folder in group.trainings():
        with group.training(key, folder):
            fails()
            found.append((key, folder))
    return found


def die(*_):
    os._exit(1)


def full_disk(*_):
    raise BenchError("the disk is full")


def test_all_processes_take_part_in_each_training(play):
    assert play(lead, obey) == ["led", [("a", "pretrain/a.partial"), ("b", "pretrain/b.partial")]]


def test_a_run_without_a_training_ends_everywhere(play):
    assert play(lambda group: "led", obey) == ["led", []]


def test_what_the_processes_must_have_in_common(play, tmp_path, monkeypatch):
    monkeypatch.setattr(nodes, "_SETTLE", 1.0)
    for said in play(lead, (obey, {"version": 2})):
        assert said.startswith("process 1 on ")
        assert said.endswith(" has version 2, process 0 has 1: start the same command on all nodes")
    (tmp_path / "elsewhere").mkdir()
    for said in play(lead, (obey, None, tmp_path / "elsewhere")):
        assert said.endswith("does not see the store of process 0: name a folder that all share (--store)")
    assert [each.name for each in tmp_path.iterdir()] == ["elsewhere"], "nothing is left in the store"


@pytest.mark.parametrize(
    ("first", "second", "led", "followed"),
    [
        (full_disk, obey, "the disk is full", "the first process has ended: the disk is full"),
        (die, obey, None, "the first process has gone: its output says why"),
        (lead, die, "the training over 2 processes broke off: one of them failed or has gone; its output", None),
        (lead, full_disk, "the training over 2 processes broke off", "the disk is full"),
        (lead, lambda group: time.sleep(5 * PATIENCE), "the training over 2 processes broke off", None),
        (lead, lambda group: obey(group, fails=die), "the training over 2 processes broke off", None),
        (
            lambda group: lead(group, fails=lambda: full_disk(0)),
            obey,
            "the disk is full",
            "the first process has ended",
        ),
    ],
    ids=["first fails", "first dies", "dies", "fails", "does not come", "dies in training", "first fails in training"],
)
def test_one_process_that_ends_ends_all(play, first, second, led, followed):
    began = time.monotonic()
    for said, expected in zip(play(first, second), (led, followed), strict=True):
        assert said is None if expected is None else said.startswith(expected)
    assert time.monotonic() - began < 60


# --- stages and commands ----------------------------------------------------------------------------


def test_torchrun_says_how_many_devices_there_are():
    assert torchrun_devices() is None
    with environment(TORCHRUN):
        assert torchrun_devices() == 4
    with environment({**TORCHRUN, "WORLD_SIZE": "1"}):
        assert torchrun_devices() is None


def test_variables_are_set_for_a_while(monkeypatch):
    monkeypatch.setenv("MASTER_PORT", "1")
    before = dict(os.environ)
    with environment({"MASTER_PORT": None, "MASTER_ADDR": "head"}):
        assert "MASTER_PORT" not in os.environ
        assert os.environ["MASTER_ADDR"] == "head"
    assert dict(os.environ) == before


def test_a_slow_file_system_is_waited_for():
    looks = iter([None, "found"])
    assert settled(lambda: next(looks), 5.0) == "found"
    assert settled(lambda: None, 0.0) is None


def test_a_training_has_the_key_of_as_many_devices(workshop):
    pipeline = workshop.pipeline()

    def key(**machine):
        return replace(pipeline, machine=Machine(accelerator="cpu", **machine)).threat.key

    six = NodeGroup(rank=0, count=6, timeout=1.0, orders=None)
    assert key(group=six, devices=3) == key(devices=6) != key()


@dataclass(frozen=True, kw_only=True)
class Ordered(NodeGroup):
    """A group whose first process begins one training."""

    key: str

    def trainings(self):
        yield self.key, f"pretrain/{self.key}.partial"

    @contextlib.contextmanager
    def training(self, key, folder):
        yield self


def ordered(key):
    return Ordered(rank=1, count=2, timeout=1.0, orders=None, key=key)


def test_a_process_takes_its_part_in_the_stage_that_the_first_one_names(workshop, tmp_path, ear, monkeypatch):
    pipeline = workshop.pipeline(store=tmp_path)
    make_stage(pipeline.poison, pipeline.store, ear)
    seen = []
    monkeypatch.setattr("bench.ssl.train.pretrain", lambda job, report, devices, kind, group: seen.append((job, group)))
    mine = replace(pipeline, machine=Machine(accelerator="cpu", group=ordered("")))
    group = ordered(mine.threat.key)
    mine = replace(mine, machine=Machine(accelerator="cpu", group=group))
    folder = tmp_path / "pretrain" / f"{group.key}.partial"
    folder.mkdir(parents=True)
    follow(group, lambda: mine)
    ((job, found),) = seen
    assert (job.work, job.train.batch, found) == (folder, 32, group)


def test_a_process_that_would_train_something_else_says_so(workshop, monkeypatch):
    monkeypatch.setattr(nodes, "_SETTLE", 0.0)
    with pytest.raises(BenchError, match=r"process 1 would not train in .* what process 0 trains: start the same"):
        follow(ordered("0" * 64), workshop.pipeline)


def test_devices_are_those_of_torchrun(tmp_path, capsys):
    with environment(TORCHRUN):
        command = [*COMMAND, "--devices", "2", "--store", str(tmp_path)]
        assert cli.guarded(lambda: cli.app(command, standalone_mode=False)) == 2
    assert "--devices 2: torchrun started 4 processes on each machine" in capsys.readouterr().err


@pytest.mark.slow
def test_torchrun_on_two_nodes_makes_what_two_devices_make(tmp_path):
    port, running = str(find_free_network_port()), []
    launch = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1"]
    for rank in (1, 0):
        command = [sys.executable, *launch, f"--master-port={port}", f"--node-rank={rank}", "-m", "bench", *COMMAND]
        command += ["--store", str(tmp_path / "two")]
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
