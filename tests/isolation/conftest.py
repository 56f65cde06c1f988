"""Whether this system can fence a process, and defenses in processes of their own."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.data.images import ArrayImages
from bench.isolation.handover import hand_over
from bench.isolation.job import Job
from bench.isolation.process import IsolatedDefense
from bench.plugins.from_file import load_file
from bench.seeds import Seeds

FILE = Path(__file__).with_name("defenses.py")

SCRIPT = "from bench.isolation.fence import close_fence; print(close_fence([], []))"


@pytest.fixture(scope="session")
def fenced():
    """Skips a test where the system has no Landlock."""
    said = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    if said.strip() != "True":
        pytest.skip("this system has no Landlock")


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 256, (12, 3, 8, 8)).astype(np.uint8)


@pytest.fixture
def isolated(pixels, tmp_path):
    """isolated(act, ...) -> IsolatedDefense of tests/isolation/defenses.py on `pixels`."""

    def make(act="", *, defense=None, file="", **more):
        order = hand_over(ArrayImages(pixels), Seeds(1), tmp_path / "work" / "images", lambda *_: None)
        defense = defense or load_file(FILE).Acting(act=act, file=str(file))
        where = {"device": "cpu", "accelerator": "cpu", "devices": 1, "threads": 1, "folder": tmp_path / "work"}
        job = Job(defense=defense, method="clean", arguments=(), encoder=None, seeds=Seeds(7), **where)
        return IsolatedDefense(job=job, order=order, size=8, closed=(tmp_path / "store",), **more)

    return make
