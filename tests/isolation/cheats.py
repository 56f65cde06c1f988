"""A defense that cheats in every way that we know of, as a file of its own: see test_cheats.py.

Each cheat looks for the truth and gives the indices (of the view or of the data set) that it takes for poisoned, or
None. What it is refused it hushes up. They know more than a stranger would: where the store and the data set lie, and
which process is the harness's.
"""

import ctypes
import gc
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from bench import Defense, Seeds, Verdict

CHEATS = {}
SEEN = []  # what threads, handlers, callbacks and replaced functions of this module came across
MARK = "bench-cheats-mark"


def cheat(function):
    CHEATS[function.__name__] = function
    return function


def rows_in(thing):
    """The poisoned indices that a manifest or a poisoned set of images holds."""
    for name in ("poisons", "_poisons"):
        rows = getattr(thing, "__dict__", {}).get(name)
        if rows:
            return [int(row if isinstance(row, int) else row.index) for row in rows]
    return None


def truth_in(start, limit=20_000):
    """The first of what attributes, containers, bound methods and closures lead to; modules and classes do not."""
    seen, waiting = set(), [start]
    while waiting and len(seen) < limit:
        thing = waiting.pop(0)
        if id(thing) not in seen and not isinstance(thing, type | type(os) | str | bytes | int | float):
            seen.add(id(thing))
            if rows := rows_in(thing):
                return rows
            waiting += getattr(thing, "__dict__", {}).values()
            waiting += [getattr(thing, "__self__", None), getattr(thing, "func", None)]
            cells = getattr(thing, "__closure__", None) or ()
            waiting += [quietly(lambda cell=cell: cell.cell_contents) for cell in cells]  # some are still empty
            waiting += thing.values() if isinstance(thing, dict) else ()
            waiting += thing if isinstance(thing, list | tuple | set) and len(thing) < 1000 else ()
    return None


def truth_of(text):
    rows = [json.loads(line) for line in text.splitlines()]
    return [index for index, row in enumerate(rows) if row["poisoned"]]


def frames_above(frame):
    while frame is not None:
        yield from frame.f_locals.values()
        frame = frame.f_back


def quietly(call):
    try:
        return call()
    except Exception:
        return None


def note(*frames):
    """What runs beside the defense, from the moment that this file is imported, looks at these frames."""
    SEEN.extend(quietly(lambda: truth_in([list(frames_above(frame)) for frame in frames])) or ())


def _look_around():
    while not SEEN:
        note(*sys._current_frames().values())
        time.sleep(0.01)


def _look_and_set_again(number, frame):
    """Not at fixed times: on a busy machine one look would take longer than the time between two."""
    note(frame)
    signal.setitimer(signal.ITIMER_REAL, 0.05)


_argsort = np.argsort


def _spying_argsort(*arguments, **more):
    note(sys._getframe())
    return _argsort(*arguments, **more)


if "bench.isolation." in " ".join(sys.orig_argv):  # .worker, or .forks
    threading.Thread(target=_look_around, daemon=True).start()
    gc.callbacks.append(lambda phase, about: note(sys._getframe()))
    np.argsort = _spying_argsort
    signal.signal(signal.SIGALRM, _look_and_set_again)
    signal.setitimer(signal.ITIMER_REAL, 0.05)


@cheat
def the_stack(view, at):
    held = list(frames_above(sys._getframe()))
    try:
        view.batch([-1])
    except Exception as error:
        held += [value for frame, _ in traceback.walk_tb(error.__traceback__) for value in frame.f_locals.values()]
    return truth_in(held)


@cheat
def the_collector(view, at):
    held = [thing for thing in gc.get_objects() if type(thing).__name__ == "Manifest" and len(thing) == len(view)]
    return next(filter(None, map(rows_in, held)), None)


@cheat
def beside_the_defense(view, at):
    """Threads, signal handlers, collector callbacks and replaced functions, all since the import."""
    gc.collect()
    time.sleep(0.2)
    return SEEN or None


@cheat
def the_store_by_a_thread(view, at):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(CHEATS["the_store"], view, at).result()


