"""Which records count as controls and other seeds of a run."""

import copy
import json

import pytest

from bench.records import record as records
from bench.report.controls import beside

RIVAL = {"name": "mine", "masks": 4}


@pytest.fixture
def kept(record, tmp_path):
    """kept(name, seed=..., control=..., defense={...}, ...): such a record in the folder."""

    def keep(name, *, seed=0, control=False, defense=RIVAL, **changes):
        found = copy.deepcopy(record)
        found["run"] |= {"seed": seed, "control": control, "defense": defense["name"]}
        found["config"] |= {"seed": seed, "defense": defense}
        records.save(tmp_path / f"{name}.json", found | changes)

    return keep


ORACLE = {"control": True, "defense": {"name": "oracle"}}


def test_controls_of_the_seed_and_other_seeds_of_the_run(record, kept, tmp_path):
    kept("itself")
    kept("oracle", **ORACLE)
    kept("clean", control=True, defense={"name": "clean-set"})
    kept("oracle-1", **ORACLE, seed=1)
    kept("seed-7", seed=7)
    kept("other-options", seed=8, defense={"name": "mine", "masks": 5})
    kept("another-defense", defense={"name": "theirs"})
    found = beside(record, [tmp_path, tmp_path, tmp_path / "missing"])
    assert [each["run"]["defense"] for each in found.controls] == ["clean-set", "oracle"]
    assert [each["run"]["seed"] for each in found.seeds] == [7]


def test_other_settings_data_presets_and_metrics_do_not_count(record, kept, tmp_path):
    kept("training", **ORACLE, config=record["config"] | {"train": {"epochs": 999}, "defense": ORACLE["defense"]})
    kept("data", **ORACLE, dataset=record["dataset"] | {"fingerprint": "0" * 64})
    kept("preset", **ORACLE, run=record["run"] | {"preset": "other", "control": True, "defense": "oracle"})
    kept("metrics", **ORACLE, metric_version=record["metric_version"] + 1)
    kept("sent", **ORACLE, status="submitted", submission={"sha256": "a" * 64})
    assert not beside(record, [tmp_path]).controls


def test_a_control_measured_against_another_defense_does_not_count(record, kept, tmp_path):
    kept("own", control=True, defense={"name": "random", "like": "mine", "rival": RIVAL})
    kept("foreign", control=True, defense={"name": "random", "like": "b", "rival": {"name": "b"}})
    for own in (RIVAL, {"name": "mine+mix", "mine": RIVAL, "mix": {}}):
        record["config"]["defense"] = own
        assert [each["config"]["defense"]["like"] for each in beside(record, [tmp_path]).controls] == ["mine"]


def test_the_newest_of_several_counts_and_files_that_are_no_records_are_passed_over(record, kept, tmp_path):
    for name, day in (("b", "03"), ("a", "05"), ("c", "04")):
        kept(name, **ORACLE, created=f"2026-01-{day}T00:00:00+00:00")
    for name, text in (("list", "[]"), ("torn", "{"), ("other", '{"schema_version": 2}'), ("bytes", "\xff\x00")):
        (tmp_path / f"{name}.json").write_text(text, encoding="latin-1")
    (tmp_path / "folder.json").mkdir()
    huge = json.loads((tmp_path / "a.json").read_text()) | {"facts": {"x": "x" * 2**20}}
    huge["config"]["defense"] = {"name": "huge"}
    (tmp_path / "huge.json").write_text(json.dumps(huge))
    found = beside(record, [tmp_path]).controls
    assert [(each["run"]["defense"], each["created"][8:10]) for each in found] == [("oracle", "05")]
