"""For all tests: no user's folders, one thread, and a guard over the global generators."""

from __future__ import annotations

import os

# Before torch and faiss are loaded, here and in the processes that tests start.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import random

import numpy as np
import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_folders(tmp_path_factory):
    """Caches and stores of the tests are their own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("BENCH_CACHE", "BENCH_STORE"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        yield


@pytest.fixture
def global_rng():
    """A test that asks for this fails if it moves a global generator."""
    import torch

    def state():
        kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - what must not be touched
        return torch.random.get_rng_state().tolist(), random.getstate(), (kind, keys.tolist(), *rest)

    before = state()
    yield
    assert state() == before
