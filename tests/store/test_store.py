"""The store: keys, atomic files, making under a lock, resuming after a kill, pruning, errors with a mend."""

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from safetensors import SafetensorError

from bench.errors import BenchError
from bench.store import (
    StepCache,
    Store,
    artifact,
    canonical,
    check_can_write,
    files,
    key_of,
    read_arrays,
    read_json,
    store as module,
    write_arrays,
    write_bytes,
    write_json,
    writing,
)

KEY, OTHER = "0" * 64, "f" * 64
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def make(store, produce, stage="pretrain", key=KEY):
    """The finished artifact's folder; `produce(making)` is called only where it is not there yet."""
    found = store.find(stage, key)
    if found is None:
        with store.open(stage, key) as making:
            if not making.finished:
                produce(making)
        found = store.find(stage, key)
    return found


def fill(store, key=KEY, stage="pretrain", size=10):
    return make(store, lambda making: write_bytes(making.dir / "data.bin", b"x" * size), stage, key)


def age(folder, seconds):
    then = time.time() - seconds
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


def python(code, *arguments, **options):
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def give_up(store, error, *, stage="pretrain", key=KEY, before=lambda making: None):
    """Start to make an artifact, write a checkpoint, then fail."""
    with store.open(stage, key) as making:
        write_bytes(making.scratch / "checkpoint", b"half")
        before(making)
        raise error


# --- keys -------------------------------------------------------------------------------------------------


def test_a_key_is_the_hash_of_the_canonical_json():
    text = '{"config":{"a":1,"b":[true,null]},"inputs":{"data":"aa"},"stage":"probe","version":2}'
    key = key_of("probe", 2, {"b": (True, None), "a": 1}, {"data": "aa"})
    assert key == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [{"stage": "pretrain"}, {"version": 2}, {"config": {"a": "1"}}, {"inputs": {"data": "ab"}}, {"inputs": {}}],
)
def test_everything_that_decides_the_outcome_changes_the_key(change):
    given = {"stage": "probe", "version": 1, "config": {"a": 1}, "inputs": {"data": "aa"}}
    assert key_of(**{**given, **change}) != key_of(**given)


@settings(deadline=None, max_examples=60)
@given(JSON)
def test_canonical_text_is_read_back_and_does_not_depend_on_the_order_of_keys(value):
    assert json.loads(canonical(value)) == value
    if isinstance(value, dict):
        assert canonical(dict(reversed(value.items()))) == canonical(value)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"rate": float("nan")}, r"\.rate is nan"),
        ({"a": [1, float("inf")]}, r"\.a\[1\] is inf"),
        ({"path": Path("x")}, r"\.path is a pathlib\.PosixPath; expected JSON"),
        ({1: "one"}, r"has the key 1 \(int\); expected a string"),
        ({"n": np.int64(1)}, r"\.n is a numpy\.int64"),
    ],
)
def test_what_is_not_json_is_named(value, complaint):
    with pytest.raises(BenchError, match=complaint):
        key_of("probe", 1, value, {})


@pytest.mark.parametrize(("stage", "key"), [("../up", KEY), ("", KEY), ("Probe", KEY), ("probe", "12"), ("a/b", KEY)])
def test_names_that_could_leave_the_store_are_refused(store, stage, key):
    with pytest.raises(ValueError, match="no artifact can be named"):
        store.find(stage, key)


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".hidden", "a b"])
def test_a_step_name_must_fit_a_file_name(tmp_path, name):
    with pytest.raises(BenchError, match="a step is named"):
        StepCache(tmp_path).step(name, dict)


# --- files ------------------------------------------------------------------------------------------------


def test_json_files_are_sorted_and_end_with_a_newline(tmp_path):
    write_json(tmp_path / "sub" / "a.json", {"b": 1, "a": [0.5]})
    assert (tmp_path / "sub" / "a.json").read_text() == '{\n  "a": [\n    0.5\n  ],\n  "b": 1\n}\n'
    assert read_json(tmp_path / "sub" / "a.json") == {"a": [0.5], "b": 1}


@pytest.mark.parametrize("text", ["", "{", "[NaN]", "\xff", "[" * 100_000])
def test_a_file_that_is_no_json_is_an_error_a_user_can_read(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BenchError, match=r"cannot read .*a\.json as JSON"):
        read_json(tmp_path / "a.json")


