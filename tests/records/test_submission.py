"""Sending a run in, and what is made of it: `bench submit`, `bench verify`."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from rich.console import Console

from bench.cli import common, main as cli
from bench.cli.submit import submit
from bench.cli.verify import record_name
from bench.errors import BenchError
from bench.records import record, submission
from bench.records.build import build_record
from bench.records.safe_zip import array_bytes, pack


@pytest.fixture
def bench(monkeypatch, capsys):
    """bench(*arguments) -> what it prints; a BenchError goes through."""
    monkeypatch.setattr(common, "out", Console(width=250))

    def run(*arguments):
        cli.app([str(each) for each in arguments], standalone_mode=False)
        return capsys.readouterr().out

    return run


@pytest.fixture(scope="module")
def run(smoke, tmp_path_factory):
    """The record of the preset `smoke`, in a file."""
    path = tmp_path_factory.mktemp("run") / "r.json"
    record.save(path, build_record(smoke[0]))
    return path


@pytest.fixture(scope="module")
def sent(smoke, run):
    """Its submission, made once by the command."""
    path = run.with_name("sent.zip")
    submit(run, output=path, store=smoke[0].store.root)
    return path


def members(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.fixture
def forged(sent, tmp_path):
    """forged(parts, change=...) -> a submission with other members, its record changed, whose about.json fits them,
    as a forger would make it; a member None is left out. With sealed=False about.json stays as it is given."""

    def make(parts=None, change=None, *, sealed=True):
        parts = {**members(sent), **(parts or {})}
        if change:
            whole = json.loads(parts["record.json"])
            change(whole)
            parts["record.json"] = json.dumps(whole).encode()
        parts = {name: data for name, data in parts.items() if data is not None}
        if sealed:
            digests = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items() if name != "about.json"}
            parts["about.json"] = json.dumps({"format": 1, "members": digests}).encode()
        path = tmp_path / "forged.zip"
        path.write_bytes(pack(parts))
        return path

    return make


def test_a_run_is_submitted_verified_kept_and_shown(run, sent, bench, tmp_path):
    assert sent.stat().st_size < 2**16
    names = {"about.json", "record.json", "classes.json", "train.jsonl", "train_labels.npy", "val_labels.npy"}
    names |= {f"{who}.{what}.npy" for who in ("none", "defended") for what in ("clean", "trigger0")}
    assert members(sent).keys() == names | {f"{name}.npy" for name in ("keep", "score", "trigger_score", "boxes")}
    said = bench("verify", sent, "--into", tmp_path / "records")
    for text in (f"{sent}: ", "numbers computed again, all agree", "Not checked: times"):
        assert text in said
    (kept,) = (tmp_path / "records").iterdir()
    assert kept.name.startswith("submitted-scenes-htba-poisoncam-seed0-")
    found, mine = record.load(kept), record.load(run)
    assert (found["status"], found["metrics"]) == ("submitted", mine["metrics"])
    assert found["submission"]["sha256"] == submission.read(sent).sha256
    board = tmp_path / "README.md"
    bench("leaderboard", tmp_path / "records", "-o", board)
    assert f"[r1]: records/{kept.name}\n" in board.read_text()
    assert "Every line is submitted." in (tmp_path / "README.md").read_text()
    with pytest.raises(BenchError, match="is there already; a record is never written over"):
        bench("verify", sent, "--into", tmp_path / "records")


def test_the_same_run_gives_the_same_bytes_beside_the_record(smoke, run, sent, bench, tmp_path):
    mine = tmp_path / "mine.json"
    mine.write_bytes(run.read_bytes())
    assert bench("submit", mine, "--store", smoke[0].store.root) == f"Submission: {tmp_path / 'mine.zip'}\n"
    assert (tmp_path / "mine.zip").read_bytes() == sent.read_bytes()


MINE = """
from dataclasses import dataclass
import numpy as np
from bench import Defense, Verdict, hookimpl

@dataclass(frozen=True, kw_only=True)
class Mine(Defense):
    "Keeps every image."
    name = "mine"
    needs = frozenset()

    def clean(self, view):
        return Verdict(keep=np.ones(len(view), bool))

@hookimpl
def bench_defenses():
    return [Mine]
