"""`bench matrix`: what it prints, keeps and returns."""

from __future__ import annotations

import pytest

from bench.matrix.forecast import Forecast
from bench.matrix.graph import Graph
from bench.store import Store

HEAD = 'preset = "smoke"\ndefenses = ["none", "poisoncam"]\n[[attacks]]\nname = "htba"\n'
FAILING = '[[attacks]]\nname = "htba"\nsettings = ["train.lr=1e30"]\n'


@pytest.fixture
def matrix(console, tmp_path, copied):
    """matrix(text, *arguments) -> (exit code, what is printed), in a store where the stages of `smoke` lie."""

    def run(text, *arguments):
        (tmp_path / "m.toml").write_text(text)
        return console("matrix", tmp_path / "m.toml", "--store", copied, "--accelerator", "cpu", *arguments)[:2]

    return run


def test_a_failing_cell_is_named_and_the_others_finish(matrix, tmp_path, copied):
    code, out = matrix(HEAD + FAILING, "--output", tmp_path / "out")
    assert code == 1
    assert "FAILED train on the poisoned images for htba, none, seed 0 and 1 more (2 cells cannot be finished" in out
    assert "FAILED the training loss became nan; a lower train.lr" in out
    assert "one of them alone: bench run --preset smoke --attack htba --defense none --set train.lr=1e30" in out
    assert f"2 of 4 cells done: {tmp_path / 'out'}" in out
    names = sorted(path.name for path in (tmp_path / "out").glob("*.json"))
    assert [name.rsplit("-", 1)[0] for name in names] == ["scenes-htba-none-seed0", "scenes-htba-poisoncam-seed0"]
    assert names == sorted(path.name for path in (copied / "records").glob("*.json"))
    titles = [line.partition(":")[0] for line in out.splitlines() if line.startswith("**")]
    assert titles == ["**Detection"] * 3 + ["**Full runs"]


def test_a_dry_run_counts_shared_stages_once_and_makes_nothing(matrix, copied, rows):
    before = len(Store(copied).entries())
    code, out = matrix(HEAD.replace('"none",', '"none", "oracle", "poisoncam+icutmix",'), "--dry-run")
    assert code == 0
    found = {row[0]: row[1:3] for row in rows(out)}
    assert found["train on the poisoned images"] == found["find the poison (poisoncam)"] == ["1", "1"]
    assert found["train again on what is kept"] == ["up to 3", "1"]
    assert "4 cells. To do: at most 6 stages" in out
    assert len(Store(copied).entries()) == before
    assert matrix(HEAD.replace("defenses", "defences"))[0] == 2


def test_until_detection_nothing_is_trained_again(matrix, rows):
    code, out = matrix('until = "detection"\n' + HEAD.replace('"none",', '"none", "oracle",'), "--dry-run")
    assert code == 0
    titles = [row[0] for row in rows(out)]
    assert "train again on what is kept" not in titles
    assert "3 cells. To do: at most 2 stages" in out  # what oracle and none choose
    code, out = matrix('until = "detection"\n' + HEAD)
    assert (code, "2 of 2 cells done" in out) == (0, True)
    assert "ASR triggered" in out


def test_the_forecast_knows_what_was_timed_and_owns_up_to_the_rest(workshop, copied, smoke):
    """Of the oracle's run, its choice is of a kind that was never timed; a training and a probe were."""
    pipeline = workshop.pipeline(defense="oracle", store=copied)
    graph, forecast = Graph({"cell": pipeline}), Forecast(pipeline.store)
    stages = ("threat", "threat_probe", "retrain", "defended_probe")
    metas = [pipeline.store.meta(stage.name, stage.key) for stage in (getattr(smoke[0], each) for each in stages)]
    first, probe, training, defended = (meta["seconds"] for meta in metas)
    training *= metas[0]["amount"] / metas[2]["amount"]  # it was on fewer images than the oracle's may be
    seconds, unknown = forecast.left(graph, {}, 1)
    assert unknown == 1
    assert min(training, defended) <= seconds <= max(first, training) + max(probe, defended) + 1e-6
    forecast.history.learn(graph.nodes[pipeline.clean.key].stage, 100.0)
    assert forecast.left(graph, {}, 1) == (pytest.approx(seconds + 100), 0)
    assert forecast.left(graph, {}, 1000)[0] == 100, "no stage takes less than its own time"
    (node,) = graph.to_do()
    assert forecast.left(graph, {node: 60.0}, 1)[0] == pytest.approx(seconds + 40)


PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from bench import Defense, Verdict, hookimpl

@dataclass(frozen=True, kw_only=True)
class First(Defense):
    \"\"\"Removes the first image of its view.\"\"\"
    name: ClassVar[str] = "first"

    def clean(self, view):
        return Verdict(keep=np.arange(len(view)) > 0)

@hookimpl
def bench_defenses():
    return [First]
"""


def test_a_plugin_file_is_known_to_every_process(matrix, tmp_path):
    (tmp_path / "first.py").write_text(PLUGIN)
    text = 'until = "detection"\n' + HEAD.replace('"none",', '"none", "first",')
    assert matrix(text, "--dry-run")[0] == 2
    code, out = matrix(text, "--plugin", tmp_path / "first.py", "--jobs", "2")
    assert (code, "3 of 3 cells done" in out) == (0, True)
