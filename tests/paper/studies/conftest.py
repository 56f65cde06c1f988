"""Plans on the preset `smoke`, and rows with made-up values."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def scenes(workshop):
    """The dataset of `smoke`."""
    return workshop.pipeline().dataset


@pytest.fixture
def planner(scenes, tmp_path):
    """planner(store=..., settings=(), seeds=()) -> a Planner of the preset `smoke`."""
    from bench.paper.studies.plan import Planner
    from bench.pipeline.stage import Machine
    from bench.plugins.manager import Plugins
    from bench.store import Store

    def make(store=tmp_path / "empty", settings=(), seeds=(), preset="smoke", plugins=None):
        made = Planner(
            plugins=plugins or Plugins.load(),
            store=Store(store),
            machine=Machine(accelerator="cpu"),
            preset=preset,
            settings=settings,
            seeds=seeds,
        )
        if preset == "smoke":
            made._dataset = scenes  # loaded once for all tests
        return made

    return make


@pytest.fixture
def row():
    """row(line label, step, seed, values, status="") -> a Row that no pipeline made."""
    from bench.paper.studies.engine import Row
    from bench.paper.studies.plan import Cell
    from bench.paper.studies.study import Line

    def make(label, step, seed, values=None, status=""):
        cell = Cell(line=Line(label=label, defense="poisoncam"), step=step, seed=seed)
        return Row(cell=cell, values=values or {}, keys={}, status=status)

    return make
