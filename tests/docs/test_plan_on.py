"""docs/tools/plan_on.py: what it keeps of a plan for machines that are not at hand."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bench.config.config import load_config
from bench.estimate.gpus import SHARE, TERAFLOPS
from bench.plugins.manager import Plugins

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def plan_on(script):
    return script("plan_on")


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return {row["machine"]: row for row in csv.DictReader(file)}


def test_what_is_kept_by_hand(plan_on, monkeypatch, tmp_path):
    """Of smoke, 2 epochs in batches of 16: 127,000 // 16 x 16 x 2 images at 1e14 operations, on 989 teraflops' 30 %."""
    monkeypatch.setattr(plan_on, "count_operations", lambda run: (1e14, 2e9))
    settings = ["train.epochs=2", "train.batch=16"]
    words = ["-o", str(tmp_path / "p.csv"), "--preset", "smoke", *(f"--set={each}" for each in settings)]
    plan_on.main(words)
    row = read(tmp_path / "p.csv")["h200"]
    hours = (127_000 // 16 * 16 * 2) * 1e14 / (989e12 * 0.3) / 3600
    assert row["hours of a training"] == f"{hours:.1f}"
    assert (row["gigaflops to train on an image"], row["gigaflops to encode it"]) == ("100000.0", "2.0")


def test_the_committed_numbers_fit_each_other(plan_on):
    """What depends on the preset and on the peaks alone; the operations themselves take minutes to count again."""
    kept = read(DOCS / "measured" / "plan-on.csv")
    assert tuple(kept) == plan_on.FLEETS
    config = load_config(Plugins.load(), "paper-imagenet100")
    passes = config.defense.filter.forwards(plan_on.IMAGES, 224)
    shown = plan_on.IMAGES // config.train.batch * config.train.batch * config.train.epochs
    for name, count in zip(plan_on.FLEETS, (4, 1), strict=True):
        row, speed = kept[name], count * TERAFLOPS[name.removeprefix("4x")] * 1e12 * SHARE
        training, encoding = (float(row[f"gigaflops to {what}"]) * 1e9 for what in ("train on an image", "encode it"))
        assert float(row["hours of a training"]) == pytest.approx(shown * training / speed / 3600, abs=0.06)
        assert float(row["million encoder passes"]) == pytest.approx(passes / 1e6, abs=0.06)
        assert float(row["minutes of the search"]) == pytest.approx(passes * encoding / speed / 60, abs=0.6)
