"""What commands are given from outside: names that no system takes, pipes, closed streams, links. Each is one
sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

LONG = "a" * 300
FILES = {
    "run": ["run", "--preset", "smoke", "--threat-checkpoint"],
    "preset": ["plan", "--preset"],
    "plugin": ["plan", "--plugin"],
    "trigger": ["plan", "--preset", "smoke", "--set"],
    "record": ["run", "--preset", "smoke", "--record"],
    "tensorboard": ["run", "--preset", "smoke", "--tensorboard"],
    "store": ["plan", "--preset", "smoke", "--store"],
    "matrix": ["matrix"],
    "report": ["report"],
    "compare": ["compare", "x"],
    "leaderboard": ["leaderboard"],
    "leaderboard -o": ["leaderboard", "--output"],
    "submit": ["submit"],
    "verify": ["verify"],
    "verify --into": ["verify", "x", "--into"],
    "scan": ["scan"],
    "scan -o": ["scan", ".", "--output"],
    "study": ["study", "window", "--output"],
    "new": ["new", "defense", "one-more", "--directory"],
    "prune": ["store", "prune", "--run"],
}
"""Commands, each but for a path at its end."""
ENDINGS = {"preset": ".toml", "plugin": ".py"}
READERS = [each for each in FILES if each not in ("record", "tensorboard", "store", "new", "study") and " " not in each]


def given(name, path):
    return [*FILES[name], f"attack.trigger={path}" if name == "trigger" else f"{path}{ENDINGS.get(name, '')}"]


@pytest.mark.parametrize("name", FILES)
def test_a_name_that_is_too_long_is_one_sentence(refused, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.png").write_bytes(b"x")
    said = refused(*given(name, LONG))
    assert LONG in said.replace("\n", "")
    assert [each.name for each in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_that_nobody_writes_to_is_not_waited_for(refused, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / f"pipe{ENDINGS.get(name, '')}")
    refused(*given(name, "scan/pipe" if name == "scan" else "pipe"))


@pytest.mark.parametrize("name", ["record", "tensorboard", "store", "leaderboard -o", "study", "scan -o", "new"])
@pytest.mark.parametrize("target", ["nowhere", "link"], ids=["leads nowhere", "in a circle"])
def test_a_link_is_refused_before_the_work(refused, tmp_path, monkeypatch, name, target):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(target)
    inner = "link/board.md" if name == "leaderboard -o" else "link"
    assert "link" in refused(*given(name, inner))
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
@pytest.mark.parametrize(("arguments", "code"), [(["list", "defense"], 0), (["list", "nope"], 2)], ids=["", "wrong"])
def test_closed_streams_end_no_command(closed, arguments, code):
    command = f"import os\nfor each in {closed}: os.close(each)\n"
    command += f"os.execv({sys.executable!r}, {[sys.executable, '-m', 'bench', *arguments]!r})"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert bool(done.stdout) == (code == 0 and 1 not in closed)


@pytest.mark.parametrize("width", ["0", "00", "", "-3", "x"])
def test_a_terminal_of_no_width(width):
    command = [sys.executable, "-m", "bench", "list", "defense"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": width})
    assert (done.returncode, "poisoncam" in done.stdout) == (0, True)


def test_a_working_folder_that_is_gone_is_said(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    command = f"import os\nos.rmdir({str(folder)!r})\n"
    command += f"os.execv({sys.executable!r}, {[sys.executable, '-m', 'bench', 'list']!r})"
    done = subprocess.run([sys.executable, "-c", command], cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "bench: the working folder was deleted: change to another one\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "--preset", "smoke", "--seed", "9" * 30], "seed must be a whole number, 0 to 9223372036854775807"),
        (["plan", "--preset", "smoke", "--set", "train.epochs=true"], "option 'epochs': expected int, got True"),
        (["plan", "--preset", "smoke", "--set", "train.epochs=2\nx = 3"], "'epochs': expected int, got '2"),
        (["plan", "--preset", "smoke", "--set", "train.lr=1e400"], "train.lr is inf; expected a finite number"),
        (["plan", "--preset", "smoke", "--accelerator", "tpu"], "cannot train on accelerator 'tpu'"),
        (["plan", "--preset", "smoke", "--set", f"seed=0x{'f' * 6000}"], "seed must be a whole number"),
        (["plan", "--preset", "smoke", "--set", f"defense.masks=0x{'f' * 6000}"], "option 'masks': expected int"),
        (["plan", "--preset", "smoke", "--set", f"attack.target={'9' * 6000}"], "there is no class"),
        (["plan", "--preset", "smoke", "--defense", ""], "unknown defense ''"),
        (["run", "--preset", "smoke", "--set", "seed=3", "--seeds", "0-4"], "'seed=3' and a seed of 0: give one"),
        (["report", "."], "is a folder; expected a record"),
        (["submit", "."], "is a folder; expected a record"),
        (["leaderboard", "--output", "x.csv"], "--output x.csv with --format markdown: add --format csv"),
        (["leaderboard", "--output", "x.md", "--details", "y", "--only", "z"], "the pages of --details are of all"),
        (["scan", "", "--quick"], "'' is no path; expected a folder of images"),
        (["run", "--preset", "smoke", "--record", ""], "'' is no path of a file or folder to write"),
        (["store", "prune", "--max-gib", "inf"], "--max-gib inf: expected a number"),
        (["store", "prune", "--stage", "nope"], "--stage nope: there is no such stage. Known: clean, control"),
        (["list", "--preset", "nope"], "--preset nope is of one plugin: name it"),
        (["new", "defense", "a" * 65], "at most 64 small letters"),
    ],
)
def test_what_no_run_could_use_is_refused_where_it_is_given(refused, arguments, said):
    assert said in refused(*arguments)


PLUGIN = """
from dataclasses import dataclass, field
from typing import ClassVar
from bench import Defense, Verdict, hookimpl

