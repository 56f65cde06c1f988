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
    """play(first, second) -> what each of two processes says: what its function of the NodeGroup returns, or its
    BenchError. `about`, `store`: what the second one has instead of the first one's."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    context = multiprocessing.get_context("fork")

    def process(rank, port, said, function, about, store):
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        try:
            with joined(PATIENCE, about, store, gpus=False) as group:
                said.put((rank, function(group)))
        except BenchError as error:
            said.put((rank, str(error)))

    def run(first, second, version=1, store=tmp_path):
        port, said = str(find_free_network_port()), context.SimpleQueue()
        parts = (first, {"version": 1}, tmp_path), (second, {"version": version}, store)
        processes = [context.Process(target=process, args=(n, port, said, *part)) for n, part in enumerate(parts)]
        for each in processes:
            each.start()
        for each in processes:
            each.join(60)
            each.kill()
        found = {}
        while not said.empty():
            found.update([said.get()])
        return found.get(0), found.get(1)

    return run


def idle(group):
    return "led"


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
    return str(found)


def die(*_):
    os._exit(1)


def full_disk(*_):
    raise BenchError("the disk is full")


def test_what_the_processes_must_have_in_common(play, tmp_path, monkeypatch):
    monkeypatch.setattr(nodes, "_SETTLE", 1.0)
    for said in play(lead, obey, version=2):
        assert said.startswith("process 1 on ")
        assert said.endswith(" has version 2, process 0 has 1: start the same command on all nodes")
    (tmp_path / "elsewhere").mkdir()
    for said in play(lead, obey, store=tmp_path / "elsewhere"):
        assert said.endswith("does not see the store of process 0: name a folder that all share (--store)")
    assert [each.name for each in tmp_path.iterdir()] == ["elsewhere"], "nothing is left in the store"


BROKE_OFF = "the training over 2 processes broke off: one of them failed or has gone; its output"


@pytest.mark.parametrize(
    ("first", "second", "led", "followed"),
    [
        pytest.param(lead, obey, "led", "[('a', 'pretrain/a.partial'), ('b', 'pretrain/b.partial')]", id="well"),
        pytest.param(idle, obey, "led", "[]", id="no training"),
        pytest.param(full_disk, obey, "the disk is full", "the first process has ended: the disk is full", id="error"),
        pytest.param(die, obey, None, "the first process has gone: its output says why", id="first dies"),
        pytest.param(lead, die, BROKE_OFF, None, id="other dies"),
        pytest.param(lead, full_disk, BROKE_OFF, "the disk is full", id="other fails"),
        pytest.param(lead, lambda group: time.sleep(2 * PATIENCE), BROKE_OFF, None, id="other does not come"),
        pytest.param(lead, lambda group: obey(group, fails=die), BROKE_OFF, None, id="dies in training"),
        pytest.param(
            lambda group: lead(group, fails=full_disk),
            obey,
            "the disk is full",
            "the first process has ended",
            id="first fails in training",
        ),
    ],
)
def test_all_processes_take_part_until_one_ends_and_then_all_end(play, first, second, led, followed):
    began = time.monotonic()
    for said, expected in zip(play(first, second), (led, followed), strict=True):
        assert said is None if expected is None else said.startswith(expected)
    assert time.monotonic() - began < 60


# --- stages and commands ----------------------------------------------------------------------------


def test_torchrun_says_how_many_devices_there_are(tmp_path, capsys):
    before = dict(os.environ)
    assert torchrun_devices() is None
    with environment({**TORCHRUN, "WORLD_SIZE": "1", "OMP_NUM_THREADS": None}):
        assert torchrun_devices() is None
        assert "OMP_NUM_THREADS" not in os.environ
    with environment(TORCHRUN):
        assert torchrun_devices() == 4
        command = [*COMMAND, "--devices", "2", "--store", str(tmp_path)]
        assert cli.guarded(lambda: cli.app(command, standalone_mode=False)) == 2
    assert "--devices 2: torchrun started 4 processes on each machine" in capsys.readouterr().err
    assert dict(os.environ) == before


def test_a_slow_file_system_is_waited_for():
    looks = iter([None, "found"])
    assert settled(lambda: next(looks), 5.0) == "found"
    assert settled(lambda: None, 0.0) is None


@dataclass(frozen=True, kw_only=True)
class Ordered(NodeGroup):
    """Of six processes the second; the first one begins the training of the key."""

    rank: int = 1
    count: int = 6
    timeout: float = 1.0
    orders: None = None
    key: str = ""

    def trainings(self):
        yield self.key, f"pretrain/{self.key}.partial"

    @contextlib.contextmanager
    def training(self, key, folder):
        yield self


def test_a_process_takes_its_part_in_the_stage_that_the_first_one_names(workshop, tmp_path, ear, monkeypatch):
    pipeline = workshop.pipeline("train.batch=30", store=tmp_path)
    make_stage(pipeline.poison, pipeline.store, ear)
    seen = []
    monkeypatch.setattr("bench.ssl.train.pretrain", lambda job, report, devices, kind, group: seen.append((job, group)))

    def on(**machine):
        return replace(pipeline, machine=Machine(accelerator="cpu", **machine))

    key = on(group=Ordered(), devices=3).threat.key
    assert key == on(devices=6).threat.key != pipeline.threat.key
    group = Ordered(key=key)
    folder = tmp_path / "pretrain" / f"{key}.partial"
    folder.mkdir(parents=True)
    follow(group, lambda: on(group=group))
    ((job, found),) = seen
    assert (job.work, job.train.batch, found) == (folder, 30, group)
    monkeypatch.setattr(nodes, "_SETTLE", 0.0)
    with pytest.raises(BenchError, match=r"process 1 would not train in .* what process 0 trains: start the same"):
        follow(Ordered(key="0" * 64), lambda: pipeline)


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
    # What torchrun's own agents say where the other one ends first is theirs; the benchmark's other node says nothing.
    assert (said[0][0], "bench:" in said[0][1]) == ("", False)
    assert "done train on the poisoned images" in said[1][0]
    one = [*COMMAND, "--devices", "2", "--store", str(tmp_path / "one")]
    assert cli.guarded(lambda: cli.app(one, standalone_mode=False)) == 0
    (two,) = (tmp_path / "two" / "pretrain").glob("*/encoder.safetensors")
    expected = load_file(tmp_path / "one" / two.relative_to(tmp_path / "two"))
    for name, value in load_file(two).items():
        testing.assert_close(value, expected[name], atol=1e-5, rtol=0)
