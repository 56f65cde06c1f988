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


def sealed(tmp_path, parts):
    """A file of these members whose about.json fits them, as a forger would make it."""
    parts = {name: data for name, data in parts.items() if name != "about.json"}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
    about = json.dumps({"format": 1, "members": digests}).encode()
    path = tmp_path / "forged.zip"
    path.write_bytes(pack({**parts, "about.json": about}))
    return path


def forged(tmp_path, sent, change):
    parts = members(sent)
    whole = json.loads(parts["record.json"])
    change(whole)
    return sealed(tmp_path, {**parts, "record.json": json.dumps(whole).encode()})


# --- the way through --------------------------------------------------------------------------------------


def test_a_run_is_submitted_verified_kept_and_shown(smoke, run, sent, bench, tmp_path):
    assert sent.stat().st_size < 2**16
    said = bench("verify", sent, "--into", tmp_path / "records")
    assert f"{sent}: " in said
    assert "numbers computed again, all agree" in said
    assert "Not checked: times" in said
    (kept,) = (tmp_path / "records").iterdir()
    assert kept.name.startswith("submitted-scenes-htba-poisoncam-seed0-")
    found, mine = record.load(kept), record.load(run)
    assert found["status"] == "submitted"
    assert found["submission"]["sha256"] == submission.read(sent).sha256
    assert found["metrics"] == mine["metrics"]
    board = tmp_path / "README.md"
    bench("leaderboard", tmp_path / "records", "-o", board)
    assert f"[r1]: records/{kept.name}\n" in board.read_text()
    assert board.read_text().count("| submitted |") == 4
    with pytest.raises(BenchError, match="is there already; a record is never written over"):
        bench("verify", sent, "--into", tmp_path / "records")


def test_the_same_run_gives_the_same_bytes(smoke, run, sent, bench, tmp_path):
    out = bench("submit", run, "--store", smoke[0].store.root, "-o", tmp_path / "again.zip")
    assert out == f"Submission: {tmp_path / 'again.zip'}\n"
    assert (tmp_path / "again.zip").read_bytes() == sent.read_bytes()


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


def test_it_lies_beside_the_record(smoke, run, bench, tmp_path):
    mine = tmp_path / "mine.json"
    mine.write_bytes(run.read_bytes())
    bench("submit", mine, "--store", smoke[0].store.root)
    assert (tmp_path / "mine.zip").is_file()


def test_what_is_in_it(sent):
    names = {"about.json", "record.json", "classes.json", "train.jsonl", "train_labels.npy", "val_labels.npy"}
    names |= {f"{who}.{what}.npy" for who in ("none", "defended") for what in ("clean", "trigger0")}
    assert members(sent).keys() == names | {f"{name}.npy" for name in ("keep", "score", "trigger_score", "boxes")}


# --- what cannot be submitted -----------------------------------------------------------------------------


def test_a_record_that_was_changed_is_not_packed(smoke, run, bench, tmp_path):
    found = record.load(run)
    found["metrics"]["defended"]["poisoned"]["asr"] = 0.0
    record.save(tmp_path / "r.json", found)
    with pytest.raises(
        BenchError, match=r"does not say what its stages give:\n.*metrics\.defended\.poisoned\.asr is 0"
    ):
        bench("submit", tmp_path / "r.json", "--store", smoke[0].store.root)
    assert not (tmp_path / "r.zip").exists()


def test_a_record_whose_stages_are_elsewhere(run, bench, tmp_path):
    with pytest.raises(BenchError, match=r"its stage 'poison' is not in the store .*; name the --store"):
        bench("submit", run, "--store", tmp_path)


def test_a_record_that_does_not_say_how_it_was_asked_for(run, bench, tmp_path):
    found = record.load(run)
    del found["run"]["asked"]
    record.save(tmp_path / "r.json", found)
    with pytest.raises(BenchError, match="does not say which command made it"):
        bench("submit", tmp_path / "r.json", "--store", tmp_path)


def test_a_dataset_that_changed_since(smoke, run, bench, tmp_path):
    found = record.load(run)
    found["dataset"]["fingerprint"] = "0" * 64
    record.save(tmp_path / "r.json", found)
    with pytest.raises(BenchError, match="the dataset 'scenes' has changed since"):
        bench("submit", tmp_path / "r.json", "--store", smoke[0].store.root)


# --- what is refused --------------------------------------------------------------------------------------


