"""What a watched thread may not do, and what it may."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bench.errors import Peeking
from bench.isolation import proctor
from bench.isolation.proctor import Watch, watching


@pytest.fixture
def place(tmp_path):
    for name in ("store/poison/train.jsonl", "store/code.py", "free/file.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    return tmp_path


def attempt(watch, act):
    """What `act` raised in a watched thread, None for nothing."""
    raised = []

    def work():
        try:
            act()
        except BaseException as error:
            raised.append(error)

    with watching(watch):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    return raised[0] if raised else None


def another_thread(act):
    def work():
        with pytest.raises(Peeking):
            act()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


TOUCHES = {
    "open": lambda at: (at / "store/poison/train.jsonl").read_text(),
    "os.open": lambda at: os.close(os.open(at / "store/poison/train.jsonl", os.O_RDONLY)),
    "list": lambda at: os.listdir(at / "store"),  # noqa: PTH208
    "scan": lambda at: list(os.scandir(at / "store")),
    "above": lambda at: list((at / "free" / ".." / "store").glob("*")),
    "link": lambda at: os.link(at / "store/poison/train.jsonl", at / "free/link"),
    "write": lambda at: (at / "store/new").write_text("y"),
    "remove": lambda at: (at / "store/poison/train.jsonl").unlink(),
    "bytes": lambda at: open(os.fsencode(at / "store/poison/train.jsonl")).close(),  # noqa: PTH123
    "everything": lambda at: gc.get_objects(),
    "frames": lambda at: sys._current_frames(),
}


@pytest.mark.parametrize("act", TOUCHES.values(), ids=TOUCHES)
def test_what_is_closed_is_refused_and_remembered(place, act):
    watch = Watch("mine", [place / "store"])
    error = attempt(watch, lambda: act(place))
    assert isinstance(error, Peeking)
    assert "defense 'mine' reached past its view" in str(error)
    assert len(watch.caught) == 1
    with pytest.raises(Peeking, match="reached past its view"):
        watch.conclude()
    act(place)  # by anybody else, later: nothing


def test_a_link_does_not_lead_around_it(place):
    (place / "free/link").symlink_to(place / "store")
    watch = Watch("mine", [place / "store"])
    assert isinstance(attempt(watch, lambda: (place / "free/link/poison/train.jsonl").read_text()), Peeking)
    assert "free/link/poison/train.jsonl, which lies in" in watch.caught[0]


def test_the_threads_that_it_starts_are_watched(place):
    watch = Watch("mine", [place / "store"])
    assert attempt(watch, lambda: another_thread(lambda: os.listdir(place / "store"))) is None  # noqa: PTH208
    assert len(watch.caught) == 1


def test_what_is_not_closed_is_free(place):
    watch = Watch("mine", [place / "store"], allowed=[place / "store/poison/train.jsonl"])

    def honest():
        (place / "free/file.txt").read_text()
        (place / "free/new.txt").write_text("z")
        (place / "store/code.py").read_text()  # an import
        (place / "store/poison/train.jsonl").read_text()  # an option names it
        sys._getframe()

    assert attempt(watch, honest) is None
    watch.conclude()


def test_the_harness_itself_is_free(place):
    watch = Watch("mine", [place / "store"])
    (place / "store/poison/train.jsonl").read_text()
    with watching(watch):
        (place / "store/poison/train.jsonl").read_text()
        gc.get_objects()
    assert attempt(watch, lambda: (proctor.trust(), os.listdir(place / "store"))) is None  # noqa: PTH208
    assert not watch.caught


def test_its_own_code_starts_no_program_but_a_library_may(place):
    act = lambda: subprocess.run([sys.executable, "-c", ""], check=True)  # noqa: E731
    assert "started a program" in str(attempt(Watch("mine", [], code=[Path(__file__)]), act))
    assert attempt(Watch("mine", [], code=[place]), act) is None


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system has no /proc")
@pytest.mark.parametrize("name", ["fd", "fdinfo", "mem"])
def test_the_process_is_closed_too(name):
    watch = Watch("mine", [])
    path = Path("/proc/self") / name
    assert isinstance(attempt(watch, lambda: path.read_bytes() if path.is_file() else list(path.iterdir())), Peeking)
    assert attempt(watch, lambda: Path("/proc/self/status").read_text()) is None


def test_one_at_a_time():
    with (
        watching(Watch("one", [])),
        pytest.raises(RuntimeError, match="one is being watched"),
        watching(Watch("b", [])),
    ):
        pass


def test_what_is_closed_of_a_run(place, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(place / "free"))
    options = {"root": str(place / "free"), "size": 32, "names": "no such path", "file": ""}
    closed = proctor.closed_paths(place / "store", options)
    assert {place / "store", place / "free"} <= set(closed)
    assert Path("no such path") not in closed
    named = {"weights": str(place / "free/file.txt"), "stolen": str(place / "store/poison/train.jsonl"), "n": 3}
    assert proctor.allowed_paths(place / "store", named) == [place / "free/file.txt"]


def test_code_is_the_file_or_the_folder_of_a_package(monkeypatch):
    Watcher = type("Watcher", (), {"__module__": "bench.isolation.proctor"})
    assert proctor.code_of(Watcher()) == [Path(proctor.__file__)]
    Packed = type("Packed", (), {"__module__": "json.decoder"})
    assert proctor.code_of(Packed()) == [Path(sys.modules["json"].__file__).parent]
    assert proctor.code_of(type("Typed", (), {"__module__": "__nowhere__"})()) == []
