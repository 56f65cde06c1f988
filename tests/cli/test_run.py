"""`bench run` and `bench plan`: what they print, keep and import."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys

import pytest

from bench.cli import common
from bench.errors import BenchError
from bench.records import record


@pytest.fixture
def records(copied):
    """records() -> the record files in that store."""
    return lambda: sorted((copied / "records").glob("*.json"))


def test_run_prints_the_table_and_keeps_the_record(smoke_run, records, rows, tmp_path):
    out = smoke_run("run", "--record", tmp_path / "mine" / "r.json")
    assert out.count("(from the store)") == 6
    assert "classified rightly (ACC)" in out
    assert "poisoncam removed" in out
    assert out.endswith(f"Record: {tmp_path / 'mine' / 'r.json'}\n")
    (kept,) = records()
    assert kept.name.startswith("scenes-htba-poisoncam-seed0-")
    one, other = record.load(tmp_path / "mine" / "r.json"), record.load(kept)
    assert record.fingerprint({**one, "git": None}) == record.fingerprint({**other, "git": None})
    shown = rows(out)
    assert shown[0][1] == f"{one['metrics']['none']['clean']['acc']:.1f} %"
    assert shown[3][2] == f"{one['metrics']['defended']['poisoned']['asr']:.1f} %"


def test_tensorboard_gets_the_configuration_and_the_metrics(smoke_run, tmp_path):
    """All comes from the store: there are no curves."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    smoke_run("run", "--tensorboard", tmp_path / "logs", "--record", tmp_path / "r.json")
    events = EventAccumulator(str(tmp_path / "logs" / "poisoncam-seed0"))
    events.Reload()
    (point,) = events.Scalars("metrics/defended/clean/acc")
    assert point.value == pytest.approx(record.load(tmp_path / "r.json")["metrics"]["defended"]["clean"]["acc"])
    assert events.Tags()["tensors"] == ["config/text_summary"]
    assert not [tag for tag in events.Tags()["scalars"] if not tag.startswith("metrics/")]


def test_runs_that_measure_otherwise_keep_records_of_their_own(smoke_run, records):
    for epochs in (2, 3):
        smoke_run("run", "--set", f"probe.epochs={epochs}", "--defense", "none")
    assert len(records()) == 2


def test_running_again_leaves_the_first_record(smoke_run, records, monkeypatch):
    monkeypatch.setattr(record, "git_state", lambda: None)  # somebody may commit meanwhile
    smoke_run("run")
    (kept,) = records()
    before = kept.stat().st_mtime_ns
    smoke_run("run")
    assert [path.stat().st_mtime_ns for path in records()] == [before]


def test_a_run_from_the_store_imports_no_torch(copied):
    """Also on a machine with a GPU driver, unless its name is looked up, which torch does."""
    code = (
        "import sys; sys.argv = ['bench', 'run', '--preset', 'smoke', '--accelerator', 'cpu']\n"
        "from bench.cli.main import main\nfrom bench.records import record\n"
        "record._accelerators = lambda: []\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(names & {'torch', 'torchvision', 'timm', 'faiss', 'sklearn', 'pandas', 'matplotlib', 'scipy'}))"
    )
    for _ in range(2):  # the first finds out the dataset's fingerprint, which takes its images
        told = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "BENCH_STORE": str(copied)},
            capture_output=True,
            text=True,
            check=True,
        )
    assert told.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("arguments", "cached"), [((), "yes"), (("--seed", "3"), "no")])
def test_plan(smoke_run, rows, arguments, cached):
    out = smoke_run("plan", *arguments)
    assert [row[1] for row in rows(out)] == [cached] * 6
    if cached == "yes":
        assert out.endswith("Everything is in the store: nothing will be computed.\n")
    else:
        assert rows(out)[1][3] == "an earlier stage of the same kind"
        assert "To do: 6 of 6 stages, about" in out


def test_files_that_cannot_be_read_are_named(bench, capsys):
    data = type("Data", (), {"skipped": tuple(f"{i}.png" for i in range(7))})()
    common.warn_of_skipped(data)
    assert capsys.readouterr().err == (
        "bench: 7 files cannot be read and are left out: 0.png, 1.png, 2.png, 3.png, 4.png ...\n"
    )


def test_a_user_without_a_home_folder_names_a_store(smoke_run, bench, monkeypatch, tmp_path):
    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "BENCH_STORE", "BENCH_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert "poisoncam removed" in smoke_run("run")
    assert "random removed" in smoke_run("run", "--defense", "random")
    assert list(tmp_path.glob("~*")) == []
    with pytest.raises(BenchError, match="there is no home folder to keep the store in: name a folder with --store"):
        bench("store", "list")


def test_a_record_names_the_threat_model_that_was_imported(smoke_run, smoke, tmp_path):
    """And `bench report` finds its stages without the file."""
    encoder = smoke[0].folder(smoke[0].threat) / "encoder.safetensors"
    copy = tmp_path / "threat.safetensors"
    copy.write_bytes(encoder.read_bytes())
    smoke_run("run", "--defense", "none", "--threat-checkpoint", copy, "--record", tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text())["run"]["asked"]["threat_checkpoint"]["checkpoint"] == copy.name