def test_a_better_number_is_refused_with_the_reason_and_exit_code_2(sent, tmp_path, monkeypatch, capsys):
    def better(whole):
        whole["metrics"]["defended"]["clean"]["acc"] = 99.0
        whole["metrics"]["detection"]["recall"] = 12.5

    path = forged(tmp_path, sent, better)
    monkeypatch.setattr("sys.argv", ["bench", "verify", str(path), "--into", str(tmp_path / "in")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert f"{path} is refused:" in said
    assert "metrics.defended.clean.acc is 99.0; the evidence gives" in said
    assert "metrics.detection.recall is 12.5; the evidence gives" in said
    assert not (tmp_path / "in").exists()


def test_a_member_that_was_changed_without_sealing_it_again(sent, tmp_path):
    """Whatever no metric reads (an id, a seed) is held by the digests."""
    parts = members(sent)
    parts["train.jsonl"] = parts["train.jsonl"].replace(b'"seed":', b'"seed":1', 1)
    path = tmp_path / "x.zip"
    path.write_bytes(pack(parts))
    with pytest.raises(BenchError, match=r"train\.jsonl was changed after it was packed"):
        submission.read(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../../etc/passwd", r"'\.\./\.\./etc/passwd' has no place in the submission"),
        ("run.py", r"'run\.py' has no place in the submission"),
        ("none.trigger1.npy", r"'none\.trigger1\.npy' has no place in the submission"),
        ("\x1b[2J", r"'\\x1b\[2J' has no place in the submission"),
    ],
)
def test_a_member_with_no_place_is_refused_and_written_nowhere(sent, tmp_path, name, said):
    with pytest.raises(BenchError, match=said):
        submission.read(sealed(tmp_path, {**members(sent), name: b"x"}))


@pytest.mark.parametrize("name", ["record.json", "classes.json", "train.jsonl", "keep.npy", "none.clean.npy"])
def test_a_member_that_is_missing(sent, tmp_path, name):
    parts = members(sent)
    del parts[name]
    with pytest.raises(BenchError, match=rf"{name}'? is missing"):
        submission.read(sealed(tmp_path, parts))


def test_members_that_the_list_does_not_name(sent, tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(pack({**members(sent), "more": b""}))
    with pytest.raises(BenchError, match=r"its files and the list in about\.json differ: \['more'\]"):
        submission.read(path)


@pytest.mark.parametrize("about", [{}, [], {"format": 2, "members": {}}, {"format": 1, "members": []}])
def test_an_about_that_is_none(sent, tmp_path, about):
    path = tmp_path / "x.zip"
    path.write_bytes(pack({**members(sent), "about.json": json.dumps(about).encode()}))
    with pytest.raises(BenchError, match=r"is not of format 1|its files and the list"):
        submission.read(path)


def test_arrays_of_another_form(sent, tmp_path):
    parts = members(sent)
    for array, dtype in ((np.ones(159, bool), "|b1"), (np.ones(160), "<f4")):
        with pytest.raises(BenchError, match=r"keep\.npy is .*; expected bool \(160,\)"):
            submission.read(sealed(tmp_path, {**parts, "keep.npy": array_bytes(array, dtype)}))


def test_a_record_that_claims_a_world_of_images_reserves_no_memory(sent, tmp_path):
    def huge(whole):
        whole["dataset"]["counts"]["train"] = 10**12

    with pytest.raises(BenchError, match="its arrays would take more than 512 MiB"):
        submission.read(forged(tmp_path, sent, huge))


def test_a_record_without_targets(sent, tmp_path):
    with pytest.raises(BenchError, match="is not one entry for each target"):
        submission.read(forged(tmp_path, sent, lambda whole: whole["metrics"]["none"].pop("per_trigger")))


def test_nothing_in_an_error_can_speak_to_a_terminal(sent, tmp_path):
    path = forged(tmp_path, sent, lambda whole: whole["versions"].update({"\x1b[2J\u202e": 1}))
    with pytest.raises(BenchError) as caught:
        submission.read(path)
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


def test_names_in_a_submission_stay_text_in_every_table(sent, tmp_path, bench):
    evil = "<script>alert(1)</script>|\n=1+1 \\input{x}"

    def rename(whole):
        whole["run"]["defense"] = whole["config"]["defense"]["name"] = evil

    bench("verify", forged(tmp_path, sent, rename), "--into", tmp_path / "in")
    for form in ("markdown", "csv", "latex"):
        said = bench("leaderboard", tmp_path / "in", "--format", form)
        assert "<script>" not in said or form == "csv"
        assert "\\input{" not in said or form == "csv"
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
