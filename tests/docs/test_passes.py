"""docs/tools/passes.py: what it counts of a search."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

MATRIX = """
preset = "smoke"
until = "detection"
defenses = ["patchsearch"]
[[attacks]]
name = "htba"
"""


@pytest.fixture
def tool(script):
    return script("passes")


def test_a_pass_by_hand(tool):
    class Encoder:
        dim = 3
        prepare = staticmethod(lambda images: images / 2)

        def __call__(self, images):
            return self.prepare(images)

    counted, images = tool.Counted(Encoder()), torch.ones(5, 3)
    with torch.no_grad():
        counted(images)
        counted.prepare(images[:2])
    assert counted.passes == 7
    counted.prepare(images)
    assert (counted.passes, counted.dim) == (17, 3)


def test_a_search_costs_what_a_plan_says(tool, monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_STORE", str(tmp_path / "store"))
    (tmp_path / "a.toml").write_text(MATRIX)
    tool.main([str(tmp_path / "a.toml"), "-o", str(tmp_path / "found.csv")])
    found = pd.read_csv(tmp_path / "found.csv")
    assert found.search.tolist() == ["exact", "fast"]
    assert (found["images scored"] > 0).all()
    assert found.passes[0] > found.passes[1] > 2
    assert (found["poisoned of the first 10"] <= 10).all()
