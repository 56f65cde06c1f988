"""The command line: exit codes, one clear line for every mistake, and nothing heavy before it is needed."""

from __future__ import annotations

import errno
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from bench.cli import main as cli
from bench.data.manifest import Manifest

HEAVY = {"torch", "torchvision", "timm", "faiss", "sklearn", "pandas", "matplotlib", "lightning_fabric", "scipy"}
LIGHT = (["--help"], ["run", "--help"], ["list", "presets"], ["list", "defense"], ["store", "list"], ["study"])


def heavy_after(*commands, **environment):
    """The heavy libraries that are loaded after these commands in one fresh process; each command succeeds.

    As on a machine without a GPU driver: to look up a GPU's name takes torch.
    """
    code = (
        "import sys\nfrom bench.cli.main import main\nfrom bench.records import record\n"
        "record._accelerators = lambda: []\n"
        f"for arguments in {commands!r}:\n"
        "    sys.argv = ['bench', *arguments]\n"
        "    try:\n        main()\n"
        "    except SystemExit as stop:\n        assert not stop.code, arguments\n"
        "print('\\n' + ' '.join({name.partition('.')[0] for name in sys.modules}))"
    )
    command, environment = [sys.executable, "-W", "error", "-c", code], {**os.environ, **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return HEAVY & set(done.stdout.splitlines()[-1].split())


def test_housekeeping_loads_nothing_heavy():
    assert heavy_after(*LIGHT) == set()


def test_a_run_from_the_store_loads_nothing_heavy(copied):
    command = ["run", "--preset", "smoke", "--accelerator", "cpu"]
    heavy_after(command, BENCH_STORE=str(copied))  # finds out the dataset's fingerprint, which takes its images
    assert heavy_after(command, BENCH_STORE=str(copied)) == set()


def test_help_shows_the_commands_in_panels(bench):
    out = bench("--help")
    for panel, commands in cli.PANELS.items():
        shown = out[out.index(f"─ {panel} ─") :].partition("╰")[0]
        assert [line.split()[1] for line in shown.splitlines()[1:] if line[2:3].strip()] == list(commands)
    assert "--install-completion" in out


def test_version_and_no_command(bench, console):
    assert bench("--version") == "bench 0.1.0\n"
    code, out, err = console()
    assert code in (0, 2)  # as older and newer versions of typer have it
    assert "Usage" in out + err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rum"], r"bench: there is no command 'rum'\. Did you mean 'run'\?"),
        (["run", "--atack", "htba"], r"bench: No such option: --atack.*--attack.*\. See 'bench run -h'\."),
        (["run", "--devices", "0"], r"bench: Invalid value for '--devices': .*\. See 'bench run -h'\."),
        (["run", "--seed", "many"], r"bench: Invalid value for '--seed': .*integer\. See 'bench run -h'\."),
        (["matrix"], r"bench: Missing argument 'file'\. See 'bench matrix -h'\."),
        (["store", "lst"], r"bench: No such command 'lst'.* See 'bench store -h'\."),
    ],
)
def test_usage_errors_end_with_2_and_one_line(console, arguments, said):
    code, out, err = console(*arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(said + "\n", err), err


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
        (["--threat-checkpoint", "no/such.pth"], "bench: --threat-checkpoint no/such.pth: No such file or directory"),
    ],
)
def test_bad_input_ends_with_2_and_one_clear_message(refused, copied, arguments, said):
    message = refused("run", "--preset", "smoke", "--store", copied, *arguments, midway=True)
    assert said in message
    assert message.count("\n") == 1


def test_a_class_that_is_not_there_is_refused_before_anything_is_made(refused, tmp_path):
    for command in ("run", "plan"):
        for target, said in (
            ("99", "there is no class 99: 4 classes, so 0 to 3."),
            ("pink", "there is no class 'pink'"),
        ):
            found = refused(command, "--preset", "smoke", "--store", tmp_path, "--set", f"attack.target={target}")
            assert said in found
    assert not list(tmp_path.rglob("*.json*"))


def test_plan_and_report_say_which_file_is_missing(refused, tmp_path):
    found = refused("plan", "--preset", "smoke", "--store", tmp_path, "--threat-checkpoint", "no/such.pth")
    assert found.startswith("bench: --threat-checkpoint no/such.pth: No such file or directory")
    missing = refused("report", tmp_path / "missing.json", "--store", tmp_path)
    assert "missing.json" in missing
    assert [found.count("\n"), missing.count("\n")] == [1, 1]


def test_a_threat_checkpoint_that_does_not_fit_names_the_keys(refused, copied, tmp_path):
    import torch

    torch.save({"conv9.weight": torch.zeros(1)}, tmp_path / "c.pth")
    where = ("--preset", "smoke", "--store", copied)
    said = refused("run", *where, "--threat-checkpoint", tmp_path / "c.pth", midway=True)
    assert "missing in the file" in said
    assert "not in the encoder (1): conv9.weight" in said


