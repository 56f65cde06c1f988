"""A first look at one GPU: what differs from the CPU, how fast and how large the parts of a run are, as one JSON.

    python docs/tools/gpu_check.py -o docs/measured/gpu.json         # under 8 minutes in all; then docs/tools/render.py
    python docs/tools/gpu_check.py -o gpu.json --device cpu --tiny   # a dry run without a GPU

From a checkout that need not be installed: it lays the packages out in a temporary folder. Nothing is downloaded; all
images are generated. Each part (docs/tools/gpu_parts.py) runs in a process of its own with a budget of seconds: one
that takes longer is cut, and what it had measured by then is kept. The JSON:

    machine     card, its memory in GiB, CPU cores, versions; missing: packages that are not here
    total       seconds of all parts
    parts       by name: state ("done", "cut", "failed"), seconds, budget, error (the last line of what went wrong), and
                what the part measured
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BUDGETS = {
    "tests": 60,
    "peak": 20,
    "equality": 50,
    "k_means": 30,
    "train_cifar10": 50,
    "train_paper": 80,
    "search": 80,
    "recur": 90,
}
"""Seconds of each part: 460 in all, the start of each process included."""
NEEDED = {
    "torch": "torch",
    "timm": "timm",
    "faiss": "faiss-cpu",
    "lightning_fabric": "lightning-fabric",
    "PIL": "pillow",
    "safetensors": "safetensors",
    "pluggy": "pluggy",
    "pytest": "pytest",
}
"""What the parts import: module and distribution. What else is missing shows as the error of a part."""


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="sizes that a CPU is done with in seconds")
    parser.add_argument("--parts", nargs="+", choices=BUDGETS, default=list(BUDGETS))
    options = parser.parse_args(words)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(laid_out(Path(folder)))}
        found: dict[str, Any] = {"machine": machine(options.device), "parts": {}}
        for name in options.parts:
            command = [sys.executable, str(ROOT / "docs/tools/gpu_parts.py"), name, options.device]
            found["parts"][name] = part(command + ["--tiny"] * options.tiny, BUDGETS[name], environment)
            found["total"] = round(time.perf_counter() - began, 1)
            options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")  # kept if this is killed
            sys.stderr.write(f"{name}: {json.dumps(found['parts'][name])}\n")


def laid_out(folder: Path) -> Path:
    """A folder from which Python imports this checkout with all its packages and entry points, by links."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (folder / "bench").mkdir()
    for path in (ROOT / "bench").iterdir():
        (folder / "bench" / path.name).symlink_to(path)
    for name, there in project["tool"]["setuptools"]["package-dir"].items():
        if "." in name:
            (folder / name.replace(".", "/")).symlink_to(ROOT / there)
    known = folder / f"ssl_backdoor_bench-{project['project'].get('version', '0')}.dist-info"
    known.mkdir()
    (known / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['project']['name']}\nVersion: 0\n")
    points = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in named.items())
        for group, named in project["project"]["entry-points"].items()
    ]
    (known / "entry_points.txt").write_text("\n".join(points))
    return folder


def machine(device: str) -> dict[str, Any]:
    """What was measured on, and what is missing there."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    facts: dict[str, Any] = {"cores": os.cpu_count(), "python": sys.version.split()[0], "missing": missing}
    for name in NEEDED.keys() - set(missing):
        try:
            facts[name] = importlib.metadata.version(NEEDED[name])
        except importlib.metadata.PackageNotFoundError:
            facts[name] = "?"
    if "torch" in missing or device == "cpu":
        return {"card": None, **facts}
    import torch

    if not torch.cuda.is_available():
        return {"card": None, **facts, "missing": [*missing, "a CUDA device"]}
    card = torch.cuda.get_device_properties(0)
    return {"card": card.name, "memory_gib": round(card.total_memory / 2**30, 1), "cuda": torch.version.cuda, **facts}


def part(command: Sequence[str], budget: float, environment: dict[str, str]) -> dict[str, Any]:
    """What one part says, a JSON object a line, within its budget."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as wrong:
        process = subprocess.Popen(command, stdout=said, stderr=wrong, env=environment, start_new_session=True)
        try:
            state = "failed" if process.wait(budget) else "done"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its own group: also what it started
            process.wait()
            state = "cut"
        found: dict[str, Any] = {
            "state": state,
            "seconds": round(time.perf_counter() - start, 1),
            "budget": budget,
        }
        said.seek(0)
        for line in said:
            if line.startswith("{") and line.endswith("}\n"):  # not what was cut in its middle
                found |= json.loads(line)
        wrong.seek(0)
        lines = [line.strip() for line in wrong if line.strip()]
    return {**found, "error": lines[-1]} if state == "failed" and lines else found


if __name__ == "__main__":
    main()
