"""The command line: exit codes, one clear line for every mistake, and nothing heavy before it is needed."""

from __future__ import annotations

import errno
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from bench.cli import main as cli
from bench.data.manifest import Manifest
from bench.errors import BenchError


@pytest.fixture
def smoke_run(console, copied):
    """`bench run --preset smoke`, changed, in a store where its stages lie."""
    return lambda *arguments: console("run", "--preset", "smoke", "--store", copied, *arguments)


def light(*arguments):
    """Which heavy libraries a command has loaded when it ends."""
    heavy = ("torch", "torchvision", "timm", "faiss", "sklearn", "pandas", "matplotlib", "lightning_fabric")
    code = (
        f"import sys; sys.argv = {['bench', *arguments]!r}\n"
        "from bench.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    code = stop.code\n"
        f"print(); print('LOADED', code or 0, *(name for name in {heavy!r} if name in sys.modules))"
    )
    told = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return told.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["list", "presets"], ["list", "defense"], ["store", "list"], ["study"]]
)
def test_housekeeping_loads_nothing_heavy(arguments):
    assert light(*arguments) == "LOADED 0"


def test_help_shows_the_commands_in_panels(console):
    code, out, _ = console("--help")
    assert code == 0
    for panel, commands in cli.PANELS.items():
        shown = out[out.index(f"─ {panel} ─") :].partition("╰")[0]
        assert [line.split()[1] for line in shown.splitlines()[1:] if line[2:3].strip()] == list(commands)
    assert "--install-completion" in out


def test_version(console):
    assert console("--version") == (0, "bench 0.1.0\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rum"], "No such command 'rum'"),
        (["run", "--atack", "htba"], "--atack"),
        (["run", "--devices", "0"], "--devices"),
        (["run", "--seed", "many"], "--seed"),
    ],
)
def test_usage_errors_end_with_2_and_no_traceback(console, arguments, said):
    code, _, err = console(*arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


def test_no_command_shows_the_help(console):
    code, out, err = console()
    assert code in (0, 2)  # as older and newer versions of typer have it
    assert "Usage" in out + err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--attack", "htbaa"], "unknown attack 'htbaa'. Did you mean 'htba'?"),
        (["--set", "attack.target=no such"], "there is no class 'no such'."),
        (["--set", "attack.rate=0"], "rate is 0.0, expected a share of the target class above 0 and up to 1"),
        (["--set", "attack.trigger_size=40"], "a trigger of 40 px is larger than the images (32 px)"),
        (["--set", "train.batch=161"], "160 training images are fewer than one batch of 161"),
        (["--set", "encoder.backbone=resnt18"], "unknown timm backbone 'resnt18'. Did you mean"),
        (["--set", "defense.clusters=161"], "161"),
        (["--set", "nonsense"], "--set 'nonsense' cannot be read"),
        (["--dataset", "folder", "--set", "dataset.root=no/such/place"], "no/such/place"),
        (["--accelerator", "bogus", "--seed", "1"], "accelerator 'bogus'"),
    ],
)
def test_bad_input_ends_with_2_and_one_clear_message(smoke_run, arguments, said):
    code, out, err = smoke_run(*arguments)
    assert code == 2
    assert err.startswith("bench: ")
    assert said in err
    assert "Traceback" not in out + err
    assert err.count("\n") == 1


def test_a_read_only_store(console, tmp_path, monkeypatch):
    """A folder's mode does not bind root, as whom tests may run: the system's answer is played."""

    def refuse(self, data):
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    code, _, err = console("run", "--preset", "smoke", "--store", tmp_path / "store")
    assert code == 2
    assert err.count("\n") == 1
    assert "it lies on a read-only file system: choose a folder that can be written" in err


def test_a_full_disk_in_the_middle_of_a_run(console, tmp_path, monkeypatch):
    def fill_up(manifest):
        yield from itertools.islice(lines(manifest), 3)
        raise OSError(errno.ENOSPC, "No space left on device")

    lines = Manifest.lines
    monkeypatch.setattr(Manifest, "lines", fill_up)
    code, _, err = console("run", "--preset", "smoke", "--store", tmp_path)
    assert code == 2
    assert err.count("\n") == 1
    assert "the disk (or quota) is full" in err
    assert not list(tmp_path.rglob("*.jsonl*"))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, typer.Abort])
def test_ctrl_c_ends_with_130_and_says_that_nothing_is_lost(console, monkeypatch, stop):
    def interrupted(*_):
        raise stop

    monkeypatch.setattr("bench.cli.list._presets", interrupted)
    code, _, err = console("list", "presets")
    assert code == 130
    assert err == "\nbench: stopped. The same command resumes here.\n"


def test_a_bug_is_not_hidden(console, monkeypatch):
    def buggy(*_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("bench.cli.list._presets", buggy)
    with pytest.raises(ZeroDivisionError):
        console("list", "presets")


def test_guarded_passes_codes_on(capsys):
    def fails():
        raise BenchError("what to mend")

    def exits():
        raise typer.Exit(7)

    assert [cli.guarded(lambda: None), cli.guarded(lambda: 3), cli.guarded(exits), cli.guarded(fails)] == [0, 3, 7, 2]
    assert capsys.readouterr().err == "bench: what to mend\n"


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_threat_checkpoint_that_is_not_there(console, tmp_path, command):
    code, _, err = console(command, "--preset", "smoke", "--store", tmp_path, "--threat-checkpoint", "no/such.pth")
    assert code == 2
    assert err.startswith("bench: --threat-checkpoint no/such.pth: No such file or directory")
    assert err.count("\n") == 1


def test_a_threat_checkpoint_that_does_not_fit_ends_with_2_and_names_the_keys(smoke_run, tmp_path):
    import torch

    torch.save({"conv9.weight": torch.zeros(1)}, tmp_path / "c.pth")
    code, _, err = smoke_run("--threat-checkpoint", tmp_path / "c.pth")
    assert code == 2
    assert "missing in the file" in err
    assert "not in the encoder (1): conv9.weight" in err
    assert "Traceback" not in err


def test_a_report_of_a_run_and_of_what_is_none(smoke_run, console, copied, tmp_path):
    assert smoke_run("--defense", "none", "--record", tmp_path / "run.json")[0] == 0
    code, said, _ = console("report", tmp_path / "run.json", "--store", copied, "--count", "2")
    assert code == 0
    assert said.startswith("Report: ")
    assert (tmp_path / "run.html").read_text().startswith("<!doctype html>")
    code, _, err = console("report", tmp_path / "missing.json", "--store", copied)
    assert code == 2
    assert "missing.json" in err
    assert err.count("\n") == 1
