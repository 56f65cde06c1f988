"""One artifact while it is made: its work folder, the results of its steps, its clock and its memory."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.api import Arrays
from bench.errors import BenchError

from .files import read_arrays, read_json, write_arrays, writing

log = logging.getLogger(__name__)

META, TIME, SCRATCH = "meta.json", "time.json", "scratch"

_STEP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TICK = 1.0  # seconds between two writes of time.json: what a SIGKILL may lose of the clock


class StepCache:
    """Named results of steps, kept in a folder: a killed run finds there what it had already computed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def step(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """`compute()`'s arrays, computed once and read from `<folder>/<name>.npz` ever after.

        A damaged file is computed again. Raises BenchError for object arrays and for a name unfit for a file.
        """
        if not _STEP.fullmatch(name):
            raise BenchError(f"a step is named {name!r}; expected letters, digits, '.', '_' or '-'")
        path = self.folder / f"{name}.npz"
        if path.exists():
            try:
                return read_arrays(path)
            except BenchError as error:
                log.warning("step %s is computed again: %s", name, error)
        write_arrays(path, compute())
        return read_arrays(path)  # what a resumed run would see, to the last detail


def _resident_mb() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**20


def highest_mb() -> float:
    """The process's peak resident memory in MiB (where the system keeps none: what is resident now)."""
    try:
        import resource
    except ImportError:
        return _resident_mb()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


class ArtifactBuilder:
    """One artifact in the making: write it into `dir`, and what only a resumed attempt needs into `scratch`.

    `finished`: it had been made already (while we waited, say): `dir` is the artifact, nothing is to be done.
    """

    def __init__(self, folder: Path, *, finished: bool = False) -> None:
        self.dir = folder
        self.finished = finished
        before = {} if finished else earlier_time(folder)
        self._seconds: float = before.get("seconds", 0.0)
        self._peak: float = before.get("peak_memory_mb", 0.0)
        self._highest_at_start = highest_mb()
        self._start = self._written = time.monotonic()

    @property
    def scratch(self) -> Path:
        """A folder that lives as long as the work folder and is dropped when the artifact is finished."""
        folder = self.dir / SCRATCH
        with writing(folder):
            folder.mkdir(exist_ok=True)
        return folder

    @property
    def seconds(self) -> float:
        """Wall time spent so far, all attempts together (a killed one counts up to its last tick)."""
        return self._seconds + time.monotonic() - self._start

    @property
    def peak_memory_mb(self) -> float:
        """Peak resident memory of this process while it made the artifact, in MiB, over all attempts.

        Exact where this making set the process's record, else the highest seen at a tick. Of child processes only those
        that were reported (`add_memory`) count, and accelerators do not.
        """
        highest = highest_mb()
        seen = highest if highest > self._highest_at_start else _resident_mb()
        self._peak = max(self._peak, seen)
        return self._peak

    def add_memory(self, peak_mb: float) -> None:
        """A process that worked for this artifact had a peak of so many MiB."""
        self._peak = max(self._peak, peak_mb)

    def tick(self) -> None:
        """Still alive: keep the clock and the memory peak on disk. Cheap; call it as often as you like."""
        if not self.finished and time.monotonic() - self._written >= _TICK:
            self.save_time()

    def abandon(self) -> None:
        """Leave what a next attempt can use: the clock beside the files, or nothing at all where there are none."""
        if any(path.is_file() and path.name != TIME for path in self.dir.rglob("*")):
            self.save_time()
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def save_time(self) -> None:
        """Write the clock now. A failure is passed over: the clock alone must not end a run."""
        self._written = time.monotonic()
        temporary = self.dir / f".{TIME}.{os.getpid()}.tmp"
        text = json.dumps({"seconds": self.seconds, "peak_memory_mb": self.peak_memory_mb})
        with contextlib.suppress(OSError):
            temporary.write_text(text)
            temporary.replace(self.dir / TIME)


def earlier_time(folder: Path) -> dict[str, float]:
    """What earlier attempts left in time.json: non-negative numbers only."""
    try:
        found = read_json(folder / TIME)
        return {name: float(value) for name, value in found.items() if value >= 0}
    except (BenchError, AttributeError, TypeError):
        return {}
