"""Whether this system can fence a process."""

import subprocess
import sys

import pytest

SCRIPT = "from bench.isolation.fence import close_fence; print(close_fence([], []))"


@pytest.fixture(scope="session")
def fenced():
    """Skips a test where the system has no Landlock."""
    said = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    if said.strip() != "True":
        pytest.skip("this system has no Landlock")
