"""Which records count as controls and other seeds of a run."""

import copy
import json
from pathlib import Path

import pytest

from bench.records import record as records
from bench.report.controls import beside

FIXTURE = Path(__file__).parents[1] / "fixtures" / "records" / "v2-multi-target.json"


@pytest.fixture
def run():
    found = records.load(FIXTURE)
    found["run"] |= {"seed": 0, "control": False, "defense": "mine"}
    found["config"] |= {"seed": 0, "defense": {"name": "mine", "masks": 4}}
    return found


@pytest.fixture
def kept(run, tmp_path):
    """kept(seed=..., control=..., defense={...}, created=...): such a record in the folder."""

    def keep(name, *, seed=0, control=False, defense=None, created=None, **changes):
        found = copy.deepcopy(run)
        found["run"] |= {"seed": seed, "control": control, "defense": (defense or {"name": "mine"})["name"]}
        found["config"] |= {"seed": seed, "defense": defense or run["config"]["defense"]}
        found |= {"created": created or found["created"], **changes}
        records.save(tmp_path / f"{name}.json", found)

    return keep


def test_controls_of_the_seed_and_other_seeds_of_the_run(run, kept, tmp_path):
    kept("itself")
    kept("oracle", control=True, defense={"name": "oracle"})
    kept("clean", control=True, defense={"name": "clean-set"})
    kept("oracle-1", control=True, defense={"name": "oracle"}, seed=1)
    kept("seed-7", seed=7)
    kept("other-options", seed=8, defense={"name": "mine", "masks": 5})
    kept("another-defense", defense={"name": "theirs"})
    found = beside(run, [tmp_path, tmp_path, tmp_path / "missing"])
    assert [each["run"]["defense"] for each in found.controls] == ["clean-set", "oracle"]
    assert [each["run"]["seed"] for each in found.seeds] == [7]


def test_other_settings_data_presets_and_metrics_do_not_count(run, kept, tmp_path):
    oracle = {"control": True, "defense": {"name": "oracle"}}
    kept("training", **oracle, config=run["config"] | {"train": {"epochs": 999}, "defense": oracle["defense"]})
    kept("data", **oracle, dataset=run["dataset"] | {"fingerprint": "0" * 64})
    kept("preset", **oracle, run=run["run"] | {"preset": "other", "control": True, "defense": "oracle"})
    kept("metrics", **oracle, metric_version=run["metric_version"] + 1)
    assert not beside(run, [tmp_path]).controls


def test_a_control_measured_against_another_defense_does_not_count(run, kept, tmp_path):
    rival = {"name": "mine", "masks": 4}
    kept("own", control=True, defense={"name": "random", "like": "mine", "rival": rival})
    kept("foreign", control=True, defense={"name": "random", "like": "b", "rival": {"name": "b"}})
    assert [each["config"]["defense"]["like"] for each in beside(run, [tmp_path]).controls] == ["mine"]
    run["config"]["defense"] = {"name": "mine+mix", "mine": rival, "mix": {}}
    assert [each["config"]["defense"]["like"] for each in beside(run, [tmp_path]).controls] == ["mine"]


def test_the_newest_of_several_counts(run, kept, tmp_path):
    for name, day in (("b", "03"), ("a", "05"), ("c", "04")):
        kept(name, control=True, defense={"name": "oracle"}, created=f"2026-01-{day}T00:00:00+00:00")
    assert [each["created"][8:10] for each in beside(run, [tmp_path]).controls] == ["05"]


def test_files_that_are_no_records_are_passed_over(run, kept, tmp_path):
    kept("oracle", control=True, defense={"name": "oracle"})
    for name, text in (("list", "[]"), ("torn", "{"), ("other", '{"schema_version": 2}'), ("bytes", "\xff\x00")):
        (tmp_path / f"{name}.json").write_text(text, encoding="latin-1")
    (tmp_path / "folder.json").mkdir()
    huge = json.loads((tmp_path / "oracle.json").read_text()) | {"facts": {"x": "x" * 2**20}}
    huge["config"]["defense"] = {"name": "huge"}
    (tmp_path / "huge.json").write_text(json.dumps(huge))
    assert [each["run"]["defense"] for each in beside(run, [tmp_path]).controls] == ["oracle"]