def test_arrays_come_back_as_they_were_in_the_same_bytes(tmp_path):
    arrays = {
        "file": np.arange(6).reshape(2, 3),
        "a": np.float32(2.5) * np.ones((), np.float32),
        "names": np.array(["x", "yy"]),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "none": np.zeros((0, 4), bool),
    }
    write_arrays(tmp_path / "1.npz", arrays)
    time.sleep(0.01)
    write_arrays(tmp_path / "2.npz", dict(reversed(arrays.items())))
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()
    back = read_arrays(tmp_path / "1.npz")
    assert {name: array.dtype for name, array in back.items()} == {name: array.dtype for name, array in arrays.items()}
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)


def test_no_objects_go_into_arrays_and_none_come_out(tmp_path):
    with pytest.raises(BenchError, match=r"'a' of x\.npz is object; expected"):
        write_arrays(tmp_path / "x.npz", {"a": np.array([{}])})
    with pytest.raises(BenchError, match=r"'a' of x\.npz is list; expected"):
        write_arrays(tmp_path / "x.npz", {"a": [1]})
    assert list(tmp_path.iterdir()) == []
    np.savez(tmp_path / "evil.npz", a=np.array([{}], object))
    with pytest.raises(BenchError, match="cannot read the arrays"):
        read_arrays(tmp_path / "evil.npz")


def flipped(data):
    return data[:500] + bytes([data[500] ^ 1]) + data[501:]


@pytest.mark.parametrize("damage", [lambda d: b"", lambda d: d[:10], lambda d: d[:200], lambda d: d[:-1], flipped])
def test_damaged_arrays_are_an_error_a_user_can_read(tmp_path, damage):
    write_arrays(tmp_path / "a.npz", {"a": np.arange(100)})
    (tmp_path / "a.npz").write_bytes(damage((tmp_path / "a.npz").read_bytes()))
    with pytest.raises(BenchError, match="cannot read the arrays"):
        read_arrays(tmp_path / "a.npz")


