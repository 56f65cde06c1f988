"""docs/tools/first_hour.py: its steps are the README's, and what it writes."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def first_hour(script):
    return script("first_hour")


def test_the_steps_are_the_commands_of_the_readme(first_hour, tmp_path):
    found = dict(first_hour.steps(tmp_path))
    commands = [line.partition("#")[0].strip() for block in first_hour.blocks("sh") for line in block.splitlines()]
    install = found["install"].removeprefix("cd clone && ")
    assert f"{install} && {found['first run: the main command']}" in commands
    for title, command in found.items():
        if "bench" in command and "first run" not in title:
            words = [word for word in shlex.split(command)[:3] if not word.startswith("-")]
            assert any(line.startswith(" ".join(words[:2])) for line in commands), command
    assert (tmp_path / "mine.py").read_text() in README
    assert len([*(tmp_path / "images").iterdir()]) == 1000
    compile((tmp_path / "cells.py").read_text(), "cells.py", "exec")


def test_a_row_for_each_step_and_a_failing_one_ends_it(first_hour, tmp_path, monkeypatch):
    output = tmp_path / "out.csv"
    monkeypatch.setattr(first_hour, "steps", lambda work: [("one", "true"), ("two", "test -d .")])
    first_hour.main(["-o", str(output)])
    with output.open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["one", "two"]
    output.unlink()
    monkeypatch.setattr(first_hour, "steps", lambda work: [("one", "false"), ("two", "true")])
    with pytest.raises(first_hour.subprocess.CalledProcessError):
        first_hour.main(["-o", str(output)])
    assert not output.exists()
