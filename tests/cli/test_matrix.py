"""`bench matrix`: what it prints, keeps and returns."""

from __future__ import annotations

import pytest
from rich.console import Console

from bench.cli import common, main as cli
from bench.matrix.forecast import Forecast
from bench.matrix.graph import Graph
from bench.store import Store

FILE = """
preset = "smoke"
defenses = ["none", "poisoncam"]
[[attacks]]
name = "htba"
[[attacks]]
name = "htba"
settings = ["attack.target=99"]
"""


@pytest.fixture
def matrix(monkeypatch, capsys, tmp_path, copied):
    """matrix(text, *arguments) -> (exit code, what is printed), in a store where the stages of `smoke` lie."""
    monkeypatch.setattr(common, "out", Console(width=250))

    def run(text, *arguments):
        (tmp_path / "m.toml").write_text(text)
        command = ["matrix", tmp_path / "m.toml", "--store", copied, "--accelerator", "cpu", *arguments]
        code = cli.guarded(lambda: cli.app([str(each) for each in command], standalone_mode=False))
        return code, capsys.readouterr().out

    return run


def test_a_failing_cell_is_named_and_the_others_finish(matrix, tmp_path, copied):
    code, out = matrix(FILE, "--output", tmp_path / "out")
    assert code == 1
    assert "FAILED poison the images for htba (target=99), none, seed 0 and 1 more (2 cells cannot be finished" in out
    assert "FAILED there is no class 99: 4 classes, so 0 to 3.\n  htba (target=99), none, seed 0\n" in out
    assert "one of them alone: bench run --preset smoke --attack htba --defense none --set attack.target=99" in out
    assert f"2 of 4 cells done: {tmp_path / 'out'}" in out
    names = sorted(path.name for path in (tmp_path / "out").glob("*.json"))
    assert [name.rsplit("-", 1)[0] for name in names] == ["scenes-htba-none-seed0", "scenes-htba-poisoncam-seed0"]
    assert names == sorted(path.name for path in (copied / "records").glob("*.json"))
    rows = [line.split("|")[1].split()[0] for line in out.splitlines() if line.startswith("| ")]
    assert rows == ["defense", "none", "poisoncam", *("defense", "poisoncam") * 2]  # then: what was found


def test_a_dry_run_counts_shared_stages_once_and_makes_nothing(matrix, copied):
    before = len(Store(copied).entries())
    text = FILE.replace('"none",', '"none", "oracle", "poisoncam+icutmix",').split('[[attacks]]\nname = "htba"\nsett')[
        0
    ]
    code, out = matrix(text, "--dry-run")
    assert code == 0
    found = {
        row[0]: row[1:3] for line in out.splitlines() if "│" in line for row in [[c.strip() for c in line.split("│")]]
    }
    assert found["train on the poisoned images"] == ["1", "1"]
    assert found["find the poison (poisoncam)"] == ["1", "1"]
    assert found["train again on what is kept"] == ["up to 3", "1"]
    assert "4 cells. To do: at most 6 stages" in out
    assert len(Store(copied).entries()) == before


def test_a_bad_file_ends_with_2(matrix, capsys):
    code, _ = matrix(FILE.replace("defenses", "defences"))
    assert code == 2


def test_the_forecast_knows_what_was_timed_and_owns_up_to_the_rest(workshop, copied, smoke):
    """Of the oracle's run, its choice is of a kind that was never timed; a training and a probe were."""
    pipeline = workshop.pipeline(defense="oracle", store=copied)
    graph = Graph({"cell": pipeline})
    forecast = Forecast(pipeline.store)
    timed = [pipeline.store.meta(s.name, s.key)["seconds"] for s in (smoke[0].retrain, smoke[0].defended_probe)]
    seconds, unknown = forecast.left(graph, {}, 1)
    assert unknown == 1
    longest = [
        max(pipeline.store.meta(s.name, s.key)["seconds"] for s in pair)
        for pair in ((smoke[0].threat, smoke[0].retrain), (smoke[0].threat_probe, smoke[0].defended_probe))
    ]
    assert min(timed) <= seconds <= sum(longest) + 1e-6
    forecast.learn(graph.nodes[pipeline.clean.key].stage, 100.0)
    assert forecast.left(graph, {}, 1) == (pytest.approx(seconds + 100), 0)
    assert forecast.left(graph, {}, 1000)[0] == 100, "no stage takes less than its own time"
    (node,) = graph.to_do()
    assert forecast.left(graph, {node: 60.0}, 1)[0] == pytest.approx(seconds + 40)
