"""`bench store list` and `prune`."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress

import pytest

from bench.cli.store import size
from bench.records.build import keep_record
from bench.store import Store


@pytest.fixture
def store(tmp_path):
    """A finished stage of 2,000 bytes and an unfinished one."""
    made = Store(tmp_path / "store")
    with made.open("probe", "a" * 64) as making:
        (making.dir / "x").write_bytes(b"x" * 2000)
    with suppress(ZeroDivisionError), made.open("pretrain", "b" * 64) as making:
        (making.scratch / "checkpoint").write_bytes(b"")
        raise ZeroDivisionError
    return made


def test_list(bench, store, rows, monkeypatch):
    out = bench("store", "list", "--store", store.root)
    found = [[row[0], row[1], row[-1]] for row in rows(out)]
    assert found == [["pretrain", "b" * 12, "unfinished"], ["probe", "a" * 12, ""]]
    assert f"2 stages, 2 KiB in {store.root}" in out
    monkeypatch.setenv("BENCH_STORE", str(store.root))
    assert bench("store", "list") == out


def test_list_names_the_runs(bench, copied, smoke, rows):
    pipeline, _ = smoke
    folder = copied / "records"
    folder.mkdir()
    for number, (defense, seed) in enumerate([("none", 0), ("poisoncam", 0), ("recur", 10), ("recur", 2)]):
        run = {"attack": "htba", "defense": defense, "preset": "smoke", "seed": seed}
        stages = {"threat_model": {"key": pipeline.threat.key}}
        (folder / f"{number}.json").write_text(json.dumps({"run": run, "stages": stages}))
    (folder / "broken.json").write_text("[]")
    found = {row[1]: row[2] for row in rows(bench("store", "list", "--store", copied))}
    assert found[pipeline.threat.key[:12]] == "htba, none poisoncam and 1 more, smoke, seeds 0 2 10"
    assert found[pipeline.clean.key[:12]] == "poisoncam, seed 0, no record"


def test_prune(bench, refused, store):
    where = ("--store", store.root)
    assert "say what to prune" in refused("store", "prune", *where)
    assert bench("store", "prune", "--stage", "probe", "--dry-run", *where).startswith("would free 2 KiB")
    assert len(store.entries()) == 2
    bench("store", "prune", "--partial", *where)
    assert [entry.stage for entry in store.entries()] == ["probe"]
    assert bench("store", "prune", "--older-than", "1", *where) == "freed 0 B\n"
    assert bench("store", "prune", "--max-gib", "0", *where).startswith("freed 2 KiB")
    assert store.entries() == []


def test_sizes():
    counts = (0, 1023, 1536, 5 * 2**20, 3 * 2**30, 2**41)
    assert [size(count) for count in counts] == ["0 B", "1023 B", "2 KiB", "5 MiB", "3.0 GiB", "2048.0 GiB"]


def test_check(bench, console, store):
    where = ("--store", store.root)
    assert bench("store", "check", *where) == "1 stages, 0 damaged\n"
    (store.root / "probe" / ("a" * 64) / "x").write_bytes(b"y" * 2000)
    code, said, _ = console("store", "check", *where)
    assert code == 1
    assert said == f"probe {'a' * 12} (no record): its file x has changed since it was made\n1 stages, 1 damaged\n"
    assert "; deleted\n" in bench("store", "check", "--drop", *where)
    assert bench("store", "check", *where) == "0 stages, 0 damaged\n"


def test_prune_a_run_leaves_what_others_use(bench, copied, smoke):
    """Two runs share the poisoned images and the threat model; the defense is that of the first alone."""
    pipeline, _ = smoke
    keep_record(dataclasses.replace(pipeline, store=Store(copied)))
    (kept,) = (copied / "records").glob("*.json")
    record = json.loads(kept.read_text())
    stages = {name: stage for name, stage in record["stages"].items() if name in ("poison", "threat_model")}
    (copied / "records" / "other.json").write_text(json.dumps({**record, "stages": stages}))
    before = {entry.key for entry in Store(copied).entries()}
    bench("store", "prune", "--run", kept, "--store", copied, "--dry-run")
    assert {entry.key for entry in Store(copied).entries()} == before
    assert bench("store", "prune", "--run", kept, "--older-than", "1", "--store", copied) == "freed 0 B\n"
    assert kept.exists(), "its stages are there, and nothing else says whose they are"
    bench("store", "prune", "--run", kept, "--store", copied)
    left = {entry.key for entry in Store(copied).entries()}
    assert left == {pipeline.poison.key, pipeline.threat.key}
    assert [each.name for each in (copied / "records").glob("*.json")] == ["other.json"]
