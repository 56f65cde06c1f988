"""How many CPU threads compute: as many as the run's option `threads` says, whatever the machine has.

Another number adds up in another order, which moves the result of a small training as another seed does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from .nodes import environment

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables that libraries read when they are loaded."""


def thread_variables(count: int) -> dict[str, str]:
    """The environment in which a process begins that is to compute with `count` threads."""
    return dict.fromkeys(VARIABLES, str(count))


@contextlib.contextmanager
def computing_with(count: int) -> Iterator[None]:
    """Meanwhile this thread computes with `count` threads: torch, and the BLAS and OpenMP of numpy, scikit-learn and
    faiss; also libraries that are loaded and processes that are begun meanwhile. Afterwards as before."""
    import torch

    before = torch.get_num_threads()
    with environment(thread_variables(count)), _limits(count):
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _limits(count: int) -> contextlib.AbstractContextManager[object]:
    """Of the libraries that are loaded. A process that a fenced one has started may not look up which these are: there
    it is the environment, set before it began, that says how many threads they take."""
    from threadpoolctl import threadpool_limits

    try:
        limited: contextlib.AbstractContextManager[object] = threadpool_limits(limits=count)
    except PermissionError:
        return contextlib.nullcontext()
    return limited
