"""For tests of the matrix: cells of the preset `smoke`, and a context with an empty store."""

from __future__ import annotations

import pytest

from bench.matrix.cell import Cell, RunContext
from bench.pipeline.stage import Machine
from bench.records import record
from bench.store import Store


@pytest.fixture
def cell():
    """cell(defense, *settings, seed=0) -> a Cell."""
    return lambda defense, *settings, seed=0: Cell(
        preset="smoke", seed=seed, attack="htba", defense=defense, settings=settings
    )


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """opened(name) -> a RunContext with a store of that name, empty at first."""
    monkeypatch.setattr(record, "git_state", lambda: None)  # somebody may commit meanwhile
    return lambda name="store": RunContext(Store(tmp_path / name), Machine(accelerator="cpu"))
