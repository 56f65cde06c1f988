"""A defense in a process of its own: what it is handed, what comes back, and how it ends."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import pickle
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from bench.api import Defense, Grouping, Verdict
from bench.errors import BenchError, UndeclaredNeed
from bench.isolation import calls, process, worker
from bench.seeds import Seeds


def test_matplotlib_says_nothing_of_a_home_that_is_closed(tmp_path):
    """The fence closes the home folder; a search that imports matplotlib must not warn of that in every run."""
    environment = process._environment(()) | process._own(tmp_path) | {"HOME": "/proc/nowhere"}
    done = subprocess.run(
        [sys.executable, "-c", "import matplotlib; print(matplotlib.get_configdir())"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.strip(), done.stderr) == (str(tmp_path), "")


def test_the_verdict_is_in_the_order_of_the_data_set(isolated, pixels, capfd, monkeypatch):
    monkeypatch.setenv("BENCH_STORE", "somewhere")
    told = []
    asked = isolated(report=lambda *at: told.append(at))
    verdict = asked.clean()
    assert verdict.keep.tolist() == (pixels[:, 0, 0, 0] < 128).tolist()
    assert verdict.score.tolist() == (pixels[:, 0, 0, 0] / 255).tolist()
    assert verdict.facts["first"] == pixels[asked.order, 0, 0, 0].tolist() != pixels[:, 0, 0, 0].tolist()
    assert verdict.facts["seed"] == Seeds(7, "a").value
    assert (verdict.facts["pid"] == os.getpid(), verdict.facts["bench"]) == (False, [])
    assert told == [("rows", 1, 2)]
    assert capfd.readouterr().err.count("from inside") == 1  # not on the standard output, which scripts read
    assert asked.peaks[0] > 1
    found = asked.grouping(verdict)
    assert (found.labels.tolist(), found.rule) == ((~verdict.keep).astype(int).tolist(), "by its verdict")


def test_in_place_it_runs_here_and_says_so(isolated, pixels, capsys):
    verdict = isolated(in_place=True).clean()
    assert (verdict.facts["pid"], verdict.facts["in_place"]) == (os.getpid(), True)
    assert capsys.readouterr().out == "from inside\n"
    assert verdict.keep.tolist() == (pixels[:, 0, 0, 0] < 128).tolist()
    maps, _ = isolated(in_place=True).attention(np.array([5, 2]))
    np.testing.assert_array_equal(maps, pixels[[5, 2], 0].astype(np.float32))


@pytest.mark.parametrize("in_place", [False, True])
def test_it_computes_with_the_threads_of_its_job(isolated, monkeypatch, in_place):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    asked, before = isolated("count_threads", in_place=in_place), torch.get_num_threads()
    asked = replace(asked, job=replace(asked.job, threads=3))
    assert asked.clean().facts["threads"] == [3, 3, 3]
    assert torch.get_num_threads() == before


def answering(answer):
    """A defense that gives this answer; its class lies in no module."""

    @dataclass(frozen=True, kw_only=True)
    class Answering(Defense):
        name = "answering"

        def clean(self, view):
            return answer

        attention = grouping = lambda self, view, about: answer

    return Answering()


KEEP = np.ones(12, bool)


@pytest.mark.parametrize(
    ("method", "answer", "said"),
    [
        ("clean", None, r"from clean\(\) None, expected a bench.Verdict"),
        ("clean", (KEEP,), r"from clean\(\) tuple, expected a bench.Verdict"),
        ("clean", Verdict(keep=[True] * 12), "keep as list, expected a NumPy array of bool"),
        ("clean", Verdict(keep=np.ones(12)), "keep as float64, expected a NumPy array of bool"),
        ("clean", Verdict(keep=KEEP, score=np.array(["high"] * 12)), "score as <U4, expected a NumPy array of float"),
        ("clean", Verdict(keep=KEEP, boxes=np.array([None] * 12)), "boxes as object, expected a NumPy array of int"),
        ("clean", Verdict(keep=KEEP, facts=[1]), "facts as list, expected a dict"),
        ("clean", Verdict(keep=KEEP, facts={1: 2}), r"facts has the key 1 \(int\); expected a string"),
        ("clean", Verdict(keep=KEEP, facts={"x": float("nan")}), "facts.x is nan; expected a finite number"),
        ("clean", Verdict(keep=KEEP, facts={"x": np.int64(1)}), "facts.x is a numpy.int64; expected JSON"),
        ("clean", Verdict(keep=KEEP[1:]), r"a verdict whose keep is bool \(11,\), expected bool \(12,\)"),
        ("attention", (np.zeros((1, 2, 2)), np.zeros((2, 4), int)), r"maps and windows of these shapes: \(\(1, 2, 2\)"),
        ("grouping", Grouping(np.full(12, 7), np.zeros(2), ""), r"grouping\(\) labels and scores that do not fit"),
    ],
)
def test_an_answer_of_another_form_is_an_error_that_says_so(isolated, method, answer, said):
    given = {"clean": (), "attention": (np.array([0, 1]),), "grouping": (Verdict(keep=KEEP),)}[method]
    with pytest.raises(BenchError, match=rf"defense 'answering' returned .*{said}"):
        getattr(isolated(defense=answering(answer), in_place=True), method)(*given)


def test_a_class_that_no_process_can_import_goes_there_with_its_code(isolated):
    verdict = isolated(defense=answering(Verdict(keep=KEEP, facts={"a": 1}))).clean()
    assert (verdict.keep.tolist(), verdict.facts) == ([True] * 12, {"a": 1})


def test_what_cannot_be_handed_over_is_named(isolated):
    with pytest.raises(BenchError, match=r"defense 'answering' cannot be handed to a process .*cannot pickle"):
        isolated(defense=answering(threading.Lock())).clean()


def test_errors_come_out_with_the_lines_of_the_plugin(isolated):
    with pytest.raises(BenchError) as caught:
        isolated("raise").clean()
    said = str(caught.value)
    assert said.startswith("defense 'acting' failed: ValueError: mine\n")
    file = Path(__file__).with_name("defenses.py")
    places = [(str(file), name) for name in ("clean", "_raise", "_raise")]
    assert re.findall(r'File "(.*)", line \d+, in (\w+)', said) == places
    with pytest.raises(ValueError, match="mine"):  # as it is
        isolated("raise", in_place=True).clean()


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (UndeclaredNeed("no"), UndeclaredNeed, "no"),
        (BenchError("no"), BenchError, "no"),
        (SystemExit(3), BenchError, "defense 'mine' called sys.exit(3); expected it to return, or to raise an error"),
    ],
)
def test_what_comes_out_of_errors_of_other_kinds(error, kind, said):
    told = process._message(json.dumps(worker._failure(error, "mine")).encode(), "mine")
    found = process._failure("mine", told)
    assert (type(found), str(found)) == (kind, said)


def test_a_killed_process_is_reported_and_the_next_one_resumes_from_its_steps(isolated):
    with pytest.raises(BenchError, match=r"ended with code -9 \(-9: often for want of memory\).* last saved step"):
        isolated("die").clean()
    assert isolated("die").clean().facts["kept"] != os.getpid()


def test_what_is_no_answer_is_refused(isolated):
    with pytest.raises(BenchError, match=r"said b'{\"answer\": .*\\n', which is none of its messages"):
        isolated("lie").clean()


def test_ctrl_c_ends_the_process(isolated):
    pids = []

    def interrupt(what, pid, total):
        pids.append(pid)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        isolated("wait", report=interrupt).clean()
    assert not psutil.pid_exists(pids[0])


def test_it_ends_with_a_harness_that_is_killed(isolated, tmp_path):
    asked = isolated("wait")
    script = tmp_path / "harness.py"
    script.write_text(
        "import pickle, sys; from pathlib import Path\n"
        "isolated = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "object.__setattr__(isolated, 'report', lambda what, pid, total: print(pid, flush=True))\n"
        "isolated.clean()\n"
    )
    (tmp_path / "pickled").write_bytes(pickle.dumps(replace(asked, report=print)))
    harness = subprocess.Popen([sys.executable, script, tmp_path / "pickled"], stdout=subprocess.PIPE, text=True)
    with harness:
        pid = int(harness.stdout.readline())
        harness.send_signal(signal.SIGKILL)
    until = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_it_reads_what_its_options_name_and_nothing_else(isolated, tmp_path, fenced):
    for name in ("list", "other"):
        (tmp_path / name).write_text("a list")
    asked = isolated("touch", file=tmp_path / "list", readable=(tmp_path / "list",))
    # The file that is named, the one beside it, the images read and written.
    assert asked.clean().facts["touched"] == ["done", "refused", "done", "refused"]


@pytest.mark.skipif(platform.machine() not in calls._MACHINES, reason="no filter of calls here")
def test_calls_that_leave_notes_or_meddle_do_nothing_or_are_refused(isolated, fenced):
    found = isolated("calls").clean().facts["calls"]
    assert {name: said for name, said in found.items() if said != "refused"} == {
        **{"times": "unchanged", "rights": "unchanged"},
        **{"its own limits": "done", "its own priority": "done", "a pair of streams": "done", "interfaces": "done"},
    }
    assert len(found) == 6 + 7


@pytest.mark.parametrize("text", ["\ud800", "\x1b[2J"])
def test_what_it_says_can_be_shown(isolated, text):
    with pytest.raises(BenchError) as caught:
        isolated("say", file=text).clean()
    assert str(caught.value).encode()
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("done", [10**400, -(10**400)])
def test_a_number_that_is_no_count_is_refused(done):
    with pytest.raises(BenchError, match="too large to be a count"):
        process._message(json.dumps({"what": "a", "done": done, "total": 1}).encode(), "mine")


def test_packages_that_are_links_are_found_where_they_lie(tmp_path):
    """As a whole, or file by file; one that is none is no addition."""
    from bench.isolation.process import _linked

    site, cache = tmp_path / "site", tmp_path / "cache"
    for name in ("whole", "files"):
        (cache / name).mkdir(parents=True)
        (cache / name / "__init__.py").touch()
    (site / "files").mkdir(parents=True)
    (site / "own").mkdir()
    (site / "whole").symlink_to(cache / "whole")
    (site / "files" / "__init__.py").symlink_to(cache / "files" / "__init__.py")
    assert sorted(_linked(site, [])) == [cache / "files", cache / "whole"]
    assert list(_linked(site, [cache])) == [], "nothing of what is closed"
    assert list(_linked(tmp_path / "missing", [])) == []
    (tmp_path / "file.zip").write_bytes(b"")
    assert list(_linked(tmp_path / "file.zip", [])) == []


def test_a_folder_of_the_path_that_is_closed_to_the_user_is_left_out(tmp_path, monkeypatch):
    """As below the home folder of another user: its owner alone may look into it."""
    from bench.isolation.process import _environment, _linked

    here = threading.get_ident()

    def refusing(real):
        def refuse(path, *more, **named):
            if threading.get_ident() != here:  # another test's watcher of memory looks into /proc meanwhile
                return real(path, *more, **named)
            raise PermissionError(13, "Permission denied", str(path))

        return refuse

    monkeypatch.setattr("sys.path", [str(tmp_path / "closed"), *sys.path])
    for name in ("listdir", "scandir", "stat"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    found = [*_linked(tmp_path, [])], _environment(())["PYTHONPATH"]
    monkeypatch.undo()
    assert found == ([], "")


def test_an_interpreter_that_this_user_may_not_start_is_named(tmp_path, monkeypatch):
    from bench.isolation.process import _started

    (tmp_path / "python").write_text("")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))  # without the permission to execute it
    said = r"no process can be started for the defense, by .*python in .*: Permission denied"
    with pytest.raises(BenchError, match=said), _started(tmp_path, (), 1):
        pass


def test_a_system_without_a_fence_is_warned_of_once(isolated, caplog):
    process._warn_once.cache_clear()
    said = b'{"fenced": false}\n{"failed": "", "trace": ""}\n'
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with pytest.raises(BenchError):
                isolated()._hear(SimpleNamespace(stdout=io.BytesIO(said)), "mine", 0)
    assert [record.message[:28] for record in caplog.records] == ["this system has no Landlock "]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"bytes": -1}, "announced -1 bytes"),
        ({"bytes": 1 << 60}, "announced 1152921504606846976 bytes, expected 0 to 1048576"),
        ({"bytes": 3}, "gave back arrays that cannot be read: File is not a zip file"),
    ],
)
def test_an_answer_of_any_size_costs_no_memory(isolated, sent, said):
    line = json.dumps({"answer": {"facts": {}}, "peak_memory_mb": 1.0, **sent}).encode() + b"\nabc"
    with pytest.raises(BenchError, match=said):
        isolated()._hear(SimpleNamespace(stdout=io.BytesIO(line)), "mine", 1 << 20)


def test_compressed_arrays_are_refused_before_they_are_unpacked():
    """A thousand times as large as what is sent."""
    data = io.BytesIO()
    np.savez_compressed(data, keep=np.ones(1_000_000, bool))
    with pytest.raises(BenchError, match="they are compressed: they could be of any size"):
        process._arrays(data.getvalue(), "mine")


def test_it_reads_no_input_and_cannot_touch_the_harness_s_log(tmp_path, isolated):
    """A log file is neither cut off nor read through the standard error; what is printed is plain text in it."""

    @dataclass(frozen=True, kw_only=True)
    class Meddling(Defense):
        name = "meddling"

        def clean(self, view):
            facts = {}
            for what, act in {
                "input": input,
                "cut": lambda: os.ftruncate(2, 0),
                "read": lambda: os.pread(2, 9, 0).decode(),
                "terminal": lambda: os.ttyname(2),
            }.items():
                try:
                    facts[what] = act()
                except (OSError, EOFError) as error:
                    facts[what] = type(error).__name__
            sys.stderr.write("\x1b[2Jhello\tworld\r" * 3 + "\x1b]0;\n")
            return Verdict(keep=KEEP, facts=facts)

    log = tmp_path / "log"
    with log.open("w+") as file, contextlib.redirect_stderr(file):
        for _ in range(2):  # started, then forked
            assert isolated(defense=Meddling()).clean().facts == {
                "input": "EOFError",
                "cut": "OSError",
                "read": "OSError",
                "terminal": "OSError",
            }
    text = log.read_text()
    assert (text.count("world\n"), text.count("\\x1b]0;\n"), "\x1b" in text) == (6, 2, False)


def test_a_flood_of_words_from_a_defense_stops_nothing(isolated, monkeypatch):
    """Not even where the standard error is full."""

    @dataclass(frozen=True, kw_only=True)
    class Talking(Defense):
        name = "talking"

        def clean(self, view):
            sys.stderr.write("x" * 10_000_000)
            return Verdict(keep=KEEP)

    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("sys.stderr", Full())
    assert isolated(defense=Talking()).clean().keep.all()
