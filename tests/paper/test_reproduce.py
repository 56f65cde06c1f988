"""The paper beside ours: which records count, the difference, and a plain word where the setting is another."""

from __future__ import annotations

import copy

import pytest

from bench.cli.reproduce import text
from bench.matrix.cell import RunContext
from bench.paper import reproduce
from bench.paper.reproduce import RecordsByRun, Reproduction
from bench.pipeline.stage import Machine
from bench.records import record
from bench.records.build import build_record
from bench.store import Store


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """One for all tests, so that the data are drawn once."""
    return RunContext(Store(tmp_path_factory.mktemp("empty")), Machine(accelerator="cpu"))


@pytest.fixture
def made(smoke):
    """made(seed, **detection) -> a record of the preset smoke with these detection metrics."""
    base = build_record(smoke[0])

    def build(seed, **detection):
        found = copy.deepcopy(base)
        found["run"]["seed"] = found["config"]["seed"] = seed
        found["metrics"]["detection"].update(detection)
        return found

    return build


@pytest.fixture
def lines(context):
    """lines(table, preset, records, *settings) -> (all that is printed, the cells of each line of its tables)."""

    def show(table, preset, records=(), *settings):
        tables = Reproduction(context, table, range(1), settings).tables(preset)
        shown = text("tableX", tables, RecordsByRun(records, context), 1)
        rows = [
            [part.strip() for part in line.split("|")[1:-1]] for line in shown.splitlines() if line.startswith("| ")
        ]
        return shown, rows

    return show


def test_the_difference_is_ours_less_the_papers(lines, made):
    """Two seeds with a precision of 40 and 61 %: 50.5, the paper 49.3. Recall 90 and 100: 95, the paper 98.7."""
    records = [made(0, precision=40.0, recall=90.0, removed=30), made(7, precision=61.0, recall=100.0, removed=50)]
    _, rows = lines("II", "smoke", records)
    (row,) = [row for row in rows if row[1] == "poisoncam"]
    assert row == ["average", "poisoncam", "1570.8 / 40.0", "98.7 / 95.0 (-3.7)", "49.3 / 50.5 (+1.2)", "2 seeds"]


def test_a_small_preset_is_never_presented_as_a_reproduction(lines):
    words = ("dataset scenes (", "images of 32 px (224)", "2 epochs (200)", "batches of 32 (1024)", "backbone resnet18")
    for table in ("I", "II", "III"):
        shown, _ = lines(table, "smoke")
        assert shown.startswith("NOT A REPRODUCTION. The setting is not the paper's")
        assert [word for word in words if word not in shown.partition("\n\n")[0]] == []
        assert "beside preset smoke on other data" in shown


def test_one_changed_setting_makes_it_another(lines):
    assert lines("I", "paper-stl10")[0].startswith("The setting is the paper's as far as it is published")
    shown, _ = lines("I", "paper-stl10", (), "train.epochs=2", "train.warmup=1")
    assert shown.startswith("NOT A REPRODUCTION")
    assert "2 epochs (200); 1 more settings (train.warmup)." in shown


def test_the_papers_presets_give_every_line_and_the_commands_that_are_missing(lines):
    shown, rows = lines("I", None)
    assert sum(row[1] == "poisoncam" for row in rows) == 11 + 11 + 4
    assert ["tabby cat", "none", "69.3 / –", "0.0 / –", "25.8 / –", "69.9 / –", "none yet"] in rows  # noqa: RUF001
    own = [line for line in shown.splitlines() if "--defense poisoncam" in line]
    assert len(own) == 10 + 10 + 3
    command = "bench run --preset paper-imagenet100 --defense poisoncam --set attack.rate=1.0 "
    assert f"    {command}--set 'attack.target=tabby cat' --seed 0" in own
    assert "--defense none" not in shown, "every record holds the row without a defense"


def test_table_three_ends_its_trainings_early(lines):
    """127,000 images are 124 batches of 1,024; at epoch 200 it is the whole training."""
    shown, rows = lines("III", "paper-imagenet100")
    assert [row[2] for row in rows if row[0] == "goose"] == [str(epoch) for epoch in range(20, 201, 20)]
    commands = [line for line in shown.splitlines() if "attack.target=goose" in line]
    assert len(commands) == 10
    assert "--defense none --set attack.rate=0.5 --set train.max_steps=2480 --set attack.target=goose" in commands[0]
    assert not any("max_steps" in line for line in commands[-1:])


def test_only_records_of_the_very_run_count_wherever_their_data_lay(lines, made):
    """The threat model of a record with another defense is the same."""
    here, masks, data = made(0), made(0), made(0)
    here["config"]["dataset"]["root"] = "/here"
    masks["config"]["defense"]["masks"] = 17
    data["config"]["dataset"]["train_per_class"] = 41
    for found, of_none, of_poisoncam in ((here, True, True), (masks, True, False), (data, False, False)):
        _, rows = lines("II", "smoke", [found])
        assert [row[-1] for row in rows if row[1] == "poisoncam"] == ["1 seed" if of_poisoncam else "none yet"]
        (none,) = [row for row in lines("I", "smoke", [found])[1] if row[1] == "none"]
        acc = found["metrics"]["none"]["clean"]["acc"]
        assert none[2] == (f"69.3 / {acc:.1f} ({acc - 69.3:+.1f})" if of_none else "69.3 / –")  # noqa: RUF001


def test_what_was_sent_in_is_not_ours(lines, made):
    for status, seeds in (("measured", "1 seed"), ("submitted", "none yet")):
        rows = lines("II", "smoke", [made(0) | {"status": status}])[1]
        assert [row[-1] for row in rows if row[1] == "poisoncam"] == [seeds]


def test_a_record_until_detection_counts_where_only_the_verdict_does(lines, made):
    short, whole = made(0), made(0)
    short["run"]["until"] = "detection"
    del short["metrics"]["defended"]
    for records, of_one in (([short], "none yet"), ([short, whole], "1 seed"), ([whole, short], "1 seed")):
        found = {table: lines(table, "smoke", records)[1] for table in ("I", "II")}
        ours = {table: {row[1]: row[-1] for row in rows} for table, rows in found.items()}
        assert (ours["I"]["poisoncam"], ours["II"]["poisoncam"]) == (of_one, "1 seed")
        assert ours["I"]["none"] == "1 seed"


def test_run_makes_what_is_missing(bench, copied, monkeypatch):
    """The stages of `smoke` are there, only its record is not."""
    told = reproduce.published
    monkeypatch.setattr(reproduce, "published", lambda *a: [each for each in told(*a) if each.defense != "patchsearch"])
    where = ("reproduce", "table2", "--preset", "smoke")
    assert "No record yet of 1 run. " in bench(*where, "--store", copied)
    out = bench(*where, "--store", copied, "--run", "--accelerator", "cpu")
    assert "| 1 seed " in out
    assert "Every run that can be made has a record of 1 seed; the paper has 5 (--seeds)." in out
    (kept,) = (copied / "records").glob("*.json")
    found = record.load(kept)["metrics"]["detection"]["recall"]
    assert f"98.7 / {found:.1f} ({found - 98.7:+.1f})" in out
    assert bench(*where, "--records", copied / "records").count("1 seed") == 2


def test_bad_arguments(refused, tmp_path):
    assert "unknown table 'tabel1'. Did you mean 'table1'?" in refused("reproduce", "tabel1")
    assert f"there is no record in {tmp_path}" in refused("reproduce", "table1", "--records", tmp_path)
