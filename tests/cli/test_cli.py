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
def bench(monkeypatch, capsys):
    """bench(*arguments) -> (exit code, standard output, standard error), through the console script's function."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capsys.readouterr()
        return stop.value.code or 0, said.out, said.err

    return run


@pytest.fixture
def smoke_run(bench, copied):
    """`bench run --preset smoke`, changed, in a store where its stages lie."""
    return lambda *arguments: bench("run", "--preset", "smoke", "--store", copied, *arguments)


def light(*arguments):
    """Which heavy libraries a command has loaded when it ends."""
    heavy = ("torch", "torchvision", "timm", "faiss", "sklearn", "pandas", "lightning_fabric", "PIL")
    code = (
        f"import sys; sys.argv = {['bench', *arguments]!r}\n"
        "from bench.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    code = stop.code\n"
        f"print(); print('LOADED', code or 0, *(name for name in {heavy!r} if name in sys.modules))"
    )
    told = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return told.stdout.splitlines()[-1]


def test_help_loads_nothing_heavy():
    assert light("--help") == "LOADED 0"
    assert light("run", "--help") == "LOADED 0"


def test_housekeeping_loads_nothing_heavy():
    assert light("list", "presets") == "LOADED 0"
    assert light("store", "list") == "LOADED 0"


def test_help_names_the_commands(bench):
    code, out, _ = bench("--help")
    assert code == 0
    for command in (
        "run",
        "plan",
        "list",
        "leaderboard",
        "matrix",
        "reproduce",
        "store",
    ):
        assert command in out


def test_version(bench):
    assert bench("--version") == (0, "bench 0.1.0\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rum"], "No such command 'rum'"),
        (["run", "--atack", "htba"], "--atack"),
        (["run", "--devices", "0"], "--devices"),
        (["run", "--seed", "many"], "--seed"),
    ],
)
def test_usage_errors_end_with_2_and_no_traceback(bench, arguments, said):
    code, _, err = bench(*arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


def test_no_command_shows_the_help(bench):
    code, out, err = bench()
    assert code in (0, 2)  # as older and newer versions of typer have it
    assert "Usage" in out + err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--attack", "htbaa"], "unknown attack 'htbaa'. Did you mean 'htba'?"),
        (["--defense", "poisoncan"], "unknown defense 'poisoncan'. Did you mean 'poisoncam'?"),
        (["--dataset", "scenez"], "unknown dataset 'scenez'. Did you mean 'scenes'?"),
        (["--ssl", "moco"], "unknown SSL method 'moco'. Did you mean 'moco_v3'?"),
        (["--set", "attack.target=no such"], "there is no class 'no such'."),
        (["--set", "attack.target=4"], "there is no class 4: 4 classes, so 0 to 3."),
        (["--set", "attack.rate=0"], "rate is 0.0, expected a share of the target class above 0 and up to 1"),
        (["--set", "attack.rate=1.5"], "rate is 1.5, expected a share of the target class above 0 and up to 1"),
        (["--set", "attack.trigger_size=40"], "a trigger of 40 px is larger than the images (32 px)"),
        (["--set", "train.batch=161"], "160 training images are fewer than one batch of 161"),
        (["--set", "encoder.backbone=resnt18"], "unknown timm backbone 'resnt18'. Did you mean"),
        (["--set", "defense.clusters=161"], "161"),
        (["--set", "nonsense"], "--set 'nonsense' cannot be read"),
        (["--dataset", "folder", "--set", "dataset.root=no/such/place"], "no/such/place"),
        (["--accelerator", "bogus", "--seed", "1"], "accelerator 'bogus'"),
        (["--preset", "smok"], "unknown preset 'smok'"),
    ],
)
def test_bad_input_ends_with_2_and_one_clear_message(smoke_run, arguments, said):
    code, out, err = smoke_run(*arguments)
    assert code == 2
    assert err.startswith("bench: ")
    assert said in err
    assert "Traceback" not in out + err
    assert err.count("\n") == 1


def test_a_read_only_store(bench, tmp_path, monkeypatch):
    """A folder's mode does not bind root, as whom tests may run: the system's answer is played."""

    def refuse(self, data):
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    code, _, err = bench("run", "--preset", "smoke", "--store", tmp_path / "store")
    assert code == 2
    assert err.count("\n") == 1
    assert "it lies on a read-only file system: choose a folder that can be written" in err


def test_a_full_disk_in_the_middle_of_a_run(bench, tmp_path, monkeypatch):
    def fill_up(manifest):
        yield from itertools.islice(lines(manifest), 3)
        raise OSError(errno.ENOSPC, "No space left on device")

    lines = Manifest.lines
    monkeypatch.setattr(Manifest, "lines", fill_up)
    code, _, err = bench("run", "--preset", "smoke", "--store", tmp_path)
    assert code == 2
    assert err.count("\n") == 1
    assert "the disk (or quota) is full" in err
    assert not list(tmp_path.rglob("*.jsonl*"))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, typer.Abort])
def test_ctrl_c_ends_with_130_and_says_that_nothing_is_lost(bench, monkeypatch, stop):
    def interrupted(*_):
        raise stop

    monkeypatch.setattr("bench.cli.list._presets", interrupted)
    code, _, err = bench("list", "presets")
    assert code == 130
    assert err == "\nbench: stopped. The same command resumes here.\n"


def test_a_bug_is_not_hidden(bench, monkeypatch):
    def buggy(*_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("bench.cli.list._presets", buggy)
    with pytest.raises(ZeroDivisionError):
        bench("list", "presets")


def test_guarded_passes_codes_on(capsys):
    def fails():
        raise BenchError("what to mend")

    def exits():
        raise typer.Exit(7)

    assert [cli.guarded(lambda: None), cli.guarded(lambda: 3), cli.guarded(exits), cli.guarded(fails)] == [0, 3, 7, 2]
    assert capsys.readouterr().err == "bench: what to mend\n"


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_threat_checkpoint_that_is_not_there(bench, tmp_path, command):
    code, _, err = bench(command, "--preset", "smoke", "--store", tmp_path, "--threat-checkpoint", "no/such.pth")
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


def test_the_list_names_the_papers_datasets_and_their_options(bench):
    code, out, _ = bench("list", "dataset")
    assert code == 0
    assert "  stl10  STL-10: 5,000 training and 8,000 validation images" in out
    assert "  imagenet100  ImageNet-100 from an ImageNet tree" in out
    assert "      class_list = ''" in out


def test_a_report_of_a_run_and_of_what_is_none(smoke_run, bench, copied, tmp_path):
    assert smoke_run("--defense", "none", "--record", tmp_path / "run.json")[0] == 0
    code, said, _ = bench("report", tmp_path / "run.json", "--store", copied, "--count", "2")
    assert code == 0
    assert said.startswith("Report: ")
    assert (tmp_path / "run.html").read_text().startswith("<!doctype html>")
    code, _, err = bench("report", tmp_path / "missing.json", "--store", copied)
    assert code == 2
    assert "missing.json" in err
    assert err.count("\n") == 1