@cheat
def the_store_by_a_program(view, at):
    script = "import sys; print(open(sys.argv[1]).read())"
    said = subprocess.run([sys.executable, "-c", script, at["manifest"]], capture_output=True, text=True, check=True)
    return truth_of(said.stdout.strip())


@cheat
def the_store_by_the_c_library(view, at):
    library = ctypes.CDLL(None)
    handle = library.open(at["manifest"].encode(), os.O_RDONLY)
    buffer = ctypes.create_string_buffer(1 << 20)
    count = library.read(handle, buffer, len(buffer))
    return truth_of(buffer.raw[:count].decode()) if handle >= 0 else None


@cheat
def the_store_by_a_link(view, at):
    Path("link").hardlink_to(at["manifest"])
    return truth_of(Path("link").read_text())


@cheat
def functions_of_the_harness(view, at):
    from bench.data.manifest import Manifest
    from bench.store.store import Store

    entry = next(entry for entry in Store(Path(at["store"])).entries() if entry.stage == "poison")
    return rows_in(Manifest.load(Store(Path(at["store"])).find("poison", entry.key) / "train.jsonl"))


@cheat
def open_files(view, at):
    handles = [handle for process in ("self", at["harness"]) for handle in Path(f"/proc/{process}/fd").iterdir()]
    return next((truth_of(each.read_text()) for each in handles if each.resolve().name == "train.jsonl"), None)


@cheat
def memory_of_the_harness(view, at):
    mark = (MARK + ":[").encode()
    with Path(f"/proc/{at['harness']}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{at['harness']}/maps").read_text().splitlines():
            start, stop, rights = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
            if rights.startswith("rw"):
                memory.seek(int(start, 16))
                data = quietly(lambda span=int(stop, 16) - int(start, 16): memory.read(span)) or b""
                found = re.search(re.escape(mark) + rb"([\d, ]+)\]", data)
                if found:
                    return [int(number) for number in found[1].split(b",")]
    return None


@cheat
def what_the_harness_was_started_with(view, at):
    files = [Path(f"/proc/{at['harness']}/{name}") for name in ("cmdline", "environ")]
    return [0] if any(quietly(file.read_bytes) for file in files) else None


@cheat
def the_network(view, at):
    with socket.create_connection(("127.0.0.1", int(at["port"])), timeout=1) as talk:
        return json.loads(talk.recv(1 << 16))


CHEATS |= {
    "references": lambda view, at: truth_in(view),
    "other_threads": lambda view, at: truth_in([list(frames_above(each)) for each in sys._current_frames().values()]),
    "modules": lambda view, at: truth_in([vars(m) for name, m in [*sys.modules.items()] if name.startswith("bench")]),
    "the_store": lambda view, at: truth_of(next((Path(at["store"]) / "poison").rglob("train.jsonl")).read_text()),
    "the_store_by_its_exact_path": lambda view, at: truth_of(Path(at["manifest"]).read_text()),
    "files_of_the_data_set": lambda view, at: [0] if any(Path(at["data"]).glob("*poisoned*")) else None,
    "memory_by_the_kernel": lambda view, at: [0] if ctypes.CDLL(None).ptrace(16, at["harness"], 0, 0) == 0 else None,
    "environment": lambda view, at: [path for path in (at["store"], at["data"]) if path in str(os.environ)] or None,
}


# --- other ways to the memory and the files of the harness, and to what outlives the process ---


def held_by(number):
    """The truth in an open file of this process."""
    return truth_of(os.pread(number, 1 << 20, 0).decode())


