"""Processes for defenses that begin in milliseconds: forked from one that has the libraries loaded.

To import torch and timm takes longer than many a filter, and a matrix asks hundreds. The first that a harness asks has
a process started for it (process.py). For those after it one process, the nursery, imports the libraries and nothing
else, and is forked for each: it is never handed a job, so that there is nothing of an earlier one in it. Every fork
closes the fence around itself, as a process that is started does. On Linux, and where one thread computes on the CPU:
a process with threads, or with a GPU in use, had better not be forked.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NoReturn

LOADED = ("numpy", "timm", "bench.isolation.job", "bench.ssl.encoder")
"""What the nursery imports. None of it starts a thread while one thread computes."""
_LONGEST, _READY = 1 << 20, b"ready"  # bytes of a request; what the nursery says once

_lock = threading.Lock()
_nurseries: dict[tuple[object, ...], Nursery | None] = {}


def forked(environment: Mapping[str, str], own: Mapping[str, str], folder: Path) -> Forked | None:
    """A process like one started with `environment` and `own`, what is for this one alone, in `folder`. None where
    there is no nursery with this environment: the first time, and where one cannot be had."""
    key = (os.getpid(), sys.executable, *sorted(environment.items()))
    with _lock:
        if sys.platform != "linux" or key not in _nurseries:
            _nurseries[key] = None
            return None
        nursery = _nurseries[key] or Nursery(environment)
        _nurseries[key] = nursery
    return nursery.fork(own, folder)


class Forked:
    """What process.py needs of a subprocess.Popen."""

    def __init__(self, stdin: IO[bytes], stdout: IO[bytes], watcher: socket.socket) -> None:
        self.stdin, self.stdout, self._watcher = stdin, stdout, watcher
        self._code: int | None = None

    def wait(self) -> int:
        """Its exit code, when it has ended; as Popen's."""
        if self._code is None:
            said = b""
            while not said.endswith(b"\n") and (more := self._watcher.recv(64)):
                said += more
            self._code = int(said or -signal.SIGKILL)
            self._watcher.close()
        return self._code

    def kill(self) -> None:
        """End it, with all that it has started."""
        if self._code is None:
            with contextlib.suppress(OSError):
                self._watcher.shutdown(socket.SHUT_WR)


class Nursery:
    """A process with the libraries loaded. It ends with this one, which it has one end of a socket from."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._asks, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ready, self._lock = False, threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "bench.isolation.forks", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
                env=dict(environment),
                start_new_session=True,
            )

    def close(self) -> None:
        """End it, and what it has forked goes on."""
        self._asks.close()
        self._process.wait()

    def fork(self, own: Mapping[str, str], folder: Path) -> Forked | None:
        """None where the nursery has ended, or will not do."""
        with self._lock:
            self._ready = self._ready or self._asks.recv(64) == _READY
        if not self._ready:
            return None
        (given, stdin), (stdout, taken) = os.pipe(), os.pipe()
        ours, theirs = socket.socketpair()
        try:
            asked = json.dumps({"own": dict(own), "folder": str(folder)}).encode()
            socket.send_fds(self._asks, [asked], [given, taken, theirs.fileno()])
        except OSError:
            for handle in (stdin, stdout):
                os.close(handle)
            ours.close()
            return None
        finally:
            for handle in (given, taken):
                os.close(handle)
            theirs.close()
        return Forked(os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb"), ours)


# --- in the nursery ---------------------------------------------------------------------------------


def main() -> None:
    """Import what there is to import, and fork until the harness has ended."""
    for name in LOADED:
        importlib.import_module(name)
    if not _fit():
        return
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a watcher
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        asked.send(_READY)
        while True:
            message, handles, _, _ = socket.recv_fds(asked, _LONGEST, 3)
            if not message:
                return
            if os.fork() == 0:
                asked.close()
                (given, taken, told), what = handles, json.loads(message)
                _watch(given, taken, told, what["own"], what["folder"])
            for handle in handles:
                os.close(handle)


def _fit() -> bool:
    """Whether this process can be forked: it has one thread, and the system (Linux 5.3, in a container that allows it)
    tells when another ends."""
    try:
        os.close(os.pidfd_open(os.getpid()))
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        return False


def _watch(given: int, taken: int, told: int, own: Mapping[str, str], folder: str) -> NoReturn:
    """Fork the process, wait until it ends or the harness wants that or has ended, and say its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(told)
        _become(given, taken, own, folder)
    os.close(given)
    os.close(taken)
    with socket.socket(fileno=told) as harness, contextlib.suppress(OSError):
        select.select([os.pidfd_open(pid), told], [], [])
        for end in (os.killpg, os.kill):  # with all that it has started; it may be no group yet
            with contextlib.suppress(OSError):
                end(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        harness.sendall(f"{code}\n".encode())
    os._exit(0)


def _become(given: int, taken: int, own: Mapping[str, str], folder: str) -> NoReturn:
    """The process of a defense, as if it had been started."""
    import numpy as np

    from .worker import main as work

    try:
        os.setsid()
        for ours, standard in ((given, 0), (taken, 1)):
            os.dup2(ours, standard)
            os.close(ours)
        os.chdir(folder)
        os.environ.update(own)
        # As in a new process: a folder for temporary files of its own, and numbers that no other draws.
        tempfile.tempdir = None
        np.random.seed()  # noqa: NPY002
        work()
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
