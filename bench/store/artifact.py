"""One artifact while it is made: its work folder, the results of its steps, its clock and its memory."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.api import Arrays
from bench.errors import BenchError

from .files import read_arrays, read_json, write_arrays, write_bytes, writing

log = logging.getLogger(__name__)

META, TIME, SCRATCH, APART = "meta.json", "time.json", "scratch", "apart"

_STEP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TOKEN = re.compile(r"[0-9a-f]{32}")
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
    def apart(self) -> Path:
        """As `scratch`, but at a path that says nothing of the key: who knows it may guess what it is a hash of."""
        note = self.scratch / APART
        if not note.exists():
            write_bytes(note, secrets.token_hex(16).encode())
        folder = apart_of(self.dir)
        assert folder is not None
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
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
        if any(path.is_file() and path.name not in (TIME, APART) for path in work_of(self.dir)):
            self.save_time()
        else:
            drop_apart(self.dir)
            shutil.rmtree(self.dir, ignore_errors=True)

    def save_time(self) -> None:
        """Write the clock now. A failure is passed over: the clock alone must not end a run."""
        self._written = time.monotonic()
        temporary = self.dir / f".{TIME}.{os.getpid()}.tmp"
        text = json.dumps({"seconds": self.seconds, "peak_memory_mb": self.peak_memory_mb})
        with contextlib.suppress(OSError):
            temporary.write_text(text)
            temporary.replace(self.dir / TIME)


def apart_of(work: Path) -> Path | None:
    """The folder (`ArtifactBuilder.apart`) that belongs to this work folder, None where it has none."""
    try:
        name = (work / SCRATCH / APART).read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    return work.parents[1] / f".{APART}" / name if _TOKEN.fullmatch(name) else None


def work_of(work: Path) -> Iterator[Path]:
    """All that lies in a work folder and in the one apart, in which a defense may have nested folders by thousands."""
    waiting = [folder for folder in (work, apart_of(work)) if folder]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                yield Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))


def drop_apart(work: Path) -> None:
    """Remove the folder apart, if there is one. Folders in folders are moved up to be removed: no depth is too much."""
    top = apart_of(work)
    with contextlib.suppress(OSError):
        while top and (inner := [entry.path for entry in os.scandir(top) if entry.is_dir(follow_symlinks=False)]):
            for folder in inner:
                for entry in os.scandir(folder):
                    if entry.is_dir(follow_symlinks=False):
                        Path(entry.path).rename(top / secrets.token_hex(8))
                shutil.rmtree(folder)
        if top:
            shutil.rmtree(top)


def earlier_time(folder: Path) -> dict[str, float]:
    """What earlier attempts left in time.json: non-negative numbers only."""
    try:
        found = read_json(folder / TIME)
        return {name: float(value) for name, value in found.items() if value >= 0}
    except (BenchError, AttributeError, TypeError):
        return {}
