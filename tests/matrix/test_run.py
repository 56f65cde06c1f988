"""Many cells run: by each engine the same records, whatever dies on the way."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import signal

import pytest
from rich.console import Console

from bench.matrix import run as module
from bench.matrix.cell import RunContext
from bench.matrix.engine import InProcess, ProcessPool
from bench.matrix.graph import TRIES, Fault
from bench.matrix.ray import RayOptions
from bench.matrix.run import run_cells
from bench.parallel.threads import computing_with
from bench.pipeline.stage import Machine
from bench.plugins import hookimpl
from bench.records import record
from bench.store import Store

needs_kill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
STEPS = 60
"""Enough that a training still runs when its first progress is heard."""


class Tracker:
    """A plugin: the titles of the stages made; `at_step` is called once, at the first step of a training."""

    def __init__(self, at_step=None):
        self.made, self._at_step = [], at_step

    @hookimpl
    def bench_stage_progress(self, what, done):
        if what == "steps" and self._at_step:
            assert done < STEPS
            at_step, self._at_step = self._at_step, None
            at_step()

    @hookimpl
    def bench_stage_finished(self, title):
        self.made.append(title)


@needs_kill
def test_a_stage_whose_worker_dies_is_tried_again_but_not_for_ever(opened, cell, monkeypatch):
    started = []

    class Dying(ProcessPool):
        def _start(self):
            process, pipe = super()._start()
            process.kill()
            started.append(process)
            return process, pipe

    monkeypatch.setattr(module, "ProcessPool", Dying)
    result = run_cells(opened(), [cell("none")], jobs=2)
    assert len(started) == TRIES
    why = Fault("its worker process ended by signal 9 (9: often for want of memory)", lost=True)
    assert (result.completed, result.records, result.exit_code) == ([], {}, 1)
    assert list(result.failures.values()) == [why]


def test_an_interrupted_matrix_resumes(copied, cell, monkeypatch):
    """In the store of `smoke` the oracle's three stages and the verdict of "none" are to be made."""
    cells, begun = [cell("none"), cell("oracle")], []

    class Interrupted(InProcess):
        def make(self, node, hear):
            begun.append(node)
            if len(begun) == 3:
                raise KeyboardInterrupt
            return super().make(node, hear)

    def run(**more):
        context, tracker = RunContext(Store(copied), Machine(accelerator="cpu")), Tracker()
        context.plugins.add(tracker)
        with contextlib.suppress(KeyboardInterrupt):
            return tracker.made, run_cells(context, cells, **more)
        return tracker.made, None

    with monkeypatch.context() as patch:
        patch.setattr(module, "InProcess", Interrupted)
        assert run() == (["find the poison (none)", "choose the images (oracle, a control)"], None)
    assert len(list((copied / "records").glob("*.json"))) == 1, "the record of the first cell is kept"
    made, result = run(needed=lambda pipeline: (pipeline.poison, pipeline.threat, pipeline.clean))
    assert (made, result.completed, result.records) == ([], cells, {}), "a study of the search needs no more"
    for expected in (["train again on what is kept", "measure the new encoder"], []):
        made, result = run()
        assert (made, result.completed) == (expected, cells)


def kill_processes():
    for process in multiprocessing.active_children():
        process.kill()


def kill_tasks():
    psutil = pytest.importorskip("psutil")
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            if " ".join(process.cmdline()).startswith("ray::train"):
                process.kill()


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs_kill
@pytest.mark.parametrize(
    ("engine", "kill"),
    [({"jobs": 2}, kill_processes), ({"ray": RayOptions(jobs=2)}, kill_tasks)],
    ids=["processes", "ray"],
)
def test_with_workers_killed_the_records_are_those_of_one_process(opened, cell, monkeypatch, tmp_path, engine, kill):
    """Also: of three cells one cannot be made; it is named, the others finish."""
    if "ray" in engine:
        pytest.importorskip("ray", reason="Ray is not installed (extra: ray)")
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else Ray keeps a token in the home folder
    long = (f"train.max_steps={STEPS}", f"train.epochs={STEPS}")
    cells = [cell("none", *long), cell("oracle", *long), cell("none", *long, "attack.target=99")]
    context, shown = opened("killed"), io.StringIO()
    context.plugins.add(Tracker(at_step=kill))
    made = run_cells(context, cells, output=tmp_path / "out", console=Console(file=shown, width=250), **engine)
    assert "  again train on the poisoned images (its worker was lost; try 2 of 3)" in shown.getvalue()
    assert "FAILED there is no class 99: 4 classes, so 0 to 3.\n  htba (target=99), none, seed 0\n" in shown.getvalue()
    assert made.exit_code == 1
    assert set(made.completed) == set(made.records) == set(cells[:2])  # in the order in which they end
    assert len(list((tmp_path / "out").glob("*.json"))) == 2
    trained = [entry.finished for entry in context.store.entries() if entry.stage == "pretrain"]
    assert trained == [True, True], "one threat model for all, and one training without the poison"
    with computing_with(2):  # a process with more threads than the run's one
        alone = run_cells(opened("alone"), cells[:2])
    found = [[record.fingerprint(each.records[cell]) for cell in cells[:2]] for each in (made, alone)]
    assert found[0] == found[1]
    assert len(set(found[0])) == 2
