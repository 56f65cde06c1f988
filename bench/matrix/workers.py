"""The engine of several processes on this machine, one thread each."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from bench.matrix.graph import Fault, Node, Outcome, Report

from .perform import attempt

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_GRACE = 5.0  # seconds that a process gets to end


class Workers:
    """Up to `slots` worker processes, begun when first needed. A worker that dies is replaced; its stage is lost."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, _Worker] = {}

    def start(self, node: Node) -> None:
        """Hand it to an idle worker."""
        worker = self._idle.pop() if self._idle else _Worker()
        try:
            worker.take(node)
        except OSError:  # it died while it had nothing to do
            worker.end()
            worker = _Worker()
            worker.take(node)
        self._busy[worker.pipe] = worker

    def wait(self, report: Report) -> Outcome:
        """Until a worker is done, fails or dies."""
        while True:
            for pipe in wait(list(self._busy)):
                outcome = self._hear(self._busy[pipe], report)  # type: ignore[index]
                if outcome is not None:
                    return outcome

    def _hear(self, worker: _Worker, report: Report) -> Outcome | None:
        """One message of a worker; None where it was only progress."""
        node, seconds = worker.node, time.monotonic() - worker.began
        try:
            kind, told = worker.pipe.recv()
        except (EOFError, OSError):
            del self._busy[worker.pipe]
            return Outcome(node, seconds, Fault(worker.end(), lost=True))
        if kind == "progress":
            report(node, *told)
            return None
        self._idle.append(self._busy.pop(worker.pipe))
        return Outcome(node, seconds, told)

    def close(self) -> None:
        """End all workers; what they were making goes on when the command is given again."""
        for worker in [*self._idle, *self._busy.values()]:
            worker.end()
        self._idle, self._busy = [], {}


class _Worker:
    """One process and the pipe to it."""

    node: Node
    began: float

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: Any = context.Process(target=_work, args=(theirs,))
        with _one_thread():
            self.process.start()
        theirs.close()

    def take(self, node: Node) -> None:
        self.node, self.began = node, time.monotonic()
        self.pipe.send(node.job)

    def end(self) -> str:
        """Make sure that it has ended; how it did."""
        self.pipe.close()
        self.process.join(0.5 if self.process.is_alive() else None)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(_GRACE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode
        how = f"by signal {-code} (9: often for want of memory)" if code and code < 0 else f"with code {code}"
        return f"its worker process ended {how}"


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Processes begun meanwhile have one thread each."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _work(pipe: Connection) -> None:
    """A worker's life: jobs until the pipe is closed. Where the other side has gone, it ends with its next report."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that gives out the work
    with contextlib.suppress(EOFError, OSError):
        while True:
            fault = attempt(pipe.recv(), lambda *told: pipe.send(("progress", told)))
            pipe.send(("ended", fault))
