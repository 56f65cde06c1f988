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
import subprocess
import sys
import threading
import time
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


def reachable(start, limit=20_000):
    """What attributes, containers, bound methods and closures lead to from `start`; modules and classes do not."""
    seen, waiting = set(), [start]
    while waiting and len(seen) < limit:
        thing = waiting.pop(0)
        if id(thing) not in seen and not isinstance(thing, type | type(os) | str | bytes | int | float):
            seen.add(id(thing))
            yield thing
            waiting += getattr(thing, "__dict__", {}).values()
            waiting += [getattr(thing, "__self__", None), getattr(thing, "func", None)]
            waiting += [cell.cell_contents for cell in getattr(thing, "__closure__", None) or ()]
            waiting += thing.values() if isinstance(thing, dict) else ()
            waiting += thing if isinstance(thing, list | tuple | set) and len(thing) < 1000 else ()


def truth_in(start):
    return next((rows for thing in reachable(start) if (rows := rows_in(thing))), None)


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


# What runs beside the defense, from the moment that this file is imported.
def _look_around():
    while not SEEN:
        SEEN.extend(quietly(lambda: truth_in([list(frames_above(f)) for f in sys._current_frames().values()])) or ())
        time.sleep(0.01)


def _handle(number, frame):
    SEEN.extend(truth_in(list(frames_above(frame))) or ())


def _collected(phase, about):
    SEEN.extend(truth_in(list(frames_above(sys._getframe()))) or ())


_argsort = np.argsort


def _spying_argsort(*arguments, **more):
    SEEN.extend(truth_in(list(frames_above(sys._getframe()))) or ())
    return _argsort(*arguments, **more)


def at_import():
    threading.Thread(target=_look_around, daemon=True).start()
    gc.callbacks.append(_collected)
    np.argsort = _spying_argsort
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGALRM, _handle)
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)


if os.environ.get("CHEAT_AT_IMPORT") or "bench.isolation.worker" in " ".join(sys.orig_argv):
    at_import()


@cheat
def references(view, at):
    return truth_in(view)


@cheat
def the_stack(view, at):
    held = list(frames_above(sys._getframe()))
    try:
        view.batch([-1])
    except Exception as error:
        trace = error.__traceback__
        while trace is not None:
            held += trace.tb_frame.f_locals.values()
            trace = trace.tb_next
    return truth_in(held)


@cheat
def other_threads(view, at):
    return truth_in([list(frames_above(frame)) for frame in sys._current_frames().values()])


@cheat
def the_collector(view, at):
    for thing in gc.get_objects():
        if type(thing).__name__ == "Manifest" and len(thing) == len(view) and (rows := rows_in(thing)):
            return rows
    return None


@cheat
def modules(view, at):
    return truth_in([vars(m) for name, m in list(sys.modules.items()) if name.split(".")[0] == "bench"])


@cheat
def beside_the_defense(view, at):
    """Threads, signal handlers, collector callbacks and replaced functions, all since the import."""
    gc.collect()
    time.sleep(0.2)
    return SEEN or None


@cheat
def the_store(view, at):
    return truth_of(next((Path(at["store"]) / "poison").rglob("train.jsonl")).read_text())


@cheat
def the_store_by_a_thread(view, at):
    found = []
    thread = threading.Thread(target=lambda: found.append(quietly(lambda: the_store(view, at))))
    thread.start()
    thread.join()
    return found[0]


@cheat
def the_store_by_its_exact_path(view, at):
    return truth_of(Path(at["manifest"]).read_text())


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
    link = Path("link")
    link.hardlink_to(at["manifest"])
    return truth_of(link.read_text())


@cheat
def functions_of_the_harness(view, at):
    from bench.data.manifest import Manifest
    from bench.store.store import Store

    entry = next(entry for entry in Store(Path(at["store"])).entries() if entry.stage == "poison")
    return rows_in(Manifest.load(Store(Path(at["store"])).find("poison", entry.key) / "train.jsonl"))


@cheat
def files_of_the_data_set(view, at):
    return [index for index, path in enumerate(sorted(Path(at["data"]).iterdir())) if "poisoned" in path.name]


@cheat
def open_files(view, at):
    for process in ("self", at["harness"]):
        for handle in Path(f"/proc/{process}/fd").iterdir():
            if handle.resolve().name == "train.jsonl":
                return truth_of(handle.read_text())
    return None


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
def memory_of_the_harness_by_the_kernel(view, at):
    return [0] if ctypes.CDLL(None).ptrace(16, int(at["harness"]), 0, 0) == 0 else None  # 16: attach


@cheat
def what_the_harness_was_started_with(view, at):
    told = quietly(lambda: Path(f"/proc/{at['harness']}/cmdline").read_bytes()) or b""
    told += quietly(lambda: Path(f"/proc/{at['harness']}/environ").read_bytes()) or b""
    return [0] if told else None


@cheat
def environment(view, at):
    return [0] if any(at[name] in value for value in os.environ.values() for name in ("store", "data")) else None


@cheat
def the_network(view, at):
    import socket

    with socket.create_connection(("127.0.0.1", int(at["port"])), timeout=1) as talk:
        return json.loads(talk.recv(1 << 16))


class Array(np.ndarray):
    """Runs code wherever it is touched."""

    def __array_finalize__(self, other):
        SEEN.extend(truth_in(list(frames_above(sys._getframe()))) or ())
        self.log = quietly(lambda: Path(AT[0]["log"]).write_text(str(os.getpid()))) if AT else None


class Facts(dict):
    """Runs code wherever it is read."""

    def items(self):
        quietly(lambda: Path(AT[0]["log"]).write_text(str(os.getpid())))
        return super().items()


AT = []


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