"""


def test_a_run_of_a_plugin_file_is_submitted_with_that_file(copied, bench, tmp_path):
    mine, run = tmp_path / "mine.py", tmp_path / "r.json"
    mine.write_text(MINE)
    plugin = ("--plugin", mine, "--store", copied)
    bench("run", "--preset", "smoke", "--defense", "mine", "--record", run, *plugin)
    with pytest.raises(BenchError, match="mine"):
        bench("submit", run, "--store", copied)
    bench("submit", run, *plugin)
    assert "all agree" in bench("verify", tmp_path / "r.zip")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda found: found["metrics"]["defended"]["poisoned"].update(asr=0.0),
            r"does not say what its stages give:\n.*metrics\.defended\.poisoned\.asr is 0",
        ),
        (lambda found: found["run"].pop("asked"), "does not say which command made it"),
        (lambda found: found["dataset"].update(fingerprint="0" * 64), "the dataset 'scenes' has changed since"),
    ],
)
def test_a_record_that_is_not_packed(smoke, run, bench, tmp_path, change, said):
    found = record.load(run)
    change(found)
    record.save(tmp_path / "r.json", found)
    with pytest.raises(BenchError, match=said):
        bench("submit", tmp_path / "r.json", "--store", smoke[0].store.root)
    assert not (tmp_path / "r.zip").exists()


def test_a_record_whose_stages_are_elsewhere(run, bench, tmp_path):
    with pytest.raises(BenchError, match=r"its stage 'poison' is not in the store .*; name the --store"):
        bench("submit", run, "--store", tmp_path)


def test_a_better_number_is_refused_with_the_reason_and_exit_code_2(forged, tmp_path, monkeypatch, capsys):
    def better(whole):
        whole["metrics"]["defended"]["clean"]["acc"] = 99.0
        whole["metrics"]["detection"]["recall"] = 12.5

    path = forged(change=better)
    monkeypatch.setattr("sys.argv", ["bench", "verify", str(path), "--into", str(tmp_path / "in")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    faults = ("metrics.defended.clean.acc is 99.0", "metrics.detection.recall is 12.5")
    for text in (f"{path} is refused:", *(f"{fault}; the evidence gives" for fault in faults)):
        assert text in said
    assert not (tmp_path / "in").exists()


def about(value):
    return {"about.json": json.dumps(value).encode()}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"../../etc/passwd": b"x"}, r"'\.\./\.\./etc/passwd' has no place in the submission"),
        ({"run.py": b"x"}, r"'run\.py' has no place in the submission"),
        ({"none.trigger1.npy": b"x"}, r"'none\.trigger1\.npy' has no place in the submission"),
        ({"\x1b[2J": b"x"}, r"'\\x1b\[2J' has no place in the submission"),
        *[
            ({name: None}, rf"{name}'? is missing")
            for name in ("record.json", "classes.json", "train.jsonl", "keep.npy", "none.clean.npy")
        ],
        ({"keep.npy": array_bytes(np.ones(159, bool), "|b1")}, r"keep\.npy is .*; expected bool \(160,\)"),
        ({"keep.npy": array_bytes(np.ones(160), "<f4")}, r"keep\.npy is .*; expected bool \(160,\)"),
    ],
)
def test_a_member_that_is_refused(forged, parts, said):
    with pytest.raises(BenchError, match=said):
        submission.read(forged(parts))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"train.jsonl": b""}, r"train\.jsonl was changed after it was packed"),
        ({"more": b""}, r"its files and the list in about\.json differ: \['more'\]"),
        (about({}), "is not of format 1"),
        (about([]), "is not of format 1"),
        (about({"format": 2, "members": {}}), "is not of format 1"),
        (about({"format": 1, "members": []}), "its files and the list"),
    ],
)
def test_a_member_that_was_changed_without_sealing_it_again(forged, parts, said):
    with pytest.raises(BenchError, match=said):
        submission.read(forged(parts, sealed=False))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda whole: whole["dataset"]["counts"].update(train=10**12), "its arrays would take more than 512 MiB"),
        (lambda whole: whole["metrics"]["none"].pop("per_trigger"), "is not one entry for each target"),
        (lambda whole: whole["versions"].update({"\x1b[2J\u202e": 1}), "versions"),
    ],
)
def test_a_record_that_is_refused(forged, change, said):
    """No memory is reserved for a world of images; nothing in an error can speak to a terminal."""
    with pytest.raises(BenchError, match=said) as caught:
        submission.read(forged(change=change))
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "name", ["../../up", "/etc/x", "..", "a b\n\x00", "<b>", "CON:", "x" * 200, "größe"]
)  # fmt: skip
def test_the_file_a_record_is_kept_in_is_named_plainly(name):
    whole = {"dataset": {"name": name}, "run": {"attack": name, "defense": name, "seed": 0}}
    found = record_name({**whole, "submission": {"sha256": "ab" * 32}})
    assert re.fullmatch(r"submitted-[A-Za-z0-9_+-]+-seed0-ababababab\.json", found)
    assert len(found) < 200


def test_names_in_a_submission_stay_text_in_every_table(forged, tmp_path, bench):
    def rename(whole):
        whole["run"]["defense"] = whole["config"]["defense"]["name"] = "<script>alert(1)</script>|\n=1+1 \\input{x}"

    bench("verify", forged(change=rename), "--into", tmp_path / "in")
    for form in ("markdown", "csv", "latex"):
        said = bench("leaderboard", tmp_path / "in", "--format", form)
        assert form == "csv" or not re.search(r"<script>|\\input\{", said)
        assert "\n=1" not in said


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_file_with_any_byte_changed_is_refused_or_says_the_same(sent, data):
    whole = bytearray(sent.read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    try:
        found = submission.from_bytes(bytes(whole))
    except BenchError:
        return
    again = submission.from_bytes(sent.read_bytes())
    assert found.record == again.record
    assert submission.to_bytes(found.record, found.evidence) == submission.to_bytes(again.record, again.evidence)


def test_a_cut_file(sent):
    whole = sent.read_bytes()
    for end in range(0, len(whole), 97):
        with pytest.raises(BenchError):
            submission.from_bytes(whole[:end])
