"""docs/tutorials: their files are written, their lines run, one after the other, in a fresh environment."""

import re
from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).parents[2] / "docs" / "tutorials").glob("*.md"))


def blocks(page):
    return re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.S | re.M)


def lines(page):
    return [line for language, text in blocks(page) if language == "sh" for line in text.splitlines() if line]


@pytest.fixture
def played(session, tmp_path):
    """played(page) -> what each of its lines said, all with the exit code that the page says (0)."""

    def play(page):
        folder = tmp_path / "work"
        folder.mkdir()
        for language, text in blocks(page):
            if language == "python":
                (folder / re.match(r"# (\w+\.py)\n", text)[1]).write_text(text, encoding="utf-8")
        results = session(lines(page), folder)
        for result in results:
            expected = int((re.search(r"# exit code (\d)", result["line"]) or [0, 0])[1])
            assert result["code"] == expected, f"{result['line']}:\n{result['said']}"
        return {result["line"].partition("  #")[0]: result["said"] for result in results}

    return play


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in TUTORIALS if page.stem != "defense"], ids=lambda page: page.stem)
def test_a_tutorial_does_what_it_says(page, played):
    said = played(page)
    assert any("properties hold" in text for text in said.values())
    assert any(line.startswith("bench run") and "Record:" in text for line, text in said.items())


@pytest.mark.slow
def test_the_defense_tutorial_shows_what_is_printed(played):
    (page,) = (page for page in TUTORIALS if page.stem == "defense")
    said = played(page)
    shown = next(text for language, text in blocks(page) if language == "text")
    told = said["bench check careless --plugin ./careless.py"].splitlines()
    assert [line for line in told if "BROKEN" in line or "To mend" in line] == shown.splitlines()
    assert "colourful removed 32 images" in said[lines(page)[1]]
    properties = re.search(r"all (\d+) properties hold", said["bench check far-out"])[1]
    assert f"{properties} passed" in said["pytest"]
    assert "far-out removed 16 images" in said["bench run --preset smoke --defense far-out"]
    assert said[lines(page)[1]].count("(from the store)") == 3, "attack, threat model and its measure are shared"


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_its_files_are_whole_plugins(page):
    python = [text for language, text in blocks(page) if language == "python"]
    assert python
    for text in python:
        compile(text, "block", "exec")
    assert any("@hookimpl" in text for text in python)
