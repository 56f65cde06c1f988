"""Times of the store (making and finding an artifact) and of a leaderboard of 10,000 records."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from bench.store import Store, write_arrays

RECORDS = Path(__file__).parents[2] / "leaderboards" / "records"


@pytest.mark.benchmark(group="store")
def test_make_an_artifact(benchmark, tmp_path):
    store, numbers = Store(tmp_path), itertools.count()
    values = np.arange(10_000, dtype=np.float32)

    def make():
        key = f"{next(numbers):064x}"
        with store.open("probe", key, version=1, config={}, inputs={}) as making:
            write_arrays(making.dir / "values.npz", {"values": values})
        return store.find("probe", key)

    assert (benchmark(make) / "values.npz").is_file()


@pytest.mark.benchmark(group="store")
def test_find_an_artifact(benchmark, tmp_path):
    store, key = Store(tmp_path), f"{7:064x}"
    with store.open("probe", key, version=1, config={}, inputs={}):
        pass
    assert benchmark(store.find, "probe", key) is not None


def copies(count):
    """`count` records: real ones with other seeds, keys and rates, of 40 defenses that differ in an option."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(RECORDS.glob("*.json"))]
    for number, text in zip(range(count), itertools.cycle(texts)):
        record = json.loads(text)
        record["run"]["seed"] = record["config"]["seed"] = number
        record["config"]["defense"]["samples"] = number % 40
        record["metrics"]["defended"]["clean"]["acc"] = number % 1000 / 10
        for stage in record["stages"].values():
            stage["key"] = f"{number:064x}"
        yield record


@pytest.mark.benchmark(group="leaderboard")
def test_leaderboard(benchmark, amount):
    from bench import leaderboard

    count = amount(10_000, 20)
    records = list(copies(count))
    render = leaderboard.renderer("markdown")
    text = benchmark(lambda: render(leaderboard.tables(records)))
    assert text.count("|") > count / 100