def test_a_read_only_store(refused, tmp_path, monkeypatch):
    """A folder's mode does not bind root, as whom tests may run: the system's answer is played."""

    def refuse(self, data):
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    said = refused("run", "--preset", "smoke", "--store", tmp_path / "store", midway=True)
    assert "it lies on a read-only file system: choose a folder that can be written" in said
    assert said.count("\n") == 1


@pytest.fixture
def closed(tmp_path, monkeypatch):
    """A folder that one may not look into, as below another user's home: pathlib's `exists` and its like raise there.
    Root may look everywhere, so it is played."""
    folder, see = str(tmp_path / "closed"), os.stat

    def refuse(path, *args, **options):
        if str(path).startswith(folder + os.sep):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return see(path, *args, **options)

    monkeypatch.setattr(os, "stat", refuse)
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--plugin", "{}/p.py"),
        ("run", "--preset", "{}/p.toml"),
        ("run", "--preset", "smoke", "--store", "{}/store"),
        ("run", "--preset", "smoke", "--record", "{}/r.json"),
        ("run", "--preset", "smoke", "--dataset", "folder", "--set", "dataset.root='{}/images'"),
        ("leaderboard", "{}/records"),
        ("compare", "none", "poisoncam", "{}/records"),
        ("scan", "{}/images", "--quick"),
        ("scan", "{}/images.zip", "--quick"),
        ("store", "list", "--store", "{}/store"),
    ],
)
def test_a_folder_that_one_may_not_look_into(refused, closed, arguments):
    said = refused(*(each.format(closed) for each in arguments), midway=True)
    assert "ermission denied" in said
    assert closed in said
    assert said.count("\n") == 1


def test_a_cache_that_one_may_not_look_into_is_done_without(bench, copied, monkeypatch, closed):
    """The fingerprint of procedural images is then computed each time."""
    monkeypatch.setenv("BENCH_CACHE", f"{closed}/cache")
    bench("plan", "--preset", "smoke", "--store", copied)


def test_a_full_disk_in_the_middle_of_a_run(refused, tmp_path, monkeypatch):
    def fill_up(manifest):
        yield from itertools.islice(lines(manifest), 3)
        raise OSError(errno.ENOSPC, "No space left on device")

    lines = Manifest.lines
    monkeypatch.setattr(Manifest, "lines", fill_up)
    said = refused("run", "--preset", "smoke", "--store", tmp_path, midway=True)
    assert "the disk (or quota) is full" in said
    assert said.count("\n") == 1
    assert not list(tmp_path.rglob("*.jsonl*"))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, typer.Abort, ZeroDivisionError])
def test_ctrl_c_ends_with_130_and_says_that_nothing_is_lost_and_a_bug_is_not_hidden(console, monkeypatch, stop):
    def interrupted(*_):
        raise stop

    monkeypatch.setattr("bench.config.config.read_preset", interrupted)
    if stop is ZeroDivisionError:
        with pytest.raises(ZeroDivisionError):
            console("list", "presets")
    else:
        code, _, err = console("list", "presets")
        assert (code, err) == (130, "\nbench: stopped. The same command resumes here.\n")


def started(*arguments, **more):
    """`bench` with these arguments in a process of its own."""
    command = [sys.executable, "-m", "bench", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are closed otherwise there")
def test_a_reader_that_leaves_does_not_stop_a_run(copied):
    """As `| head -1` does."""
    with started("run", "--preset", "smoke", "--store", copied, "--accelerator", "cpu") as running:
        running.stdout.close()
        assert (running.wait(), running.stderr.read()) == (0, "")
    assert len([*(copied / "records").glob("*.json")]) == 1


def test_a_store_that_cannot_be_named_is_refused(refused):
    assert "'' is no path" in refused("plan", "--preset", "smoke", "--store", "")
    for command in ("plan", "run"):
        assert "its path is not UTF-8" in refused(command, "--preset", "smoke", "--store", "a\udcff")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_an_output_that_is_full_is_said():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "bench", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "bench: cannot write what there is to say: No space left on device\n")


def test_a_record_never_takes_the_place_of_a_pipe(refused, copied, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    said = refused("run", "--preset", "smoke", "--store", copied, "--record", tmp_path / "pipe")
    assert "it is no regular file, and must not be replaced by one" in said
    assert (tmp_path / "pipe").is_fifo()


def test_what_the_output_cannot_encode_is_shown_escaped(tmp_path):
    """Words beyond ASCII end no command."""
    import os
    import subprocess

    command = [sys.executable, "-m", "bench", "list", "metrics"]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, cwd=tmp_path)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
