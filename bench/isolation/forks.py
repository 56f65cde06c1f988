"""Processes for defenses that begin in milliseconds: forked from one that has the libraries loaded.

To import torch and timm takes longer than many a filter, and a matrix asks hundreds. The first that a harness asks has
a process started for it (process.py). For those after it one process, the nursery, imports the libraries and nothing
else, and is forked for each: it is never handed a job, so that there is nothing of an earlier one in it. Every fork
closes the fence around itself, as a process that is started does. On Linux, and where one thread computes on the CPU:
a process with threads, or with a GPU in use, had better not be forked.
"""

from __future__ import annotations

import atexit
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
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NoReturn

LOADED = ("timm", "bench.isolation.job")
"""What the nursery imports. None of it starts a thread while one thread computes."""
_LONGEST, _READY = 1 << 20, b"ready"  # bytes of a request; what the nursery says once

_lock = threading.Lock()
_nurseries: dict[tuple[object, ...], Nursery | None] = {}


def forked(environment: Mapping[str, str], own: Mapping[str, str], folder: Path, errors: int) -> Forked | None:
    """A process like one started with `environment` and `own`, what is for this one alone, in `folder`, the file
    `errors` its standard error. None where there is no nursery with this environment: the first time, and where one
    cannot be had."""
    key = (os.getpid(), sys.executable, *sorted(environment.items()))
    with _lock:
        if sys.platform != "linux" or key not in _nurseries:
            _nurseries[key] = None
            return None
        nursery = _nurseries[key]
        if nursery is None:
            close_all()  # one is kept: each holds some 400 MiB
            nursery = _nurseries[key] = Nursery(environment)
    return nursery.fork(own, folder, errors)


@atexit.register
def close_all() -> None:
    """End those of this process, which would end with it by themselves."""
    for key, nursery in _nurseries.items():
        if nursery is not None and key[0] == os.getpid():
            nursery.close()
            _nurseries[key] = None


class Forked:
    """What process.py needs of a subprocess.Popen."""

    def __init__(self, stdin: IO[bytes], stdout: IO[bytes], watcher: socket.socket) -> None:
        self.stdin, self.stdout, self._watcher = stdin, stdout, watcher
        self._says = watcher.makefile("rb")
        self._code: int | None = None

    def wait(self) -> int:
        """Its exit code, when it has ended; as Popen's."""
        if self._code is None:
            pid, code = self._says.readline(), self._says.readline()
            if pid and not code:  # its watcher was killed, and nobody else has waited for it
                _end(int(pid))
            self._code = int(code or -signal.SIGKILL)
            self._says.close()
            self._watcher.close()
        return self._code

    def kill(self) -> None:
        """End it, with all that it has started."""
        if self._code is None:
            with contextlib.suppress(OSError):
                self._watcher.shutdown(socket.SHUT_WR)


def _end(pid: int) -> None:
    """End a process and its group; it may be no group yet."""
    for end in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            end(pid, signal.SIGKILL)


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
        """End it; what it has forked goes on."""
        self._asks.close()
        self._process.kill()
        self._process.wait()

    def fork(self, own: Mapping[str, str], folder: Path, errors: int) -> Forked | None:
        """None where the nursery has ended, or will not do."""
        with self._lock, contextlib.suppress(OSError):
            self._ready = self._ready or self._asks.recv(64) == _READY
        if not self._ready:
            return None
        (given, stdin), (stdout, taken) = os.pipe(), os.pipe()
        ours, theirs = socket.socketpair()
        try:
            asked = json.dumps({"own": dict(own), "folder": str(folder)}).encode()
            socket.send_fds(self._asks, [asked], [given, taken, errors, theirs.fileno()])
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
    environment = dict(os.environ)  # as it was given: an import may add to it
    for name in LOADED:
        importlib.import_module(name)
    if not _fit():
        return
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a watcher
    with socket.socket(fileno=int(sys.argv[1])) as asked, contextlib.suppress(ConnectionError):
        asked.send(_READY)
        while True:
            message, handles, _, _ = socket.recv_fds(asked, _LONGEST, 4)
            if not message:
                return
            with contextlib.suppress(OSError):  # no memory for another: the harness hears the end of it
                if os.fork() == 0:
                    asked.close()
                    (given, taken, errors, told), what = handles, json.loads(message)
                    _watch((given, taken, errors), told, environment | what["own"], what["folder"])
            for handle in handles:
                os.close(handle)


def _fit() -> bool:
    """Whether this process can be forked: it has one thread, and the system (Linux 5.3, in a container that allows it)
    tells when another ends."""
    try:
        os.close(os.pidfd_open(os.getpid()))
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except (OSError, AttributeError):
        return False


def _watch(standard: tuple[int, int, int], told: int, environment: Mapping[str, str], folder: str) -> NoReturn:
    """Fork the process, wait until it ends or the harness wants that or has ended, and say its number and exit code."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        pid = os.fork()
        if pid == 0:
            os.close(told)
            _become(standard, environment, folder)
        for handle in standard:
            os.close(handle)
        with socket.socket(fileno=told) as harness, contextlib.suppress(ConnectionError):
            harness.sendall(f"{pid}\n".encode())
            select.select([os.pidfd_open(pid), told], [], [])
            _end(pid)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            harness.sendall(f"{code}\n".encode())
    finally:
        os._exit(0)


def _become(standard: tuple[int, int, int], environment: Mapping[str, str], folder: str) -> NoReturn:
    """The process of a defense, as if it had been started."""
    try:
        os.setsid()
        for number, handle in enumerate(standard):
            os.dup2(handle, number)
            os.close(handle)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        import numpy as np

        from .worker import main as work

        # As in a new process: a folder for temporary files of its own, and numbers that no other draws.
        tempfile.tempdir = None
        np.random.seed()  # noqa: NPY002
        work()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
