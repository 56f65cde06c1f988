"""Processes forked from one that has the libraries loaded: like those that are started, and nothing is left in them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from bench.errors import BenchError
from bench.isolation import forks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are made on Linux alone")


@pytest.fixture(autouse=True)
def nurseries(monkeypatch):
    """None at first; ended afterwards."""
    found = {}
    monkeypatch.setattr(forks, "_nurseries", found)
    yield found
    forks.close_all()


def facts(isolated, act="look", **more):
    return isolated(act, **more).clean().facts


def of(nurseries):
    (nursery,) = filter(None, nurseries.values())
    return psutil.Process(nursery._process.pid)


def gone(*processes):
    until = time.monotonic() + 10
    while any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_the_first_is_started_and_those_after_it_are_forked_and_are_alike(isolated, nurseries):
    first, second, third = (facts(isolated) for _ in range(3))
    assert [each.pop("program") for each in (first, second, third)] == ["started", "forked", "forked"]
    assert first.pop("drawn") != second.pop("drawn") != third.pop("drawn")
    assert first == second == third
    assert first["left"] == "nothing", "of the one before"
    assert first["leads"]
    assert first["folder"]
    nursery = of(nurseries)
    assert nursery.num_threads() == 1
    assert not any(name.startswith("BENCH_") for name in nursery.environ())


def test_more_threads_than_one_are_started(isolated):
    for _ in range(2):
        asked = isolated("look")
        object.__setattr__(asked.job, "threads", 2)
        assert asked.clean().facts["program"] == "started"


def test_how_one_ends_is_told(isolated):
    facts(isolated)
    with pytest.raises(BenchError, match=r"ended with code -9"):
        isolated("die").clean()
    assert isolated("die").clean().facts["kept"] != os.getpid()
    assert facts(isolated)["program"] == "forked", "the nursery does not mind"


def test_ctrl_c_ends_it_and_what_it_started(isolated, nurseries):
    facts(isolated)
    pids = []

    def interrupt(what, pid, total):
        pids.extend([pid, *(child.pid for child in psutil.Process(pid).children())])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        isolated("wait", report=interrupt).clean()
    assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)
    gone(*of(nurseries).children())  # nobody watches any more


def test_its_watcher_killed_it_is_ended_all_the_same(isolated, nurseries):
    """As hostile code could, where the kernel lets signals through the fence."""
    facts(isolated)
    found = []

    def kill_the_watcher(what, pid, total):
        found.append(psutil.Process(pid))
        found[0].parent().kill()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        isolated("wait", report=kill_the_watcher).clean()
    gone(*found)


def test_it_has_the_environment_that_it_was_given_not_what_imports_made_of_it(isolated):
    """timm sets where torch's compiler keeps what it makes: a folder behind the fence."""
    first, second = facts(isolated), facts(isolated)
    assert (first["program"], second["program"]) == ("started", "forked")
    assert first["environment"] == second["environment"]


def test_what_goes_wrong_before_its_job_is_printed(tmp_path, capfd, nurseries):
    nursery = forks.Nursery(os.environ)
    forked = nursery.fork({}, tmp_path / "missing", 2)
    with forked.stdin, forked.stdout:
        assert forked.wait() == 1
    assert "FileNotFoundError" in capfd.readouterr().err
    nursery.close()


def test_one_nursery_is_kept(isolated, nurseries, monkeypatch):
    for number in range(3):
        monkeypatch.setenv("MINE", str(number))
        assert [facts(isolated)["program"] for _ in range(2)] == ["started", "forked"]
    assert len(nurseries) == 3
    assert len([each for each in nurseries.values() if each]) == 1


def test_without_its_nursery_the_next_one_is_started(isolated, nurseries):
    assert [facts(isolated)["program"] for _ in range(2)] == ["started", "forked"]
    of(nurseries).kill()
    of(nurseries).wait()
    assert [facts(isolated)["program"] for _ in range(2)] == ["started", "started"]


def test_a_nursery_that_would_have_threads_is_none(tmp_path):
    """As one might that is not the timm we know."""
    (tmp_path / "timm.py").write_text(
        "import threading, time; threading.Thread(target=time.sleep, args=(9,), daemon=True).start()"
    )
    nursery = forks.Nursery({**os.environ, "PYTHONPATH": str(tmp_path)})
    assert nursery.fork({}, tmp_path, 2) is None
    assert nursery._process.wait() == 0
    nursery.close()


def test_all_end_with_a_harness_that_is_killed(isolated, tmp_path):
    script = tmp_path / "harness.py"
    script.write_text(
        "import os, sys\n"
        "from pathlib import Path\n"
        "from bench.isolation.forks import Nursery\n"
        "nursery = Nursery(os.environ)\n"
        "forked = nursery.fork({}, Path('/'), 2)\n"
        "print(nursery._process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as harness:
        nursery = psutil.Process(int(harness.stdout.readline()))
        until = time.monotonic() + 10
        while len(family := nursery.children(recursive=True)) < 2:  # a watcher and the process, which waits for a job
            assert time.monotonic() < until
        harness.send_signal(signal.SIGKILL)
    gone(nursery, *family)
