"""docs/tools/memory.py: what it keeps of what its steps measured."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def memory(script):
    return script("memory")


@pytest.fixture
def measured(memory, monkeypatch, tmp_path, capsys):
    """measured(seconds, *words) -> what the file holds, the steps' processes replaced by one that took so long."""

    def give(seconds, *words):
        def run(command, **_):
            name = command[command.index("--step") + 1]
            return subprocess.CompletedProcess(command, 0, stdout=json.dumps([[f"{name} it", "1537", "1001", seconds]]))

        monkeypatch.setattr(memory.subprocess, "run", run)
        memory.main([*words, "--csv", str(tmp_path / "m.csv")])
        return (tmp_path / "m.csv").read_text().splitlines()

    return give


def test_what_was_measured_is_kept_and_replaced_part_by_part(measured, capsys):
    head = "part,highest MiB,above the start MiB,seconds"
    manifest, loader = "manifest / manifest it,1537,1001,3", '"loader, 0 workers / loader it",1537,1001,3'
    assert measured("3", "--steps", "manifest", "loader") == [head, manifest, loader]
    assert capsys.readouterr().out.splitlines()[0] == "manifest / manifest it  1537  1001  3"
    more = measured("7", "--workers", "2", "--steps", "loader")
    assert more == [head, manifest, loader, '"loader, 2 workers / loader it",1537,1001,7']
    assert measured("7", "--steps", "loader")[2] == '"loader, 0 workers / loader it",1537,1001,7'


def test_a_step_measures_its_parts(memory, capsys):
    memory.main(["--step", "manifest", "--rows", "300"])
    rows = json.loads(capsys.readouterr().out)
    assert [row[0] for row in rows] == ["poison", "write it", "read it", "its columns"]
    assert all(int(peak) >= int(above) >= 0 for _, peak, above, _ in rows)
    assert all(len(row) == len(memory.COLUMNS) for row in rows)


def test_the_committed_file_has_the_columns_and_steps_of_the_script(memory):
    with (DOCS / "measured" / "memory.csv").open(encoding="utf-8", newline="") as file:
        columns, *rows = csv.reader(file)
    assert tuple(columns) == memory.COLUMNS
    assert {row[0].partition(" / ")[0].partition(",")[0] for row in rows} == {*memory.STEPS, "clean"}
