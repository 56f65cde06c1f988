"""`bench run` and `bench plan`: what they print, keep and import."""

from __future__ import annotations

import json
import pwd

import pytest

from bench.cli import common
from bench.records import record


@pytest.fixture
def records(copied):
    """records() -> the record files in that store."""
    return lambda: sorted((copied / "records").glob("*.json"))


def test_run_prints_the_table_and_keeps_the_record(smoke_run, records, rows, tmp_path):
    """TensorBoard gets the configuration and the metrics; no curves, since all comes from the store."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = smoke_run("run", "--record", tmp_path / "mine" / "r.json", "--tensorboard", tmp_path / "logs")
    assert out.count("(from the store)") == 6
    assert "classified rightly (ACC)" in out
    assert "poisoncam removed" in out
    assert out.endswith(f"Record: {tmp_path / 'mine' / 'r.json'}\n")
    (kept,) = records()
    assert kept.name.startswith("scenes-htba-poisoncam-seed0-")
    one, other = record.load(tmp_path / "mine" / "r.json"), record.load(kept)
    assert record.fingerprint({**one, "git": None}) == record.fingerprint({**other, "git": None})
    shown, metrics = rows(out), one["metrics"]
    assert shown[0][1] == f"{metrics['none']['clean']['acc']:.1f} %"
    assert shown[3][2] == f"{metrics['defended']['poisoned']['asr']:.1f} %"
    events = EventAccumulator(str(tmp_path / "logs" / "poisoncam-seed0"))
    events.Reload()
    (point,) = events.Scalars("metrics/defended/clean/acc")
    assert point.value == pytest.approx(metrics["defended"]["clean"]["acc"])
    assert events.Tags()["tensors"] == ["config/text_summary"]
    assert not [tag for tag in events.Tags()["scalars"] if not tag.startswith("metrics/")]


def test_running_again_leaves_the_record_and_measuring_otherwise_makes_another(smoke_run, records, monkeypatch):
    monkeypatch.setattr(record, "git_state", lambda: None)  # somebody may commit meanwhile
    smoke_run("run")
    (kept,) = records()
    before = kept.stat().st_mtime_ns
    smoke_run("run")
    assert [path.stat().st_mtime_ns for path in records()] == [before]
    smoke_run("run", "--set", "probe.epochs=1")
    assert len(records()) == 2


@pytest.mark.parametrize(("arguments", "cached"), [((), "yes"), (("--seed", "3"), "no")])
def test_plan(smoke_run, rows, arguments, cached):
    out = smoke_run("plan", *arguments)
    assert [row[1] for row in rows(out)] == [cached] * 6
    if cached == "yes":
        assert out.endswith("Everything is in the store: nothing will be computed.\n")
    else:
        assert rows(out)[1][3] == "an earlier stage of the same kind"
        assert "To do: 6 of 6 stages, about" in out


def test_until_detection(smoke_run, records, rows, refused, bench, copied, tmp_path):
    """No second training is planned or made; its page, its submission and a run to the end take it from there."""
    until = ("--until", "detection")
    assert [row[1] for row in rows(smoke_run("plan", *until))] == ["yes"] * 4
    out = smoke_run("plan", "--seed", "3", *until)
    assert "To do: 4 of 4 stages, about" in out
    out = smoke_run("run", *until)
    assert out.count("(from the store)") == 4
    printed, cells = dict(row[:2] for row in rows(out)), record.load(records()[0])["metrics"]["detection"]
    assert printed["removed"] == str(cells["removed"])
    assert printed["precision"] == f"{cells['precision']:.1f} %"
    (kept,) = records()
    assert bench("report", kept, "--store", copied, "--count", "2").startswith("Report: ")
    page = kept.with_suffix(".html").read_text()
    for said in ("The run ended with this verdict", "Second training: there is none", "--until detection"):
        assert said in page
    assert bench("submit", kept, "--store", copied).startswith("Submission: ")
    bench("verify", kept.with_suffix(".zip"), "--into", tmp_path)
    assert smoke_run("run").count("(from the store)") == 6
    assert len(records()) == 2
    assert "until is 'detektion'; expected one of detection, end. Did you mean" in refused(
        "run", "--preset", "smoke", "--until", "detektion"
    )
    said = refused("run", "--preset", "smoke", "--defense", "poisoncam+icutmix", *until)
    assert "leave out icutmix, or run until end" in said


def test_files_that_cannot_be_read_are_named(console, capsys):
    data = type("Data", (), {"skipped": tuple(f"{i}.png" for i in range(7))})()
    common.warn_of_skipped(data)
    names = "0.png, 1.png, 2.png, 3.png, 4.png ..."
    assert capsys.readouterr().err == f"bench: 7 files cannot be read and are left out: {names}\n"


def test_a_user_without_a_home_folder_names_a_store(smoke_run, refused, monkeypatch, tmp_path):
    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "BENCH_STORE", "BENCH_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert "poisoncam removed" in smoke_run("run")
    assert "random removed" in smoke_run("run", "--defense", "random")
    assert list(tmp_path.glob("~*")) == []
    assert "there is no home folder to keep the store in: name a folder with --store" in refused("store", "list")


def test_a_record_names_the_threat_model_that_was_imported(smoke_run, bench, smoke, copied, tmp_path):
    """And `bench report` finds its stages without the file."""
    file = tmp_path / "threat.safetensors"
    file.write_bytes((smoke[0].folder(smoke[0].threat) / "encoder.safetensors").read_bytes())
    smoke_run("run", "--defense", "none", "--threat-checkpoint", file, "--record", tmp_path / "r.json")
    asked = json.loads((tmp_path / "r.json").read_text())["run"]["asked"]
    assert asked["threat_checkpoint"]["checkpoint"] == file.name
    file.unlink()
    assert bench("report", tmp_path / "r.json", "--store", copied, "--count", "2").startswith("Report: ")
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")


def test_several_seeds_end_in_their_means(workshop, bench, refused, rows, copied, tmp_path):
    """Both of a store where their stages lie: nothing is trained."""
    where = ("run", "--preset", "smoke", "--store", copied, "--until", "detection", "--defense", "colour")
    out = bench(*where, "--seeds", "0-1", "--record", tmp_path / "all")
    files = sorted((tmp_path / "all").glob("*.json"))
    one, other = (record.load(file)["metrics"]["detection"]["average_precision"] for file in files)
    assert out.count("\n  Record: ") == 2
    assert "mean over 2 seeds ± half of its 95 % interval" in out
    printed = {row[0]: row[1:] for row in rows(out)}
    half = 12.706 * abs(one - other) / 2  # t(0.975) of one degree of freedom, times the standard error of two values
    mean, interval = map(float, printed["AP"][0].split(" ± "))
    assert (mean, interval) == (pytest.approx((one + other) / 2, abs=0.051), pytest.approx(half, abs=0.06))
    bench(*where, "--seed", "0", "--record", tmp_path / "new")  # without .json it is a folder, in which nothing is lost
    bench(*where, "--seed", "1", "--record", tmp_path / "new")
    assert [file.name for file in sorted((tmp_path / "new").iterdir())] == [file.name for file in files]
    assert "--seed 1 and --seeds: give one of them" in refused(*where, "--seeds", "0-1", "--seed", "1")
    assert "name a folder for them" in refused(*where, "--seeds", "0-1", "--record", tmp_path / "r.json")
    for text in ("1-0", "0-1-2", "a", "-1", "0-5000", "0,0-1"):
        assert "--seeds" in refused(*where, "--seeds", text)


FAULTY = """
import sys
from dataclasses import dataclass
from typing import ClassVar
import torch
from bench import Attack, Defense, hookimpl

