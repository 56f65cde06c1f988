"""A defense in a process of its own: started, handed its job, listened to, ended.

The process holds nothing but the images, the encoder and seeds, so there is nothing for a defense to find in it. What
lies beyond, on the disk and in other processes, is behind a fence where the system has one (see fence.py).
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from bench.api import Arrays, EncoderVerdict, Grouping, Verdict
from bench.errors import BenchError, UndeclaredNeed, printable
from bench.parallel.threads import thread_variables

from .forks import Forked, forked
from .job import IMAGES, KNOWN, STEPS, Job, Method
from .scores import check_scores
from .verdict import check_verdict, put_together

log = logging.getLogger(__name__)
_WHAT = {"attention": "maps and windows of these shapes", "grouping": "labels and scores that do not fit"}
Process = subprocess.Popen[bytes] | Forked
PACKAGES = ("bench", "bench.plugins", "bench.attacks", "bench.defenses")
"""The harness itself, which may be installed for editing, its folders anywhere."""


@dataclass(frozen=True, kw_only=True, eq=False)
class IsolatedDefense:
    """A defense that judges images it was handed (handover.py), each question to it answered by a fresh process.

    job: the question without its method and arguments. order: the index in the data set of each image of the view,
    (N,) int64. size: of the images, in px. readable: files that the process may read, besides Python's own. closed:
    files and folders that it must not, although one of those may lie in them. in_place: no process, no fence: the
    defense runs here, so that its debugger works.
    """

    job: Job
    order: NDArray[np.int64]
    size: int
    readable: tuple[Path, ...] = ()
    closed: tuple[Path, ...] = ()
    report: Callable[[str, int, int], None] = lambda what, done, total: None
    in_place: bool = False
    peaks: list[float] = field(default_factory=list)
    """The most memory of each process that has answered, in MiB."""

    def clean(self) -> Verdict:
        """Its verdict, in the order of the data set. Raises BenchError for one that is not of the promised form."""
        found = self._ask("clean")
        verdict = check_verdict(found, len(self.order), self.size, self.job.defense.name)
        facts = {**verdict.facts, "in_place": True} if self.in_place else verdict.facts
        return replace(_rows(verdict, self._places), facts=facts)

    def scores(self) -> NDArray[np.float64]:
        """A detector's scores, (N,) in the order in which the images were handed over. Raises BenchError for what is
        not of that form."""
        return check_scores(self._ask("score"), len(self.order), self.job.defense.name)[self._places]

    def verdict(self) -> EncoderVerdict:
        """What an encoder test says. Raises BenchError for what is not of the promised form."""
        found: EncoderVerdict = self._ask("verdict")
        return replace(found, facts={**found.facts, "in_place": True}) if self.in_place else found

    def attention(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """See Defense.attention; the indices are those of the data set."""
        found: tuple[NDArray[np.float32], NDArray[np.int64]] | None = self._ask("attention", self._places[indices])
        if found is not None:
            wanted = ((len(indices), self.size, self.size), (len(indices), 4))
            self._demand("attention", tuple(each.shape for each in found), wanted)
        return found

    def grouping(self, verdict: Verdict) -> Grouping | None:
        """See Defense.grouping; the verdict and the labels are in the order of the data set."""
        found: Grouping | None = self._ask("grouping", _rows(verdict, self.order))
        if found is None:
            return None
        groups = found.score.size
        self._demand("grouping", (found.labels.shape, found.score.shape), (self.order.shape, (groups,)))
        self._demand("grouping", bool(((found.labels >= 0) & (found.labels < groups)).all()), True)
        return found._replace(labels=found.labels[self._places])

    def _demand(self, method: str, got: object, expected: object) -> None:
        if got != expected:
            name = self.job.defense.name
            raise BenchError(f"defense {name!r} returned from {method}() {_WHAT[method]}: {got}, expected {expected}")

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """Where each image of the data set stands in the view, (N,) int64."""
        return np.argsort(self.order)

    def _ask(self, method: Method, *arguments: Any) -> Any:
        job = replace(self.job, method=method, arguments=arguments)
        answer = job.answer(self.report) if self.in_place else self._elsewhere(job)
        return put_together(method, *answer, job.defense.name)

    def _elsewhere(self, job: Job) -> tuple[Arrays, dict[str, Any]]:
        name = job.defense.name
        try:
            pickled = cloudpickle.dumps(job)  # a class of a notebook, which no process can import, with its code
        except (pickle.PicklingError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise BenchError(
                f"defense {name!r} cannot be handed to a process of its own ({error}): expected options, and in a "
                "notebook global names, that can be pickled; or run it in place (--debug)"
            ) from error
        work = [job.folder / each for each in (STEPS, "tmp")]
        for folder in work:
            folder.mkdir(parents=True, exist_ok=True)
        module = type(job.defense).__module__
        images = [path for path in (job.folder / IMAGES, job.folder / KNOWN) if path.exists()]
        readable = [*images, *self.readable, *_importable(self.closed), *_code(module)]
        given = {
            "packages": ["bench", module.partition(".")[0]],
            "read": [str(path.resolve()) for path in readable],
            "write": [str(path.resolve()) for path in work],
            "bytes": len(pickled),
            "several": job.devices > 1,
        }
        alone = job.device == "cpu" and job.devices == 1 and job.threads == 1
        with _started(work[1], self.closed, job.threads, fork=alone) as process:
            _send(process, json.dumps(given).encode() + b"\n" + pickled)
            mapped = len(job.arguments[0]) * self.size**2 if job.method == "attention" else 0
            return self._hear(process, name, _ROOM + _EACH * (len(self.order) + mapped))

    def _hear(self, process: Process, name: str, most: int) -> tuple[Arrays, dict[str, Any]]:
        """The answer, its arrays of `most` bytes; what else the process says until then is passed on. All of it may be
        hostile."""
        assert process.stdout is not None
        while line := process.stdout.readline(_LONGEST):
            told = _message(line, name)
            if "what" in told:
                self.report(told["what"], told["done"], told["total"])
            elif "failed" in told:
                raise _failure(name, told)
            elif "answer" in told:
                self.peaks.append(told["peak_memory_mb"])
                return _arrays(_read(process.stdout, told["bytes"], most, name), name), told["answer"]
            elif not told["fenced"]:
                _warn_once()
        code = process.wait()
        raise BenchError(
            f"the process of defense {name!r} ended with code {code}{' (-9: often for want of memory)' * (code == -9)} "
            "and no answer; the same command resumes from its last saved step"
        )


def _rows(verdict: Verdict, indices: NDArray[np.int64]) -> Verdict:
    """The verdict with the rows of its arrays at `indices`."""
    moved: dict[str, Any] = {name: values[indices] for name, values in verdict.arrays().items()}
    return replace(verdict, **moved)


_LONGEST = 1 << 26
"""Bytes of a message (the facts of a verdict are in one), at most."""
_LINE = 1 << 16
"""Characters that are passed on at a time."""
_ROOM, _EACH = 1 << 20, 256
"""Bytes of the arrays of an answer, at most: in all, and more for each image, or each pixel of a map."""
_UNREADABLE = (
    *(OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, IndexError, zipfile.BadZipFile),
    *(MemoryError, OverflowError, NotImplementedError, RecursionError, SyntaxError),
)
"""What zipfile and NumPy raise for damaged data."""
_MESSAGES: tuple[dict[str, type], ...] = (
    {"fenced": bool},
    {"what": str, "done": int, "total": int},
    {"failed": str, "undeclared": bool},
    {"failed": str, "trace": str},
    {"answer": dict, "bytes": int, "peak_memory_mb": float},
)
"""All that the process may say: the names and types of each message."""


def _message(line: bytes, name: str) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or {key: type(value) for key, value in told.items()} not in _MESSAGES:
        raise BenchError(f"the process of defense {name!r} said {line[:80]!r}, which is none of its messages")
    if any(type(value) is int and abs(value) > sys.maxsize for value in told.values()):
        raise BenchError(f"the process of defense {name!r} said {line[:80]!r}: a number too large to be a count")
    return {key: printable(value) if isinstance(value, str) else value for key, value in told.items()}


def _read(stream: IO[bytes], count: int, most: int, name: str) -> bytes:
    if not 0 <= count <= most:
        raise BenchError(f"the process of defense {name!r} announced {count} bytes, expected 0 to {most}")
    return stream.read(count)


def _arrays(data: bytes, name: str) -> Arrays:
    if not data:
        return {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as zipped:
            if any(each.compress_type != zipfile.ZIP_STORED for each in zipped.infolist()):
                raise ValueError("they are compressed: they could be of any size")
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except _UNREADABLE as error:
        raise BenchError(f"the process of defense {name!r} gave back arrays that cannot be read: {error}") from error


def _failure(name: str, told: Mapping[str, Any]) -> BenchError:
    if "trace" not in told:
        return UndeclaredNeed(told["failed"]) if told["undeclared"] else BenchError(told["failed"])
    return BenchError(f"defense {name!r} {told['failed']}\n{told['trace']}".rstrip())


@functools.cache
def _warn_once() -> None:
    log.warning(
        "this system has no Landlock (Linux 5.13 and later): a defense has a process of its own here, but the files of "
        "the store and of the data set are not closed to it (docs/no-peeking.md)"
    )


@contextlib.contextmanager
def _started(folder: Path, closed: Iterable[Path], threads: int, *, fork: bool = False) -> Iterator[Process]:
    """The process, in a session of its own, so that Ctrl-C reaches the harness alone; ended with the block.

    fork: it may be one that was forked (forks.py).
    """
    environment, own = {**_environment(closed), **thread_variables(threads)}, _own(folder)
    heard, errors = os.pipe()  # not the harness's own: that may be a file, to be cut off, or a terminal, to be read
    try:
        process = (forked(environment, own, folder, errors) if fork else None) or subprocess.Popen(
            [sys.executable, "-P", "-m", "bench.isolation.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            env={**environment, **own},
            start_new_session=True,
        )
    except OSError as error:
        os.close(heard)
        raise BenchError(
            f"no process can be started for the defense, by {sys.executable} in {folder}: {error.strerror}. Expected "
            "an interpreter and a store that this user may open, not below a folder that is closed to others"
        ) from error
    finally:
        os.close(errors)
    passing = threading.Thread(target=_pass_on, args=[heard], daemon=True)
    passing.start()
    try:
        yield process
    finally:
        if isinstance(process, subprocess.Popen) and hasattr(os, "killpg"):
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)  # with all that it has started
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        passing.join(1)  # what it has started and could hide may hold the pipe open


def _pass_on(heard: int) -> None:
    """Print to standard error what comes through a pipe, as plain text, until it ends."""
    with os.fdopen(heard, encoding="utf-8", errors="replace", newline=None) as lines:
        while text := lines.readline(_LINE):
            with contextlib.suppress(OSError, ValueError):  # it is full, or closed: the defense need not know
                sys.stderr.write(printable(text.expandtabs()))
                sys.stderr.flush()


def _send(process: Process, data: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended: what is heard of it says how
        process.stdin.write(data)
        process.stdin.flush()


def _environment(closed: Iterable[Path]) -> dict[str, str]:
    """The environment without what names the store, its caches or the data set; modules are found as they are here."""
    secrets = {str(path) for each in closed for path in (each, each.resolve())}
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BENCH_", "PWD", "OLDPWD")) and not any(secret in value for secret in secrets)
    }
    paths = os.pathsep.join(str(path) for path in _python_path() if os.path.exists(path))  # noqa: PTH110
    alone = {"JOBLIB_MULTIPROCESSING": "0"}  # it would try semaphores, which the fence refuses, and warn of that
    return {**kept, **alone, "PYTHONPATH": paths}


def _own(folder: Path) -> dict[str, str]:
    """What the environment says of the process's own folder; matplotlib warns where it finds none."""
    return dict.fromkeys(("TMPDIR", "TMP", "MPLCONFIGDIR"), str(folder))


