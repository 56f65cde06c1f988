"""plugins/example, installed into a fresh environment, works like anybody's distribution."""

import re
import shutil
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "plugins" / "example"


@pytest.mark.slow
def test_the_example_is_installed_and_run(session, tmp_path):
    folder = shutil.copytree(EXAMPLE, tmp_path / "example", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    lines = [
        "pip install -e .",
        "bench list",
        "bench list defense",
        "bench check confetti",
        "bench check gaudy",
        "bench run --preset smoke --defense gaudy",
    ]
    results = session(lines, folder)
    assert [result["code"] for result in results] == [0] * len(lines), results
    said = {result["line"]: result["said"] for result in results}
    assert "cannot be used" not in said["bench list"]
    assert "  gaudy  Removes the images with the most colourful windows" in said["bench list defense"]
    assert "(bench-gaudy 1.0.0)" in said["bench list defense"]
    assert "all 17 properties hold" in said["bench check confetti"]
    assert "all 17 properties hold" in said["bench check gaudy"]
    assert re.search(r"\ngaudy removed \d+ images", said[lines[-1]])
