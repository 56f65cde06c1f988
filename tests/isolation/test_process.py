"""A defense in a process of its own: what it is handed, what comes back, and how it ends."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from bench.api import Defense
from bench.data.images import ArrayImages
from bench.errors import BenchError, UndeclaredNeed
from bench.isolation import process, worker
from bench.isolation.handover import hand_over
from bench.isolation.job import Job
from bench.isolation.process import IsolatedDefense
from bench.plugins.from_file import load_file
from bench.seeds import Seeds

FILE = Path(__file__).with_name("defenses.py")
PIXELS = np.random.default_rng(1).integers(0, 256, (12, 3, 8, 8)).astype(np.uint8)
FIRST = PIXELS[:, 0, 0, 0]


@pytest.fixture
def isolated(tmp_path):
    """isolated(act, ...) -> IsolatedDefense of tests/isolation/defenses.py on PIXELS."""

    def make(act="", *, defense=None, file="", **more):
        order = hand_over(ArrayImages(PIXELS), Seeds(1), tmp_path / "work" / "images", lambda *_: None)
        job = Job(
            defense=defense or load_file(FILE).Acting(act=act, file=str(file)),
            method="clean",
            arguments=(),
            folder=tmp_path / "work",
            encoder=None,
            seeds=Seeds(7),
            device="cpu",
            accelerator="cpu",
            devices=1,
            threads=1,
        )
        return IsolatedDefense(job=job, order=order, size=8, closed=(tmp_path / "store",), **more)

    return make


def test_the_verdict_is_in_the_order_of_the_data_set(isolated, capfd, monkeypatch):
    monkeypatch.setenv("BENCH_STORE", "somewhere")
    told = []
    asked = isolated(report=lambda *at: told.append(at))
    verdict = asked.clean()
    assert verdict.keep.tolist() == (FIRST < 128).tolist()
    assert verdict.score.tolist() == (FIRST / 255).tolist()
    assert verdict.facts["first"] == FIRST[asked.order].tolist() != FIRST.tolist()
    assert verdict.facts["seed"] == Seeds(7, "a").value
    assert (verdict.facts["pid"] == os.getpid(), verdict.facts["bench"]) == (False, [])
    assert told == [("rows", 1, 2)]
    assert capfd.readouterr().err.count("from inside") == 1  # not on the standard output, which scripts read
    assert asked.peaks[0] > 1
    maps, _ = asked.attention(np.array([5, 2]))
    np.testing.assert_array_equal(maps, PIXELS[[5, 2], 0].astype(np.float32))
    found = asked.grouping(verdict)
    assert (found.labels.tolist(), found.rule) == ((~verdict.keep).astype(int).tolist(), "by its verdict")


def test_in_place_it_runs_here_and_says_so(isolated, capsys):
    verdict = isolated(in_place=True).clean()
    assert (verdict.facts["pid"], verdict.facts["in_place"]) == (os.getpid(), True)
    assert capsys.readouterr().out == "from inside\n"
    assert verdict.keep.tolist() == isolated().clean().keep.tolist()


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("nothing", r"from clean\(\) None, expected a bench.Verdict"),
        ("a tuple", r"from clean\(\) tuple, expected a bench.Verdict"),
        ("a list as keep", "keep as list, expected a NumPy array of bool"),
        ("numbers as keep", "keep as float64, expected a NumPy array of bool"),
        ("text as score", "score as <U4, expected a NumPy array of float"),
        ("objects as boxes", "boxes as object, expected a NumPy array of int"),
        ("facts in a list", "facts as list, expected a dict"),
        ("facts with number keys", r"facts has the key 1 \(int\); expected a string"),
        ("facts that are not finite", "facts.x is nan; expected a finite number"),
        ("facts of NumPy", "facts.x is a numpy.int64; expected JSON"),
        ("too few", r"a verdict whose keep is bool \(11,\), expected bool \(12,\)"),
    ],
)
def test_an_answer_of_another_form_is_an_error_that_says_so(isolated, act, said):
    with pytest.raises(BenchError, match=rf"defense 'acting' returned .*{said}"):
        isolated(act, in_place=True).clean()


def test_answers_for_pictures_are_checked_too(isolated):
    with pytest.raises(BenchError, match=r"attention\(\) maps and windows of these shapes: \(\(1, 2, 2\)"):
        isolated("small maps", in_place=True).attention(np.array([0, 1]))
    with pytest.raises(BenchError, match=r"grouping\(\) labels and scores that do not fit"):
        isolated("no such group", in_place=True).grouping(replace(isolated(in_place=True).clean()))


def test_errors_come_out_with_the_lines_of_the_plugin(isolated):
    with pytest.raises(BenchError) as caught:
        isolated("raise").clean()
    said = str(caught.value)
    assert said.startswith("defense 'acting' failed: ValueError: mine\n")
    assert re.findall(r'File "(.*)", line \d+, in (\w+)', said) == [
        (str(FILE), n) for n in ("clean", "_raise", "_raise")
    ]
    with pytest.raises(BenchError, match=r"defense 'acting' called sys.exit\(3\); expected it to return"):
        isolated("exit").clean()


def test_a_need_that_is_not_declared_comes_out_as_that():
    told = process._message(json.dumps(worker._failure(UndeclaredNeed("no"))).encode(), "mine")
    assert type(process._failure("mine", told)) is UndeclaredNeed
    told = process._message(json.dumps(worker._failure(BenchError("no"))).encode(), "mine")
    assert type(process._failure("mine", told)) is BenchError


def test_the_same_errors_in_place_are_as_they_are(isolated):
    with pytest.raises(ValueError, match="mine"):
        isolated("raise", in_place=True).clean()


def test_a_killed_process_is_reported_and_the_next_one_resumes_from_its_steps(isolated):
    with pytest.raises(BenchError, match=r"ended with code -9 \(-9: often for want of memory\).* last saved step"):
        isolated("die").clean()
    assert isolated("die").clean().facts["kept"] != os.getpid()


def test_what_is_no_answer_is_refused(isolated):
    with pytest.raises(
        BenchError, match=r"said b'{\"answer\": {}, \"bytes\": \"all\"}\\n', which is none of its messages"
    ):
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
    import pickle

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
    (tmp_path / "list.txt").write_text("a list")
    with pytest.raises(BenchError, match=r"failed: PermissionError: .*list\.txt"):
        isolated("read", file=tmp_path / "list.txt").clean()
    named = isolated("read", file=tmp_path / "list.txt", readable=(tmp_path / "list.txt",))
    assert named.clean().facts["read"] == "a list"
    with pytest.raises(BenchError, match=r"failed: PermissionError: .*images\.npy"):
        isolated("write", file=tmp_path / "work" / "images" / "images.npy").clean()


def test_a_system_without_a_fence_is_warned_of_once(isolated, caplog):
    process._warn_once.cache_clear()
    said = [b'{"fenced": false}', b'{"failed": "", "trace": ""}']
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with pytest.raises(BenchError):
                isolated()._hear(SimpleNamespace(stdout=said), "mine")
    assert [record.message[:28] for record in caplog.records] == ["this system has no Landlock "]


def test_a_class_that_cannot_be_imported_is_named(isolated):
    @dataclass(frozen=True, kw_only=True)
    class Local(Defense):
        name = "local"

        def clean(self, view):
            raise NotImplementedError

    with pytest.raises(BenchError, match=r"defense 'local' cannot be handed to a process .*expected a class"):
        isolated(defense=Local()).clean()