class Odd(BaseException):
    pass

class Named(type):
    @property
    def __name__(cls):
        raise ZeroDivisionError

class Nameless(Exception, metaclass=Named):
    def __str__(self):
        raise ZeroDivisionError

def fail(error):
    raise error

class Shy:
    def __repr__(self):
        raise ValueError("no")

{before}

@dataclass(frozen=True, kw_only=True)
class Mine(Defense):
    \"\"\"{doc}\"\"\"
    name: ClassVar[str] = "mine"
    {inside}

    def clean(self, view):
        raise NotImplementedError

@hookimpl
def bench_defenses():
    return [Mine]
"""


@pytest.mark.parametrize(
    ("before", "inside", "said"),
    [
        ("fail(Odd())", "", "Odd"),
        ("fail(GeneratorExit())", "", "GeneratorExit"),
        ("fail(Nameless())", "", "Nameless"),
        ("", "def __post_init__(self): fail(Odd('hm'))", "a plugin raised Odd: hm; expected an Exception"),
        ("", "def __post_init__(self): fail(OSError('hm'))", "its own check failed: OSError: hm"),
        ("", "def __post_init__(self): fail(Nameless())", "its own check failed: Nameless"),
        ("", "def identity(self): return 5", "identity() of 'mine' gives no names and values: TypeError"),
        ("", "def identity(self): fail(KeyError('hm'))", "identity() of 'mine' gives no names and values: KeyError"),
        ("", "def in_force(self, count, size): return 7", "in_force() of 'mine' gives no options"),
        ("", "needs: ClassVar = 5", "its needs is 5, expected a frozenset of names"),
        ("", "variant_of: ClassVar = ['a']", "its variant_of is ['a'], expected a text"),
        ("", "x: 'nonsense type ((' = 1", "the types of its options cannot be checked"),
        ("", "x: object = field(default_factory=Shy)", "cannot be made and shown: ValueError: no"),
        ("", "__doc__ = 5", "its __doc__ is 5, expected a text"),
    ],
)
def test_what_is_odd_about_a_plugin_is_said(refused, tmp_path, before, inside, said):
    (tmp_path / "mine.py").write_text(PLUGIN.format(before=before, inside=inside, doc="Mine."))
    arguments = ["--preset", "smoke", "--store", tmp_path / "s", "--defense", "mine", "--plugin", tmp_path / "mine.py"]
    assert said in refused("plan", *arguments)


@pytest.mark.parametrize("doc", [" ", "\\n \\n"])
def test_a_plugin_without_words_is_listed(bench, tmp_path, doc):
    (tmp_path / "mine.py").write_text(PLUGIN.format(before="", inside="", doc=doc))
    for arguments in (["list"], ["list", "defense"], ["list", "defense", "mine"]):
        assert "mine" in bench(*arguments, "--plugin", tmp_path / "mine.py")


@pytest.mark.parametrize("name", ["WORLD_SIZE", "LOCAL_WORLD_SIZE"])
def test_variables_of_torchrun_that_are_no_numbers(refused, monkeypatch, name):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "q")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv(name, "x")
    assert "hold no numbers of processes" in refused("run", "--preset", "smoke")


def test_a_line_of_an_error_is_never_longer_than_a_page(refused):
    said = refused("plan", "--preset", "smoke", "--set", "x" * 100_000)
    assert "xxx ... xxx" in said
    assert len(said) < 3000


@pytest.mark.parametrize("content", [b"", b"PK", b"hello"], ids=["empty", "cut", "text"])
def test_a_plan_refuses_the_checkpoint_that_a_run_would(refused, tmp_path, content):
    (tmp_path / "encoder.pt").write_bytes(content)
    arguments = ["--preset", "smoke", "--store", tmp_path / "s", "--threat-checkpoint", tmp_path / "encoder.pt"]
    assert refused("plan", *arguments).startswith("bench: --threat-checkpoint")


def test_a_dry_run_needs_a_store_that_can_be_written(refused, tmp_path):
    (tmp_path / "m.toml").write_text('preset = "smoke"\nattacks = ["htba"]\ndefenses = ["none"]\n')
    (tmp_path / "file").write_text("x")
    said = refused("matrix", tmp_path / "m.toml", "--dry-run", "--store", tmp_path / "file" / "store")
    assert "is no folder" in said


def test_a_damaged_record_is_made_again_and_one_of_a_newer_version_stays(smoke_run, console, refused, copied):
    smoke_run("run")
    (file,) = (copied / "records").glob("*.json")
    good = json.loads(file.read_text())
    for damage in (b"", b"{", b"[]", file.read_bytes()[:-100]):
        file.write_bytes(damage)
        code, _, warned = console("run", "--preset", "smoke", "--store", copied)
        assert (code, "a damaged record is written again" in " ".join(warned.split())) == (0, True)
        assert json.loads(file.read_text())["metrics"] == good["metrics"]
    newer = json.dumps({**good, "schema_version": 99})
    file.write_text(newer)
    assert "schema_version: 99" in refused("run", "--preset", "smoke", "--store", copied, midway=True)
    assert file.read_text() == newer


def test_a_picture_that_cannot_be_written_leaves_the_old_one(smoke_run, refused, copied, tmp_path, monkeypatch):
    smoke_run("run", "--defense", "poisoncam")
    (file,) = (copied / "records").glob("*.json")
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bench.store.files.sync", full)
    assert "disk (or quota) is full" in refused("report", file, "--store", copied, "--output", picture)
    assert (picture.read_bytes(), [each.name for each in tmp_path.iterdir() if "picture" in each.name]) == (
        b"old",
        ["picture.png"],
    )
