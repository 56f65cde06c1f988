"""Runs: what is there is not made again, and a killed run ends as an unbroken one."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys

import pytest

from bench.errors import BenchError
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


def test_a_second_run_makes_nothing(workshop, copied, ear):
    make_stages(workshop.pipeline(store=copied), ear)
    assert ear.heard == [("started", title, True) for title in STAGES]


def test_no_defense_takes_no_training_of_its_own(workshop, smoke, copied, ear):
    pipeline = workshop.pipeline(store=copied, defense="none")
    make_stages(pipeline, ear)
    assert ear.made == ["find the poison (none)"]
    assert pipeline.retrain.key == pipeline.threat.key == smoke[0].threat.key
    metrics = build_record(pipeline)["metrics"]
    assert metrics["defended"] == metrics["none"]
    assert metrics["detection"]["removed"] == 0


def test_another_measurement_trains_nothing(workshop, copied, ear):
    make_stages(workshop.pipeline("probe.epochs=5", store=copied), ear)
    assert ear.made == [STAGES[2], STAGES[5]]


def test_numbers_of_a_stage_are_reported(tmp_path):
    heard = []

    def make(making, report):
        report("steps", 1, 2)
        report("steps", 2, 2, loss=0.5)

    stage = Stage(name="probe", title="t", config={}, inputs={}, make=make)
    make_stage(stage, Store(tmp_path), lambda event, **facts: heard.append((event, facts)))
    about = {"stage": "probe", "key": stage.key, "title": "t"}
    assert [facts for event, facts in heard if event == "stage_measured"] == [
        {**about, "step": 2, "numbers": {"loss": 0.5}}
    ]


def test_a_stage_that_fails_leaves_its_work_and_no_artifact(tmp_path, ear):
    def half(making, report):
        (making.scratch / "checkpoint").write_text("half")
        report("steps", 1, 2)
        raise ValueError("broken")

    store = Store(tmp_path)
    stage = Stage(name="probe", title="t", config={}, inputs={}, make=half)
    with pytest.raises(ValueError, match="broken"):
        make_stage(stage, store, ear)
    assert store.find("probe", stage.key) is None
    (entry,) = store.entries()
    assert not entry.finished
    assert [event[0] for event in ear.heard] == ["started", "progress"]

    def whole(making, report):
        assert (making.scratch / "checkpoint").read_text() == "half"

    make_stage(Stage(name="probe", title="t", config={}, inputs={}, make=whole), store, ear)
    assert store.find("probe", stage.key) is not None


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
    ("SIGKILL", "tick pretrain", 2),  # the second training; how long it is hangs on what is kept
    ("SIGKILL", "publish probe", 1),
)
QUICK = ("defense.members=1", "defense.iterations=20", "defense.masks=4")


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """(exit codes, standard error, folder of the unbroken run, folder of the run killed at every moment)."""
    folders = unbroken, broken = tmp_path_factory.mktemp("unbroken"), tmp_path_factory.mktemp("broken")
    common = ["--preset", "smoke", *itertools.chain.from_iterable(("--set", each) for each in QUICK)]
    commands = [[*common, "--store", str(each), "--record", str(each / "record.json")] for each in folders]
    plan = [(None, commands[0]), *((moment, commands[1]) for moment in MOMENTS), (None, commands[1])]
    done = subprocess.run(
        [sys.executable, "-c", PROCESSES, json.dumps(plan)], capture_output=True, text=True, check=True, timeout=250
    )
    return list(map(int, done.stdout.split())), done.stderr, unbroken, broken


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork and no SIGKILL")


@needs_fork
def test_each_process_ended_as_it_was_told(killed):
    codes, stderr, _, _ = killed
    expected = [0, *(130 if moment[0] == "SIGINT" else -9 for moment in MOMENTS), 0]
    assert codes == expected, stderr
    assert stderr.count("stopped. The same command resumes here.") == 1
    assert "Traceback" not in stderr


@needs_fork
def test_killed_at_any_moment_it_ends_with_the_record_of_the_unbroken_run(killed):
    _, _, unbroken, broken = killed
    # Somebody may commit to the source tree between the two.
    one, other = ({**record.load(folder / "record.json"), "git": None} for folder in (unbroken, broken))
    assert record.fingerprint(one) == record.fingerprint(other)
    assert one["metrics"] == other["metrics"]


@needs_fork
def test_killed_at_any_moment_it_leaves_the_same_bytes_and_nothing_else(killed):
    """Two files of each of the six stages; the clock is in meta.json and in the records, the locks are empty."""

    def artifacts(root):
        files = {path.relative_to(root): path for path in root.rglob("*") if path.is_file()}
        timed = {path for path in files if path.name in ("meta.json", "record.json") or path.parts[0] == "records"}
        return {path: files[path].read_bytes() for path in files.keys() - timed if path.parts[0] != ".locks"}

    one, other = map(artifacts, killed[2:])
    assert len(one) == 12
    assert one == other
