"""Where the stages of a graph are made: in this process, or in worker processes."""

from __future__ import annotations

from bench.matrix.graph import Engine


def open_engine(jobs: int) -> Engine:
    """An engine that makes `jobs` stages at a time: 1 in this process with all its threads, else workers with one
    thread each (so the last digits differ: the number of threads changes the order of sums)."""
    if jobs == 1:
        from .here import Here

        return Here()
    from .workers import Workers

    return Workers(jobs)