@dataclass(frozen=True, kw_only=True)
class Faulty(Defense):
    \"\"\"Fails.\"\"\"
    name: ClassVar[str] = "faulty"

    def clean(self, view):
        return self.inner(torch.zeros(2, 3))

    def inner(self, x):
        return torch.nn.Linear(4, 1)(x)

@dataclass(frozen=True, kw_only=True)
class Leaving(Faulty):
    \"\"\"Ends the process.\"\"\"
    name: ClassVar[str] = "leaving"

    def __post_init__(self):
        if "--seed" in sys.argv:
            sys.exit(3)

    def clean(self, view):
        sys.exit(4)

@hookimpl
def bench_defenses():
    return [Faulty, Leaving]
"""


@pytest.mark.parametrize("debug", [["--debug"], []])
def test_an_error_of_a_plugin_is_shown_by_its_own_lines(refused, copied, tmp_path, debug):
    (tmp_path / "faulty.py").write_text(FAULTY)
    where = ("run", "--preset", "smoke", "--store", copied, "--plugin", tmp_path / "faulty.py", *debug)
    said = refused(*where, "--defense", "faulty", midway=True)
    assert "RuntimeError: mat1 and mat2 shapes cannot be multiplied" in said
    lines = said.splitlines()
    places = [line.split(", ")[-1] for line in lines if line.startswith('  File "')]
    assert places == ["in clean", "in inner"]
    assert any(line.startswith("  ... ") and line.endswith(" of torch") for line in lines)
    assert "of bench" not in said
    assert "sys.exit(4)" in refused(*where, "--defense", "leaving", midway=True)
    assert "sys.exit(3) was called" in refused(*where, "--defense", "leaving", "--seed", "0", midway=True)


def test_a_record_of_a_file_of_ones_own_can_be_sent_in(bench, copied, tmp_path):
    text = FAULTY.replace("return self.inner(torch.zeros(2, 3))", "return Verdict(keep=np.arange(len(view)) > 3)")
    (tmp_path / "mine.py").write_text(
        text.replace("import torch", "import numpy as np\nimport torch\nfrom bench import Verdict")
    )
    plugin = ("--plugin", tmp_path / "mine.py", "--store", copied)
    run = ("run", "--preset", "smoke", "--defense", "faulty", "--until", "detection")
    bench(*run, *plugin, "--record", tmp_path / "r.json")
    assert bench("submit", tmp_path / "r.json", *plugin).startswith("Submission: ")
    bench("verify", tmp_path / "r.zip", "--into", tmp_path / "in")
    (kept,) = (tmp_path / "in").glob("*.json")
    assert record.load(kept)["plugins"][0]["url"] == "https://arxiv.org/abs/2105.10123"