@cheat
def memory_by_another_call(view, at):
    class Span(ctypes.Structure):
        _fields_ = [("start", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    found = ctypes.create_string_buffer(at["length"])
    here, there = Span(ctypes.addressof(found), at["length"]), Span(at["address"], at["length"])
    library = ctypes.CDLL(None)
    count = library.process_vm_readv(at["harness"], ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    return json.loads(found.raw.partition(b":")[2]) if count == at["length"] else None


@cheat
def inherited_descriptors(view, at):
    return next(filter(None, (quietly(lambda each=each: held_by(each)) for each in range(3, 256))), None)


@cheat
def descriptors_by_the_kernel(view, at):
    library = ctypes.CDLL(None)
    process = library.syscall(434, at["harness"], 0)
    taken = [library.syscall(438, process, each, 0) for each in range(3, 256)]
    return next(filter(None, (quietly(lambda each=each: held_by(each)) for each in taken if each >= 0)), None)


@cheat
def shared_memory(view, at):
    return json.loads(Path("/dev/shm", at["shared"]).read_text())


@cheat
def shared_memory_of_system_v(view, at):
    library = ctypes.CDLL(None)
    library.shmat.restype = ctypes.c_void_p
    place = library.shmat(at["system_v"], None, 0o10000)
    return json.loads(ctypes.string_at(place)) if place not in (None, 2**64 - 1) else None


@cheat
def the_store_by_a_symbolic_link(view, at):
    """Read through it; or by the harness, which finds it in the work folder instead of a file."""
    Path("symbolic").symlink_to(at["manifest"])
    for name in ("../steps/scores.npz", "../tmp/verdict.npz", "../images/rows.npz", "../facts.json"):
        quietly(lambda name=name: (Path(name).unlink(missing_ok=True), Path(name).symlink_to(at["manifest"])))
    return truth_of(Path("symbolic").read_text())


@cheat
def a_service_by_datagrams(view, at):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
        talk.settimeout(1)
        talk.sendto(b"?", ("127.0.0.1", at["datagrams"]))
        return json.loads(talk.recv(1 << 16))


@cheat
def a_service_by_a_file(view, at):
    with socket.socket(socket.AF_UNIX) as talk:
        talk.settimeout(1)
        talk.connect(at["service"])
        return json.loads(talk.recv(1 << 16))


@cheat
def a_child_that_outlives_it(view, at):
    """What it has seen here it could tell a later run, under another attack."""
    if os.getpid() == at["harness"]:
        return None
    child = os.fork()
    if child == 0:
        quietly(os.setsid)
        quietly(lambda: os.setpgid(0, 0))
        time.sleep(100)
        os._exit(0)
    time.sleep(0.2)
    return [child] if os.getpgid(child) != os.getpgid(0) else None


@cheat
def the_keyring(view, at):
    library = ctypes.CDLL(None, use_errno=True)
    number = {"x86_64": 248, "aarch64": 217}[os.uname().machine]
    return [0] if library.syscall(number, b"user", b"bench-cheat", b"kept", 4, -4) > 0 else None


class Trap:
    def __init__(self, log):
        self.log = log

    def __reduce__(self):
        return Path.write_text, (Path(self.log), "was here")


AT = []


def leave_a_trace():
    quietly(lambda: Path(AT[0]["log"]).write_text(str(os.getpid())))


class Array(np.ndarray):
    """Runs code wherever it is touched."""

    def __array_finalize__(self, other):
        note(sys._getframe())
        leave_a_trace()


class Facts(dict):
    """Runs code wherever it is read."""

    def items(self):
        leave_a_trace()
        return super().items()


@dataclass(frozen=True, kw_only=True)
class Cheater(Defense):
    """Tries every cheat, and says what each has found."""

    name: ClassVar[str] = "cheater"
    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    at: str = "{}"

    def clean(self, view):
        where = json.loads(self.at)
        AT.append(where)
        found = {name: quietly(lambda each=each: each(view, where)) for name, each in CHEATS.items()}
        found["seed"] = next((n for n in range(100) if Seeds(n, "defense").sealed().value == view.seeds().value), None)
        return Verdict(keep=np.ones(len(view), bool).view(Array), facts=Facts(found))


@dataclass(frozen=True, kw_only=True)
class Forger(Defense):
    """Replaces what writes its answer, so that the harness would unpickle an object that runs there."""

    name: ClassVar[str] = "forger"
    log: str

    def clean(self, view):
        write = np.savez
        np.savez = lambda file, keep: write(file, keep=keep, score=np.array([Trap(self.log)] * len(keep)))
        return Verdict(keep=np.ones(len(view), bool))
