"""Runs: what is there is not made again, and a killed run ends as an unbroken one."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys

import pytest
import torch

from bench.errors import BenchError
from bench.pipeline.events import silent
from bench.pipeline.runner import make_stage, make_stages
from bench.pipeline.stage import Stage
from bench.records import record
from bench.records.build import build_record
from bench.store import Store

STAGES = [
    "poison the images",
    "train on the poisoned images",
    "measure the encoder",
    "find the poison (poisoncam)",
    "train again on what is kept",
    "measure the new encoder",
]


def test_a_run_makes_every_stage_in_order_and_tells_of_it(smoke):
    _, ear = smoke
    assert ear.made == STAGES
    by_stage = {title: list(events) for title, events in itertools.groupby(ear.heard, key=lambda event: event[1])}
    assert list(by_stage) == STAGES
    for title, events in by_stage.items():
        assert events[0] == ("started", title, False)
        assert events[-1][0] == "finished"
        assert events[-1][2] >= 0
        assert all(kind == "progress" and 0 <= done <= total for kind, _, _, done, total in events[1:-1])
    assert ("progress", STAGES[1], "steps", 10, 10) in by_stage[STAGES[1]]


@pytest.mark.parametrize(
    ("settings", "defense", "made"),
    [
        ([], None, []),
        (["probe.epochs=5"], None, [STAGES[2], STAGES[5]]),
        ([], "none", ["find the poison (none)"]),  # it keeps all: no training of its own
    ],
)
def test_what_is_in_the_store_is_not_made_again(workshop, copied, ear, settings, defense, made):
    pipeline = workshop.pipeline(*settings, store=copied, defense=defense)
    make_stages(pipeline, ear)
    assert ear.made == made
    if defense:
        assert pipeline.retrain.key == pipeline.threat.key
        metrics = build_record(pipeline)["metrics"]
        assert metrics["defended"] == metrics["none"]
        assert metrics["detection"]["removed"] == 0
    else:
        assert [event[1] for event in ear.heard if event[0] == "started"] == STAGES


def test_a_stage_that_fails_leaves_its_work_and_no_artifact(tmp_path):
    heard, store = [], Store(tmp_path)

    def half(making, report):
        (making.scratch / "checkpoint").write_text("half")
        report("steps", 1, 2, loss=0.5)
        raise ValueError("broken")

    def whole(making, report):
        assert (making.scratch / "checkpoint").read_text() == "half"

    def make(function):
        stage = Stage(name="probe", title="t", config={}, inputs={}, make=function)
        make_stage(stage, store, lambda event, **facts: heard.append((event, facts)))

    with pytest.raises(ValueError, match="broken"):
        make(half)
    (entry,) = store.entries()
    assert not entry.finished
    assert [event for event, _ in heard] == ["stage_started", "stage_progress", "stage_measured"]
    about = {"stage": "probe", "key": entry.key, "title": "t"}
    assert heard[-1][1] == {**about, "step": 1, "numbers": {"loss": 0.5}}
    make(whole)
    assert store.find("probe", entry.key) is not None


@pytest.mark.parametrize(("config", "count"), [({"threads": 3}, 3), ({}, None)])
def test_a_stage_is_made_with_the_threads_of_its_key_and_says_so(tmp_path, config, count):
    before, seen, store = torch.get_num_threads(), [], Store(tmp_path)
    make = lambda making, report: seen.append(torch.get_num_threads())  # noqa: E731
    stage = Stage(name="probe", title="t", config=config, inputs={}, make=make)
    make_stage(stage, store, silent)
    assert (seen, torch.get_num_threads()) == ([count or before], before)
    assert store.meta("probe", stage.key)["threads"] == (count or before)


@pytest.mark.slow
def test_a_process_with_more_threads_gives_the_same_record(smoke, tmp_path):
    """All of `smoke` again, by the command, where OMP_NUM_THREADS would give it three threads."""
    file = tmp_path / "record.json"
    command = [sys.executable, "-m", "bench", "run", "--preset", "smoke", "--accelerator", "cpu", "--record", str(file)]
    subprocess.run(
        [*command, "--store", str(tmp_path / "store")],
        env={**os.environ, "OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"},
        check=True,
        capture_output=True,
    )
    found, here = record.load(file), build_record(smoke[0])
    assert found["metrics"] == here["metrics"]
    assert record.fingerprint({**found, "git": here["git"]}) == record.fingerprint(here)


def test_what_another_process_made_while_we_waited_is_not_made_again(tmp_path, ear, monkeypatch):
    store = Store(tmp_path)
    stage = Stage(name="probe", title="t", config={}, inputs={}, make=lambda *_: None)
    make_stage(stage, store, ear)
    find = Store.find
    monkeypatch.setattr(Store, "find", lambda *_, **__: None)  # it was not there when we looked
    make_stage(dataclasses.replace(stage, make=lambda *_: pytest.fail("made again")), store, ear)
    assert find(store, "probe", stage.key) is not None


def test_a_store_that_cannot_be_written_is_found_out_at_once(workshop, tmp_path, ear):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="part of the path is a file"):
        make_stages(workshop.pipeline(store=tmp_path / "file"), ear)
    assert ear.heard == []


# Starts one process for each moment and lets it run until it sends itself the signal: "tick" comes with every report
# of a stage, "publish" between the writing of an artifact's last file and its appearing. A checkpoint at every step.
PROCESSES = """
import json, os, signal, sys
import faiss, lightning_fabric, sklearn.metrics, timm, torchvision  # once, not in every process
import bench.records.build, bench.ssl.train, bench.report.terminal
from bench.cli import main as cli
from bench.store import store