def _python_path() -> list[Path]:
    return [Path(each).resolve() for each in sys.path]  # "" is the working folder, in a session


def _importable(closed: Iterable[Path]) -> Iterator[Path]:
    """The folders of Python's path that hold nothing closed, where links in them lead to, and those of the harness."""
    shut = [each.resolve() for each in closed]
    for path in _python_path():
        yield from (
            each for each in (path, *_linked(path, shut)) if not any(file.is_relative_to(each) for file in shut)
        )
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        yield from map(Path, (spec and spec.submodule_search_locations) or ())


def _linked(folder: Path, shut: Sequence[Path]) -> Iterator[Path]:
    """The real folders of the packages in `folder` that are links, whole or file by file (as uv can install them), but
    those in what is shut; none of one that cannot be listed: it is not there, no folder, or closed to this user and so
    to the process."""
    try:
        entries = list(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        face = entry / "__init__.py"
        real = face.resolve().parent if os.path.isfile(face) else entry.resolve()  # noqa: PTH113 - is_file() can raise
        if real != entry and not any(real.is_relative_to(each) for each in shut):
            yield real


def _code(module: str) -> list[Path]:
    """The folder of the outermost package around `module` that has one of its own, or the module's file."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        file = getattr(sys.modules.get(".".join(parts[:count])), "__file__", None)
        if file is not None:
            return [Path(file).parent if Path(file).name == "__init__.py" else Path(file)]
    return []
