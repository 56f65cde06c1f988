"""docs/tutorials/defense.md: its files are written, its lines run, one after the other, in a fresh environment."""

import re
import shlex
from pathlib import Path

from bench.cli.main import app

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorials" / "defense.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TUTORIAL.read_text(encoding="utf-8"), re.S | re.M)
LINES = [line for language, text in BLOCKS if language == "sh" for line in text.splitlines() if line]


def test_the_tutorial_does_what_it_says(session, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    for language, text in BLOCKS:
        if language == "python":
            name = re.match(r"# (\w+\.py)\n", text)[1]
            (folder / name).write_text(text, encoding="utf-8")
    results = session(LINES, folder)
    for result in results:
        expected = int((re.search(r"# exit code (\d)", result["line"]) or [0, 0])[1])
        assert result["code"] == expected, f"{result['line']}:\n{result['said']}"
    said = {result["line"].partition("  #")[0]: result["said"] for result in results}
    shown = next(text for language, text in BLOCKS if language == "text")
    told = said["bench check careless --plugin ./careless.py"].splitlines()
    assert [line for line in told if "BROKEN" in line or "To mend" in line] == shown.splitlines()
    assert "colourful removed 32 images" in said[LINES[1]]
    properties = re.search(r"all (\d+) properties hold", said["bench check far-out"])[1]
    assert f"{properties} passed" in said["pytest"]
    assert "far-out removed 16 images" in said["bench run --preset smoke --defense far-out"]
    assert said[LINES[1]].count("(from the store)") == 3, "attack, threat model and its measure are shared"


def test_its_commands_and_options_exist():
    """Told by name, before the test above stumbles on it."""
    from typer.main import get_command

    commands = get_command(app)
    for line in LINES:
        tool, *words = shlex.split(line, comments=True)
        if tool == "bench":
            known = {option for each in commands.get_command(None, words[0]).params for option in each.opts}
            assert {word for word in words if word.startswith("--")} <= known, line


def test_its_files_are_whole():
    python = [text for language, text in BLOCKS if language == "python"]
    assert len(python) == 2
    for text in python:
        compile(text, "block", "exec")
        assert "@hookimpl" in text
