"""Stages on Ray: two workers of which one is killed, a stage that fails, Ctrl-C."""

from __future__ import annotations

import os
import signal

import pytest

from bench.cli import main as cli, matrix as matrix_command
from bench.matrix import board
from bench.matrix.cell import Cell, RunContext
from bench.matrix.ray import Place, Slowly
from bench.pipeline.stage import Machine
from bench.records import record
from bench.store import Store

ray = pytest.importorskip("ray", reason="Ray is not installed (extra: ray)")
STEPS = 120
"""Enough that a training still runs when its first progress is heard."""


def cell(defense, *settings, seed=0):
    settings = (f"train.max_steps={STEPS}", f"train.epochs={STEPS}", *settings)
    return Cell(preset="smoke", seed=seed, attack="htba", defense=defense, settings=settings)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run(name, cells, ray) -> (records, exit code), in a store of that name."""
    monkeypatch.setattr(record, "git_state", lambda: None)  # somebody may commit meanwhile
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else Ray keeps a token in the home folder

    def make(name, cells, place):
        shop = RunContext(Store(tmp_path / name), Machine(accelerator="cpu"))
        return matrix_command.run_cells(shop, cells, jobs=1, output=None, ray=place)

    return make


class Killing(board.Board):
    """Kills the worker of the first training that tells of a step; `hook` may be replaced."""

    engine = None
    killed = None

    def progressed(self, node, what, done, total):
        super().progressed(node, what, done, total)
        if what == "steps" and Killing.killed is None:
            Killing.killed = (node, done, Killing.engine.places[node][1])
            os.kill(Killing.killed[2], signal.SIGKILL)


@pytest.fixture
def killing(monkeypatch):
    """A board that kills a worker."""
    opened = Place.open

    def remember(place, *arguments):
        Killing.engine = opened(place, *arguments)
        return Killing.engine

    monkeypatch.setattr(Place, "open", remember)
    monkeypatch.setattr(board, "Board", Killing)
    monkeypatch.setattr(Killing, "killed", None)
    return Killing


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_with_a_worker_killed_the_records_are_those_of_an_unbroken_matrix(run, killing, capsys, tmp_path):
    """Also: of three cells one cannot be made; it is named, the others finish."""
    cells = [cell("none"), cell("oracle"), cell("none", "attack.target=99")]
    made, code = run("ray", cells, Place(jobs=2))
    said = capsys.readouterr().out
    node, done, pid = killing.killed
    assert done < STEPS
    assert node.tries == 2
    assert pid != os.getpid()
    assert f"again {node.stage.title} (its worker was lost; try 2 of 3)" in said
    assert "FAILED there is no class 99: 4 classes, so 0 to 3.\n  htba (target=99), none, seed 0\n" in said
    assert code == 1
    assert not ray.is_initialized()
    trained = [entry for entry in Store(tmp_path / "ray").entries() if entry.stage == "pretrain"]
    assert [entry.finished for entry in trained] == [True, True]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Killing, "killed", (node, done, pid))
        whole, _ = run("here", cells[:2], None)
    assert [record.fingerprint(each) for each in made] == [record.fingerprint(each) for each in whole]
    assert len({record.fingerprint(each) for each in made}) == 2


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
    (tmp_path / "m.toml").write_text('preset = "smoke"\ndefenses = ["none"]\nattacks = ["htba"]\n')
    command = ["matrix", str(tmp_path / "m.toml"), "--store", str(tmp_path / "store"), *arguments]
    assert cli.guarded(lambda: cli.app(command, standalone_mode=False)) == 2
    assert said in capsys.readouterr().err
    assert not ray.is_initialized()


def test_progress_is_thinned_out_but_not_its_ends():
    heard = []
    slowly = Slowly(lambda *news: heard.append(news))
    for step in range(1, 101):
        slowly("steps", step, 100)
    slowly("images", 1, 9)
    assert heard[0] == ("steps", 1, 100)
    assert heard[-2:] == [("steps", 100, 100), ("images", 1, 9)]
    assert len(heard) < 50
