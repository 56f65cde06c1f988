"""The number of CPU threads: that of the run, in every library, and afterwards what it was."""

import os
import subprocess
import sys

import pytest
import torch
from threadpoolctl import threadpool_info

from bench.parallel.nodes import environment
from bench.parallel.threads import VARIABLES, computing_with

UNSET = dict.fromkeys(VARIABLES)


def counts():
    """Of torch, and the set of those of the BLAS and OpenMP libraries that are loaded."""
    import faiss  # it brings its own of both

    assert faiss.omp_get_max_threads() in {pool["num_threads"] for pool in threadpool_info()}
    return torch.get_num_threads(), {pool["num_threads"] for pool in threadpool_info()}


def test_every_library_computes_with_the_count_and_then_as_before():
    before = counts()
    with environment({"OMP_NUM_THREADS": "7", "MKL_NUM_THREADS": None}):
        with computing_with(3):
            assert counts() == (3, {3})
            assert {os.environ[name] for name in VARIABLES} == {"3"}
            with computing_with(2):
                assert counts() == (2, {2})
            assert counts() == (3, {3})
        assert (os.environ["OMP_NUM_THREADS"], "MKL_NUM_THREADS" in os.environ) == ("7", False)
    assert counts() == before
    with pytest.raises(ZeroDivisionError), computing_with(3):
        raise ZeroDivisionError
    assert counts() == before


def test_also_libraries_that_are_loaded_meanwhile_in_an_environment_that_says_otherwise():
    script = (
        "import sys\n"
        "from bench.parallel.threads import computing_with\n"
        "with computing_with(3):\n"
        "    import faiss\n"
        "    from threadpoolctl import threadpool_info\n"
        "    print({pool['num_threads'] for pool in threadpool_info()}, faiss.omp_get_max_threads())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "2"}, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("{3} 3\n", "")
