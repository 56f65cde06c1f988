"""Uses the installed package as a user does, from an empty directory: each command must end with exit code 0."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

import bench

COMMANDS = """
bench --version
bench list
bench plan --preset smoke
bench run --preset smoke --record run.json
bench run --preset smoke --record again.json
bench report run.json --output run.html
bench leaderboard run.json
bench leaderboard run.json --format html --output site
bench new defense far-out
bench check far-out --plugin far-out/far_out.py
bench check poisoncam
bench scan images --train smoke --output scanned
"""


def main() -> None:
    """Raises CalledProcessError for the first command that fails."""
    assert "site-packages" in Path(bench.__file__).parts, f"{bench.__file__} is a checkout, not the installed package"
    folder = Path("images")
    folder.mkdir()
    draws = np.random.default_rng(0)
    for number in range(160):
        pixels = draws.integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    for line in COMMANDS.strip().splitlines():
        print(f"$ {line}", flush=True)  # noqa: T201
        words = line.split()
        subprocess.run([shutil.which(words[0]) or words[0], *words[1:]], check=True)
    for made in ("run.json", "run.html", "site/index.html", "scanned/report.html"):
        assert Path(made).stat().st_size, made


if __name__ == "__main__":
    main()