def run(moment, arguments):
    seen = {}
    def at(event):
        seen[event] = seen.get(event, 0) + 1
        if moment and [event, seen[event]] == moment[1:]:
            os.kill(os.getpid(), getattr(signal, moment[0]))
    tick, publish = store.ArtifactBuilder.tick, store._publish
    store.ArtifactBuilder.tick = lambda self: (at("tick " + self.dir.parent.name), tick(self))
    store._publish = lambda work, folder: (at("publish " + folder.parent.name), publish(work, folder))
    bench.ssl.train.CHECKPOINT_SECONDS = -1.0
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job begins without
    sys.argv = ["bench", "run", *arguments]
    cli.main()

for moment, arguments in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        run(moment, arguments)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
MOMENTS = (
    ("SIGKILL", "publish poison", 1),
    ("SIGKILL", "tick pretrain", 1),  # no checkpoint yet
    ("SIGKILL", "tick pretrain", 4),
    ("SIGINT", "tick pretrain", 3),
    ("SIGKILL", "publish pretrain", 1),
    ("SIGKILL", "tick probe", 2),
    ("SIGKILL", "tick clean", 2),
    ("SIGKILL", "tick clean", 5),
    ("SIGKILL", "publish clean", 1),
    ("SIGKILL", "tick pretrain", 2),  # the second training; how long it is depends on what is kept
    ("SIGKILL", "publish probe", 1),
)
QUICK = ("defense.members=1", "defense.iterations=20", "defense.masks=4")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork and no SIGKILL")
def test_killed_at_any_moment_it_ends_as_the_unbroken_run(tmp_path):
    """With the same record, and the same bytes: two files of each of the six stages. The clock is in meta.json and in
    the records; the locks are empty. Somebody may commit to the source tree between the two."""
    folders = [tmp_path / name for name in ("unbroken", "broken")]
    common = ["--preset", "smoke", *itertools.chain.from_iterable(("--set", each) for each in QUICK)]
    commands = [[*common, "--store", str(each), "--record", str(each / "record.json")] for each in folders]
    plan = [(None, commands[0]), *((moment, commands[1]) for moment in MOMENTS), (None, commands[1])]
    done = subprocess.run(
        [sys.executable, "-c", PROCESSES, json.dumps(plan)], capture_output=True, text=True, check=True, timeout=250
    )
    expected = [0, *(130 if moment[0] == "SIGINT" else -9 for moment in MOMENTS), 0]
    assert list(map(int, done.stdout.split())) == expected, done.stderr
    assert done.stderr.count("stopped. The same command resumes here.") == 1
    assert "Traceback" not in done.stderr
    one, other = ({**record.load(folder / "record.json"), "git": None} for folder in folders)
    assert record.fingerprint(one) == record.fingerprint(other)
    assert one["metrics"] == other["metrics"]

    def artifacts(root):
        files = {path.relative_to(root): path for path in root.rglob("*") if path.is_file()}
        timed = {path for path in files if path.name in ("meta.json", "record.json") or path.parts[0] == "records"}
        return {path: files[path].read_bytes() for path in files.keys() - timed if path.parts[0] != ".locks"}

    one, other = map(artifacts, folders)
    assert len(one) == 12
    assert one == other