FULL, READ_ONLY, DENIED = "the disk .* is full: free some space", "read-only file system", "permission denied"


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, FULL), (errno.EROFS, READ_ONLY), (errno.EACCES, DENIED)])
def test_a_failed_write_says_what_to_do_and_leaves_the_old_file(store, monkeypatch, number, words):
    path = store.root / "a.json"
    write_json(path, 1)

    def fail(_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(files, "sync", fail)
        with pytest.raises(BenchError, match=f"cannot write .*a.json: .*{words}"):
            write_json(path, 2)
        with pytest.raises(BenchError, match=words):
            make(store, lambda making: None)
    assert read_json(path) == 1
    assert store.find("pretrain", KEY) is None, "nothing is published"
    assert [p.name for p in store.root.iterdir() if p.is_file()] == ["a.json"]


def test_real_write_limit_in_every_writer(tmp_path):
    """A file size limit set by the system stands for a full disk: each writer says so and leaves nothing."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    writers = ((write_bytes, b"x" * 10**6), (write_json, "x" * 10**6), (write_arrays, {"a": np.zeros(10**6)}))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        for write, value in writers:
            with pytest.raises(BenchError, match="file size limit"):
                write(tmp_path / "file", value)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


# --- steps ------------------------------------------------------------------------------------------------


def test_an_output_that_is_a_link_stays_one(tmp_path):
    (tmp_path / "link").symlink_to("there")
    write_bytes(tmp_path / "link", b"1")
    assert ((tmp_path / "link").is_symlink(), (tmp_path / "there").read_bytes()) == (True, b"1")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(BenchError, match="links lead round in a circle"):
        write_bytes(tmp_path / "loop", b"1")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link", "loop", "there"]


def test_a_step_is_computed_once_and_again_where_its_file_is_damaged(tmp_path, caplog):
    calls = []

    def compute():
        calls.append(1)
        return {"x": np.asfortranarray(np.arange(4.0).reshape(2, 2))}

    first, second = (StepCache(tmp_path / "steps").step("round-1", compute) for _ in range(2))
    assert len(calls) == 1
    assert first["x"].flags.c_contiguous and second["x"].flags.c_contiguous  # noqa: PT018
    np.testing.assert_array_equal(first["x"], second["x"])
    (tmp_path / "steps" / "round-1.npz").write_bytes(b"PK")
    np.testing.assert_array_equal(StepCache(tmp_path / "steps").step("round-1", compute)["x"], first["x"])
    assert len(calls) == 2
    assert "step round-1 is computed again" in caplog.text


# --- making -----------------------------------------------------------------------------------------------


def test_making_then_finding(store):
    assert store.find("pretrain", KEY) is None
    assert not store.root.exists()
    with store.open("pretrain", KEY, version=3, config={"lr": 0.5}, inputs={"data": OTHER}) as making:
        assert not making.finished
        assert making.dir == store.root / "pretrain" / f"{KEY}.partial"
        assert store.find("pretrain", KEY) is None
        write_bytes(making.dir / "sub" / "weights", b"abc")
    folder, meta = store.find("pretrain", KEY), store.meta("pretrain", KEY)
    assert folder == store.root / "pretrain" / KEY
    assert sorted(p.name for p in folder.iterdir()) == ["meta.json", "sub"]
    about = {"stage": "pretrain", "key": KEY, "version": 3, "config": {"lr": 0.5}, "inputs": {"data": OTHER}}
    assert meta.items() >= {**about, "files": {"sub/weights": 3}}.items()
    assert 0 <= meta["seconds"] < 5
    assert 1 < meta["peak_memory_mb"] < 100_000
    assert abs((datetime.now(UTC) - datetime.fromisoformat(meta["created"])).total_seconds()) < 60


def test_make_calls_the_producer_once(store):
    first = fill(store)
    again = make(store, lambda making: pytest.fail("made twice"))
    assert first == again == store.find("pretrain", KEY)
    with store.open("pretrain", KEY) as making:
        assert making.finished
        assert making.dir == first
        making.tick()
    assert sorted(p.name for p in first.iterdir()) == ["data.bin", "meta.json"]


@pytest.fixture
def clock(monkeypatch):
    """A clock in a list, turned by hand."""
    clock = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    return clock


def test_an_exception_keeps_the_work_folder_and_its_time(store, clock):
    def seven_seconds(_):
        clock[0] += 7

    with pytest.raises(KeyboardInterrupt):
        give_up(store, KeyboardInterrupt(), before=seven_seconds)
    assert store.find("pretrain", KEY) is None
    with store.open("pretrain", KEY) as making:
        assert (making.scratch / "checkpoint").read_bytes() == b"half"
        assert making.seconds == 7
        write_bytes(making.dir / "weights", b"whole")
        clock[0] += 5
        assert making.seconds == 12
    assert store.meta("pretrain", KEY)["seconds"] == 12
    assert sorted(p.name for p in store.find("pretrain", KEY).iterdir()) == ["meta.json", "weights"]


def test_a_tick_writes_the_clock_now_and_then(store, clock):
    with store.open("pretrain", KEY) as making:
        making.tick()
        assert not (making.dir / "time.json").exists()
        for seconds in (3.0, 0.5):
            clock[0] += seconds
            making.tick()
            assert read_json(making.dir / "time.json")["seconds"] == 3.0


def test_what_a_killed_writer_left_is_no_part_of_the_artifact(store):
    work = store.root / "pretrain" / f"{KEY}.partial"
    work.mkdir(parents=True)
    (work / ".weights.1-1.tmp").write_bytes(b"half")
    (work / "time.json").write_text('{"seconds": "?", "peak_memory_mb": -1}')
    with store.open("pretrain", KEY) as making:
        assert list(making.dir.glob(".*")) == []
        assert making.seconds < 5
    assert store.meta("pretrain", KEY)["files"] == {}


def test_an_artifact_killed_before_its_last_step_is_not_made_again(store, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "_publish", lambda *_: sys.exit())
        with pytest.raises(SystemExit):
            fill(store)
    assert store.find("pretrain", KEY) is None
    assert (make(store, lambda making: pytest.fail("made twice")) / "data.bin").read_bytes() == b"x" * 10


def damage_meta(folder, **change):
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, **change}))


@pytest.mark.parametrize("name", [KEY, f"{KEY}.partial"])
@pytest.mark.parametrize(
    "put", [Path.touch, lambda path: path.symlink_to(path.name), lambda path: path.symlink_to("..")]
)
def test_what_is_no_folder_in_the_place_of_one_is_removed(store, name, put):
    (store.root / "pretrain").mkdir(parents=True)
    put(store.root / "pretrain" / name)
    folder = fill(store)
    assert ([each.name for each in folder.parent.iterdir()], folder.is_symlink()) == ([KEY], False)
    assert (folder / "data.bin").read_bytes() == b"x" * 10


def test_a_dry_prune_needs_no_store_that_can_be_written(store, monkeypatch):
    fill(store)

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(store.root))

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    assert store.prune(older_than=0, dry_run=True) > 0
    with pytest.raises(BenchError, match=DENIED):
        store.prune(older_than=0)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "meta.json").unlink(), "cannot read .*meta.json"),
        (lambda folder: (folder / "meta.json").write_bytes(b"{"), "cannot read .*meta.json"),
        (lambda folder: (folder / "meta.json").write_bytes(b"[]"), "does not describe it"),
        (lambda folder: damage_meta(folder, key=OTHER), "does not describe it"),
        (lambda folder: damage_meta(folder, created=None), "meta.json is damaged"),
        (lambda folder: damage_meta(folder, seconds=-5), "meta.json is damaged"),
        (lambda folder: damage_meta(folder, seconds="inf"), "meta.json is damaged"),
        (lambda folder: damage_meta(folder, peak_memory_mb="x"), "meta.json is damaged"),
        (lambda folder: damage_meta(folder, files={"a\0": 1}), "a.x00 is missing"),
        (lambda folder: (folder / "data.bin").unlink(), "data.bin is missing"),
        (lambda folder: (folder / "data.bin").write_bytes(b"x"), "data.bin has 1 bytes, expected 10"),
    ],
)
def test_a_damaged_artifact_is_made_again_and_the_log_says_why(store, caplog, spoil, reason):
    folder = fill(store)
    spoil(folder)
    assert store.find("pretrain", KEY) is None
    assert [entry.finished for entry in store.entries()] == [False]
    assert fill(store) == folder
    assert (folder / "data.bin").read_bytes() == b"x" * 10
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any(re.search(reason, line) for line in lines)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left"), SafetensorError("I/O error: No space left on device (os error 28)")],
)
def test_a_full_disk_while_making_is_reported_and_the_work_is_kept(store, error):
    with pytest.raises(BenchError, match=FULL):
        give_up(store, error)
    assert (store.root / "pretrain" / f"{KEY}.partial" / "scratch" / "checkpoint").exists()
    assert fill(store).exists()


def test_other_errors_stay_what_they_are(store):
    for error in (OSError(errno.EIO, "I/O error"), SafetensorError("header too large")):
        with pytest.raises(type(error), match=str(error).split()[-1]), writing(store.root):
            raise error
    with pytest.raises(PermissionError), store.open("pretrain", KEY):
        raise PermissionError(errno.EACCES, "Permission denied", "/data/secret.png")
    with pytest.raises(BenchError, match="permission denied"), store.open("pretrain", KEY) as making:
        raise PermissionError(errno.EACCES, "Permission denied", str(making.dir / "x"))


def test_the_memory_peak_is_seen_even_after_it_is_gone(store):
    before = artifact.highest_mb()
    with store.open("pretrain", KEY):
        block = np.ones(int(before - artifact._resident_mb() + 60) * 2**20, np.uint8)
        del block
    assert before + 30 < store.meta("pretrain", KEY)["peak_memory_mb"] < before + 150


MAKER = """
import sys, time
from pathlib import Path
from bench.store import Store, write_bytes
with Store(Path(sys.argv[1])).open("pretrain", "0" * 64) as making:
    write_bytes(making.scratch / "checkpoint", b"step 1")
    while True:
        time.sleep(0.05); making.tick()
"""


def test_a_killed_maker_frees_the_lock_and_leaves_checkpoint_and_time(store):
    child = python(MAKER, store.root)
    clock = store.root / "pretrain" / f"{KEY}.partial" / "time.json"
    deadline = time.monotonic() + 20
    while not clock.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert store.prune(older_than=0) == 0, "what is being made must not be pruned"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    with store.open("pretrain", KEY) as making:
        assert not making.finished
        assert (making.scratch / "checkpoint").read_bytes() == b"step 1"
        assert making.seconds >= 1


def test_threads_share_one_making(store):
    made = []

    def produce(making):
        made.append(making)
        time.sleep(0.1)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(make, [store] * 3, [produce] * 3))
    assert len(made) == 1


# --- listing and pruning ----------------------------------------------------------------------------------


def test_entries_tell_size_age_and_state(store):
    assert store.entries() == []
    fill(store, size=1000)
    with pytest.raises(RuntimeError):
        give_up(store, RuntimeError(), stage="probe", key=OTHER)
    (store.root / "probe" / "stray").mkdir()
    done, half = store.entries()
    assert (done.stage, done.key, done.finished) == ("pretrain", KEY, True)
    assert (half.stage, half.key, half.finished) == ("probe", OTHER, False)
    assert done.bytes == 1000 + (done.path / "meta.json").stat().st_size
    assert half.bytes == 4 + (half.path / "time.json").stat().st_size
    assert 0 <= (datetime.now(UTC) - half.created).total_seconds() < 60


def test_finding_marks_as_used_unless_told_not_to(store):
    folder = fill(store)
    age(folder, 1000)
    store.find("pretrain", KEY, touch=False)
    store.meta("pretrain", KEY)
    assert (datetime.now(UTC) - store.entries()[0].last_used).total_seconds() > 900
    store.find("pretrain", KEY)
    assert (datetime.now(UTC) - store.entries()[0].last_used).total_seconds() < 60


def test_a_folder_apart_says_nothing_of_the_key_and_goes_with_its_artifact(store):
    apart = []
    for attempt in range(2):  # the second goes on where the first was interrupted
        with contextlib.suppress(RuntimeError), store.open("clean", KEY) as making:
            apart.append(making.apart)
            assert (making.apart / "step").exists() == bool(attempt)
            (making.apart / "step").write_bytes(b"\0" * 1000)
            raise RuntimeError
    assert apart[0] == apart[1]
    assert apart[0].is_relative_to(store.root)
    assert KEY[:8] not in str(apart[0].relative_to(store.root))
    (entry,) = store.entries()
    assert entry.bytes > 1000
    assert store.prune(partial=True) == entry.bytes
    assert not apart[0].exists()
    with store.open("clean", KEY) as making:
        last = making.apart
        (last / "step").touch()
    assert not last.exists()
    with contextlib.suppress(RuntimeError), store.open("clean", OTHER) as making:
        assert making.apart.exists()
        raise RuntimeError
    assert list((store.root / ".apart").iterdir()) == [], "an attempt that left nothing leaves no folder"


def test_a_folder_apart_may_be_deep(store):
    """As a hostile defense may leave it: deeper than Python's recursion, and longer than any path."""
    with contextlib.suppress(RuntimeError), store.open("clean", KEY) as making:
        here = os.open(making.apart, os.O_RDONLY)
        for _ in range(3000):
            os.mkdir("deep", dir_fd=here)
            inner = os.open("deep", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(here)
        (making.apart / "step").touch()
        raise RuntimeError
    assert [entry.key for entry in store.entries()] == [KEY]
    store.prune(partial=True)
    assert list((store.root / ".apart").iterdir()) == []


def test_prune_by_age_stage_and_state(store):
    old, young = fill(store, KEY), fill(store, OTHER)
    probe = fill(store, KEY, stage="probe")
    age(old, 1000)
    age(probe, 1000)
    with pytest.raises(RuntimeError):
        give_up(store, RuntimeError(), stage="probe", key=OTHER)
    size = next(entry.bytes for entry in store.entries() if entry.path == old)
    assert store.prune(older_than=500, stage="pretrain", dry_run=True) == size
    assert old.exists()
    assert store.prune(older_than=500, stage="pretrain") == size
    assert (old.exists(), young.exists(), probe.exists()) == (False, True, True)
    assert store.prune(partial=True) > 0
    assert [entry.path for entry in store.entries()] == [young, probe]
    assert list(store.root.glob(".trash*")) == []
    store.prune(older_than=0)
    assert store.entries() == []


def test_what_is_dropped_while_it_is_read_is_passed_over(store, monkeypatch):
    """Another process prunes right after the folder was described."""
    described = module._described

    def dropped(folder, stage, key):
        found = described(folder, stage, key)
        shutil.rmtree(folder)
        return found

    for look in (
        lambda: store.entries(),
        lambda: store.meta("pretrain", KEY),
        lambda: list(store.check()),
        lambda: store.find("pretrain", KEY, read=True),
    ):
        fill(store, KEY)
        monkeypatch.setattr(module, "_described", dropped)
        look()
        monkeypatch.setattr(module, "_described", described)


def test_prune_to_a_size_drops_the_longest_unused_first(store):
    folders = [fill(store, digit * 64, size=1000) for digit in "abc"]
    for seconds, folder in zip((100, 300, 200), folders, strict=True):
        age(folder, seconds)
    total = sum(entry.bytes for entry in store.entries())
    for most, left in ((total, [True, True, True]), (total - 1, [True, False, True]), (1500, [True, False, False])):
        store.prune(max_bytes=most)
        assert [folder.exists() for folder in folders] == left


def test_prune_leaves_what_is_locked_here_and_asks_for_a_condition(store):
    with store.open("pretrain", KEY) as making:
        assert store.prune(older_than=0) == 0
        assert making.dir.exists()
    with pytest.raises(BenchError, match="say what to prune"):
        store.prune()


# --- where it cannot be written ---------------------------------------------------------------------------


def test_check_writable_leaves_nothing_behind(store):
    store.check_writable()
    assert list(store.root.iterdir()) == []
    with pytest.raises(BenchError, match=r"MiB left, this run needs about \d+"):
        store.check_writable(need_bytes=2**62)


def test_a_file_in_the_place_of_the_store(tmp_path):
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        for use in (Store(root).check_writable, lambda root=root: fill(Store(root))):
            with pytest.raises(BenchError, match="part of the path is a file, not a folder"):
                use()


def test_a_read_only_store_can_be_read_but_not_made_in(store, monkeypatch):
    folder = fill(store)

    def read_only(path, *_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(os, "utime", read_only)
    monkeypatch.setattr(Path, "mkdir", read_only)
    assert store.find("pretrain", KEY) == folder
    assert make(store, lambda making: pytest.fail("made")) == folder
    for use in (lambda: fill(store, OTHER), store.check_writable):
        with pytest.raises(BenchError, match="read-only file system: choose a folder"):
            use()


def test_importing_the_store_costs_no_torch():
    code = "import sys, bench.store, bench.data.manifest, bench.records.metrics, bench.records.record\n"
    code += "import bench.boards\n"
    child = python(code + "print([name for name in ('torch', 'pandas', 'jsonschema') if name in sys.modules])")
    assert child.communicate()[0] == "[]\n"


@pytest.mark.parametrize(("written", "left"), [([], []), (["half"], [False])])
def test_an_attempt_that_is_refused_before_it_wrote_anything_leaves_nothing(tmp_path, written, left):
    store = Store(tmp_path / "store")

    def refused(making):
        for name in written:
            (making.dir / name).write_text("")
        raise BenchError("no")

    with pytest.raises(BenchError, match="no"):
        make(store, refused)
    assert [entry.finished for entry in store.entries()] == left


def test_a_file_that_cannot_be_written_is_found_out_before_the_work(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    for path, said in ((tmp_path, "it is a folder"), (blocked / "record.json", "file is no folder")):
        with pytest.raises(BenchError, match=said):
            check_can_write(path)
    check_can_write(tmp_path / "new" / "record.json")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
def test_where_nothing_can_be_created_it_is_said_before_the_work():
    with pytest.raises(BenchError, match="the store /proc cannot be written: nothing can be created there"):
        Store(Path("/proc")).check_writable()
    with pytest.raises(BenchError, match=r"cannot write /proc/x\.json: no file can be created in /proc"):
        check_can_write(Path("/proc/x.json"))


def test_bytes_that_have_changed_are_found_when_they_are_used_and_made_again(store, caplog):
    folder = fill(store)
    (folder / "data.bin").write_bytes(b"y" * 10)
    assert store.find("pretrain", KEY) == folder  # sizes alone
    assert store.find("pretrain", KEY, read=True) is None
    assert [fault for _, fault in store.check()] == ["its file data.bin has changed since it was made"]
    with store.open("pretrain", KEY) as making:
        assert not making.finished
        (making.dir / "data.bin").write_bytes(b"x" * 10)
    assert store.find("pretrain", KEY, read=True) == folder
    assert "is made again: its file data.bin has changed since it was made" in caplog.text
    assert [fault for _, fault in store.check()] == [""]


def test_large_files_are_read_by_a_check_alone(store, monkeypatch):
    folder = fill(store)
    monkeypatch.setattr("bench.store.store.QUICK", 9)
    (folder / "data.bin").write_bytes(b"y" * 10)
    assert store.find("pretrain", KEY, read=True) == folder
    assert [fault for _, fault in store.check()] == ["its file data.bin has changed since it was made"]


def test_an_artifact_from_before_there_were_checksums_is_used(store):
    folder = fill(store)
    meta = json.loads((folder / "meta.json").read_text())
    del meta["sha256"]
    (folder / "meta.json").write_text(json.dumps(meta))
    assert store.find("pretrain", KEY, read=True) == folder
    assert [fault for _, fault in store.check()] == ["no checksums"]


@pytest.mark.skipif(not Path("/dev/stdout").is_symlink(), reason="the system has no such link")
def test_a_link_of_the_system_is_not_replaced():
    with pytest.raises(BenchError, match="must not be replaced"):
        files.check_can_write(Path("/dev/stdout"))
