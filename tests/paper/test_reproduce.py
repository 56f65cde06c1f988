"""The paper beside ours: which records count, the difference, and a plain word where the setting is another."""

from __future__ import annotations

import copy

import pytest
from rich.console import Console

from bench.cli import common, main as cli
from bench.cli.reproduce import text
from bench.errors import BenchError
from bench.matrix.cell import RunContext
from bench.paper import reproduce
from bench.paper.reproduce import RecordsByRun, Reproduction
from bench.pipeline.stage import Machine
from bench.records import record
from bench.records.build import build_record
from bench.store import Store


@pytest.fixture
def shop(tmp_path):
    return RunContext(Store(tmp_path / "store"), Machine(accelerator="cpu"))


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
def lines(shop):
    """lines(table, preset, records, *settings) -> (all that is printed, the cells of each line of its tables)."""

    def show(table, preset, records=(), *settings, seeds=1):
        tables = Reproduction(shop, table, range(seeds), settings).tables(preset)
        shown = text("tableX", tables, RecordsByRun(records, shop), seeds)
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
    for table in ("I", "II", "III"):
        shown, _ = lines(table, "smoke")
        assert shown.startswith("NOT A REPRODUCTION. The setting is not the paper's")
        opening = shown.partition("\n\n")[0]
        for told in (
            "dataset scenes (",
            "images of 32 px (224)",
            "2 epochs (200)",
            "batches of 32 (1024)",
            "backbone resnet18",
        ):
            assert told in opening
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


def test_only_records_of_the_very_run_count(lines, made):
    other = made(0)
    other["config"]["defense"]["masks"] = 17
    _, rows = lines("II", "smoke", [other])
    assert [row[-1] for row in rows if row[1] == "poisoncam"] == ["none yet"]
    _, rows = lines("I", "smoke", [other])
    (none,) = [row for row in rows if row[1] == "none"]
    rates = other["metrics"]["none"]["clean"]
    assert none[2] == f"69.3 / {rates['acc']:.1f} ({rates['acc'] - 69.3:+.1f})", "its threat model is the same"


def test_where_the_data_lay_does_not_matter(made, shop):
    one, other = made(0), made(0)
    one["config"]["dataset"]["root"], other["config"]["dataset"]["root"] = "/here", "/there"
    assert len({reproduce._identity(each["config"], "poisoncam") for each in (one, other)}) == 1
    other["config"]["dataset"]["train_per_class"] = 41
    assert len({reproduce._identity(each["config"], "poisoncam") for each in (one, other)}) == 2


@pytest.fixture
def bench(monkeypatch, capsys):
    """bench(*arguments) -> (exit code, standard output)."""
    monkeypatch.setattr(common, "out", Console(width=250))

    def run(*arguments):
        code = cli.guarded(lambda: cli.app([str(each) for each in arguments], standalone_mode=False))
        return code, capsys.readouterr().out

    return run


def test_run_makes_what_is_missing(bench, copied, monkeypatch):
    """The stages of `smoke` are there, only its record is not."""
    told = reproduce.published
    monkeypatch.setattr(reproduce, "published", lambda *a: [each for each in told(*a) if each.defense != "patchsearch"])
    where = ("table2", "--preset", "smoke", "--store", copied)
    code, out = bench("reproduce", *where)
    assert code == 0
    assert "No record yet of 1 run. " in out
    code, out = bench("reproduce", *where, "--run", "--accelerator", "cpu")
    assert code == 0
    assert "| 1 seed " in out
    assert "Every run that can be made has a record of 1 seed; the paper has 5 (--seeds)." in out
    (kept,) = (copied / "records").glob("*.json")
    found = record.load(kept)["metrics"]["detection"]["recall"]
    assert f"98.7 / {found:.1f} ({found - 98.7:+.1f})" in out
    assert bench("reproduce", *where[:3], "--records", copied / "records")[1].count("1 seed") == 2


def test_bad_arguments(bench, tmp_path, capsys):
    assert bench("reproduce", "table4")[0] == 2
    assert bench("reproduce", "table1", "--records", tmp_path)[0] == 2
    with pytest.raises(BenchError, match="there is no record in"):
        cli.app(["reproduce", "table1", "--records", str(tmp_path)], standalone_mode=False)
