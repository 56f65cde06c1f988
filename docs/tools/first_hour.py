"""What the first hour of a new user takes: the README's commands in a fresh clone and a fresh environment, timed.

    python docs/tools/first_hour.py -o docs/measured/first-hour.csv     # some twenty minutes on two cores

Writes a row for each step: seconds, and minutes since the beginning. The clone is of the commit that is checked out,
its packages come from where pip finds them. A command that fails ends it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
SEEDS = "0-4"


def blocks(language: str) -> list[str]:
    """The README's code blocks of a language."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def steps(work: Path) -> Iterator[tuple[str, str]]:
    """Each step and its shell command. What a step needs is made before it is given."""
    setup, _, main = blocks("sh")[0].strip().rpartition(" && ")
    yield "clone", f"git clone -q {shlex.quote(str(ROOT))} clone"
    yield "install", f"cd clone && {setup}"
    yield "first run: the main command", main
    (work / "mine.py").write_text(blocks("python")[0], encoding="utf-8")
    yield "own defense: checked", "bench check colourful --plugin ./mine.py"
    run = f"--until detection --seeds {SEEDS} --record mine"
    yield "own defense: five seeds", f"bench run --plugin ./mine.py --defense colourful {run}"
    yield "PoisonCAM: the same five seeds", f"bench run --defense poisoncam {run}"
    yield "the two compared, with intervals", "bench compare colourful poisoncam mine"
    pictures(work / "images")
    yield "a folder of 1,000 images, quick scan", "bench scan images --quick --output scanned"
    (work / "cells.py").write_text(cells(), encoding="utf-8")
    yield "the example notebook, all cells", "python cells.py"


def pictures(folder: Path) -> None:
    """1,000 pictures of smooth noise, 64 px wide, every twentieth with the same patch of 14 px."""
    rng = np.random.default_rng(0)
    patch = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((14, 14), Image.Resampling.NEAREST)
    folder.mkdir()
    for number in range(1000):
        picture = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((64, 64))
        if number % 20 == 0:
            left, top = (int(place) for place in rng.integers(0, 50, 2))
            picture.paste(patch, (left, top))
        picture.save(folder / f"{number:04}.png")


def cells() -> str:
    """The notebook's code, without the lines that are for a notebook alone."""
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return re.sub(r"(?m)^%.*$", "", "\n".join(code))


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    output: Path = parser.parse_args(words).output
    begin, rows = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        environment = {**os.environ, "BENCH_STORE": str(work / "store"), "BENCH_CACHE": str(work / "cache")}
        environment["PATH"] = f"{work / 'clone' / '.venv' / 'bin'}{os.pathsep}{environment['PATH']}"
        for title, command in steps(work):
            print(f"{title}: {command}", flush=True)  # noqa: T201
            start = time.monotonic()
            subprocess.run(command, shell=True, check=True, cwd=work, env=environment)
            now = time.monotonic()
            rows.append({"step": title, "seconds": round(now - start), "minutes": round((now - begin) / 60, 1)})
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
