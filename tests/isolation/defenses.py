"""Defenses for test_process.py, in a file of their own: each does what its `act` names."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from bench import Defense, Grouping, Verdict


def tried(act):
    try:
        return act() and "done"
    except PermissionError:
        return "refused"


def _raise():
    raise ValueError("mine")


@dataclass(frozen=True, kw_only=True)
class Acting(Defense):
    """Keeps the images whose first pixel is under 128; `act` says what it does before."""

    name: ClassVar[str] = "acting"
    act: str = ""
    file: str = ""

    def clean(self, view):
        first = view.batch(range(len(view)))[:, 0, 0, 0].numpy()
        facts = {"first": first.tolist(), "seed": view.seeds("a").value}
        facts |= getattr(self, f"_{self.act or 'plain'}")(view) or {}
        return Verdict(keep=first < 128, score=first / 255, facts=facts)

    def _plain(self, view):
        print("from inside")  # noqa: T201
        view.progress("rows", 1, 2)
        return {"pid": os.getpid(), "bench": [name for name in os.environ if name.startswith("BENCH")]}

    def _count_threads(self, view):
        import faiss
        import torch

        return {"threads": [torch.get_num_threads(), faiss.omp_get_max_threads(), int(os.environ["OMP_NUM_THREADS"])]}

    def _touch(self, view):
        Path("mine.txt").write_text("temporary")
        given = Path(self.file)
        images = Path("../images/images.npy")
        acts = given.read_text, given.with_name("other").read_text, images.read_bytes, lambda: images.write_text("x")
        return {"touched": [tried(act) for act in acts]}

    def _raise(self, view):
        _raise()

    def _look(self, view):
        """What it holds open, which program it is, and what an earlier one may have left."""
        import bench

        environment = dict(os.environ)  # before what torch adds
        handles = [str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.exists()]
        left, bench.left = getattr(bench, "left", "nothing"), "something"
        program = "forked" if "bench.isolation.forks" in sys.orig_argv else "started"
        return {
            "open": sorted(re.sub(r"\d+", "", each) for each in handles),
            "program": program,
            "left": left,
            "drawn": float(np.random.random()),  # noqa: NPY002
            "environment": environment,
            "leads": os.getsid(0) == os.getpid() == os.getpgid(0),
            "folder": str(Path.cwd()) == os.environ["TMPDIR"] == tempfile.gettempdir(),
        }

    def _die(self, view):
        kept = view.step("a", lambda: {"pid": np.array(os.getpid())})["pid"]
        if kept == os.getpid():
            os.kill(os.getpid(), signal.SIGKILL)
        return {"kept": int(kept)}

    def _wait(self, view):
        with subprocess.Popen(["/bin/sleep", "60"]):
            view.progress("waiting", os.getpid(), 1 << 30)

    def _lie(self, view):
        for number in range(3, 20):
            try:
                os.write(number, b'{"answer": {}, "bytes": "all"}\n')
            except OSError:
                continue

    def attention(self, view, indices):
        return view.batch(indices)[:, 0].float().numpy(), np.zeros((len(indices), 4), np.int64)

    def grouping(self, view, verdict):
        return Grouping((~verdict.keep).astype(np.int64), np.array([0.0, 1.0]), "by its verdict")
