"""The campaign of kills: `python tests/campaign/kills.py --kills 100 --seed 0 --store FOLDER`.

`bench run`, `matrix` and `scan` are killed (SIGKILL, with all that they have started) at random times and started
again until they finish. What they leave must equal what an undisturbed one left, but for times and memory; and no work
folder, temporary file, lock that is held or process may stay.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

BENCH = [sys.executable, "-m", "bench"]
MATRIX = 'preset = "smoke"\nseeds = [0, 1]\nattacks = ["htba"]\ndefenses = ["poisoncam", "none"]\n'
KINDS = ("run", "matrix", "scan")
QUICKEST, SHARE = 0.3, 1.1
"""A kill comes after at least so many seconds, at most so many times what the command takes undisturbed."""


def command(kind: str, work: Path) -> list[str]:
    """The command, with its store and its output below `work`, which is made ready for it."""
    where = ["--store", str(work / "store")]
    if kind == "run":
        return [*BENCH, "run", "--preset", "smoke", *where]
    if kind == "matrix":
        (work / "m.toml").write_text(MATRIX)
        return [*BENCH, "matrix", str(work / "m.toml"), "--jobs", "2", *where]
    images = work.parent / "images"  # one folder for all: a scan goes by the times of its files
    _images(images)
    return [*BENCH, "scan", str(images), "--quick", "--output", str(work / "report"), *where]


def _images(folder: Path) -> None:
    """120 pictures of noise, a third of them with the same patch."""
    from PIL import Image

    if folder.is_dir():
        return
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    patch = rng.integers(0, 256, (10, 10, 3)).astype(np.uint8)
    for number in range(120):
        pixels = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)
        if number % 3 == 0:
            top, left = rng.integers(0, 22, 2)
            pixels[top : top + 10, left : left + 10] = patch
        path = folder / f"{number:03}.png"
        Image.fromarray(pixels).save(path)
        os.utime(path, (0, 0))


TIMES = {"created", "seconds", "peak_memory_mb", "stages", "hardware", "duration", "git"}
"""What may differ between two runs: times, memory, when it was, and the commit, as you may go on working meanwhile."""


def outcome(work: Path) -> dict[str, Any]:
    """What the command left, without what may differ."""
    found: dict[str, Any] = {}
    for file in sorted([*(work / "store" / "records").glob("*.json"), *(work / "report").glob("*.json")]):
        found[file.name] = _without_times(json.loads(file.read_text()))
    stages = (work / "store").glob("[!.]*/*/meta.json")
    found["stages"] = sorted(f"{each.parent.parent.name}/{each.parent.name}" for each in stages)
    return found


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in TIMES}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def leftovers(work: Path, temporary: Path) -> list[str]:
    """Work folders, temporary files and processes that must not be there when a command has finished."""
    found = [str(each) for each in temporary.iterdir()]
    store = work / "store"
    found += [str(each) for each in [*store.rglob("*.partial"), *store.rglob("*.tmp"), *store.glob(".trash-*")]]
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get("TMPDIR", "").startswith(str(work)) and process.status() != "zombie":
            found.append(f"process {process.pid}")
    return found


def attempt(words: list[str], work: Path, temporary: Path, after: float | None) -> int:
    """The exit code of one attempt; it is killed `after` so many seconds, with all that it has started."""
    temporary.mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(temporary), "BENCH_CACHE": str(work / "cache"), "OMP_NUM_THREADS": "1"}
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(words, env=environment, **quiet) as process:
        try:
            return process.wait(after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait()


def campaign(kills: int, seed: int, base: Path, kinds: Sequence[str] = KINDS) -> Iterator[dict[str, Any]]:
    """Rounds of each kind in turn until so many kills were made: what went wrong in each, if anything did."""
    rng, done, undisturbed = random.Random(seed), 0, {}
    while done < kills:
        kind = rng.choice(kinds)
        if kind not in undisturbed:
            with tempfile.TemporaryDirectory(dir=base) as folder:
                work, start = Path(folder), time.monotonic()
                code = attempt(command(kind, work), work, work / "tmp", None)
                undisturbed[kind] = outcome(work), time.monotonic() - start
                assert code == 0, f"{kind}: exit code {code}"
        expected, seconds = undisturbed[kind]
        with tempfile.TemporaryDirectory(dir=base) as folder:
            work, here, code = Path(folder), 0, -9
            words = command(kind, work)
            while code == -9:
                last = done + here >= kills or here >= 12
                code = attempt(words, work, work / "tmp", None if last else rng.uniform(QUICKEST, SHARE * seconds))
                here += code == -9
            shutil.rmtree(work / "tmp")  # what a killed process leaves there is the system's to remove
            again = attempt(words, work, work / "tmp", None)
            found = outcome(work)
            different = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
            yield {
                "kind": kind,
                "kills": here,
                "codes": [code, again],
                "different": different,
                "undisturbed": round(seconds, 1),
                "left": leftovers(work, work / "tmp"),
            }
            done += here


def fault(said: dict[str, Any]) -> bool:
    """Whether this is what must not be."""
    return bool(said["codes"] != [0, 0] or said["different"] or said["left"])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--store", type=Path, required=True, help="a folder in which the stores are made and deleted")
    given = parser.parse_args()
    given.store.mkdir(parents=True, exist_ok=True)
    total = faults = 0
    for said in campaign(given.kills, given.seed, given.store, given.kinds):
        total, faults = total + said["kills"], faults + fault(said)
        print(json.dumps(said), flush=True)  # noqa: T201
    print(f"{total} kills, {faults} rounds with a fault")  # noqa: T201


if __name__ == "__main__":
    main()
