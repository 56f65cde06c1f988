"""docs/memory.py: what it keeps of what its steps measured."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def memory():
    spec = importlib.util.spec_from_file_location("memory_script", DOCS / "memory.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def steps(memory, monkeypatch):
    """What the processes of the steps tell, instead of running them: steps(seconds)."""

    def tell(seconds):
        def run(words, **_):
            name = words[words.index("--step") + 1]
            rows = [{"part": f"{name} it, all", "peak": 1537.4, "above": 1000.6, "seconds": seconds}]
            told = json.dumps({"start": 536.8, "highest": 1540.5, "rows": rows})
            return subprocess.CompletedProcess(words, 0, stdout=f"a word\n{told}\n")

        monkeypatch.setattr(memory.subprocess, "run", run)

    return tell


def test_what_was_measured_is_kept_and_replaced_part_by_part(memory, steps, tmp_path, capsys):
    path = tmp_path / "m.csv"
    steps(2.6)
    memory.main(memory.arguments(["--steps", "manifest", "loader", "--csv", str(path)]))
    assert capsys.readouterr().out.splitlines()[0] == "manifest / manifest it, all  1537  1001  3"
    first = ["part,highest MiB,above the start MiB,seconds", '"manifest / manifest it, all",1537,1001,3']
    process = "the process, by the system's count"
    assert path.read_text().splitlines() == [
        *first,
        f'"manifest / {process}",1540,,',
        '"loader, 0 workers / loader it, all",1537,1001,3',
        f'"loader, 0 workers / {process}",1540,,',
    ]
    steps(7)
    memory.main(memory.arguments(["--steps", "loader", "--workers", "2", "--csv", str(path)]))
    memory.main(memory.arguments(["--steps", "loader", "--csv", str(path)]))
    with path.open(newline="") as file:
        rows = {row["part"].partition(" / ")[0]: row["seconds"] for row in csv.DictReader(file) if row["seconds"]}
    assert rows == {"manifest": "3", "loader, 0 workers": "7", "loader, 2 workers": "7"}
    steps(1)
    memory.main(memory.arguments(["--steps", "probe"]))
    assert "probe" not in path.read_text()


def test_the_committed_file_has_the_columns_and_steps_of_the_script(memory):
    with (DOCS / "measured" / "memory.csv").open(encoding="utf-8", newline="") as file:
        columns, *rows = csv.reader(file)
    assert tuple(columns) == memory.COLUMNS
    assert {row[0].partition(" / ")[0].partition(",")[0] for row in rows} == set(memory.STEPS)
