"""Engines make the stages of a graph: in this process, or in several processes of this machine (Ray: ray.py)."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from bench.errors import BenchError
from bench.parallel.nodes import environment
from bench.parallel.threads import thread_variables
from bench.pipeline.runner import make_stage
from bench.pipeline.stage import Machine, Stage
from bench.plugins.from_file import load_plugins
from bench.store import Store

from .cell import RunContext
from .graph import Fault, Job, Node

Progress = tuple[str, str, int, int]
"""(key of a stage, what, done, total): `done` of `total` units of `what` are through."""
Hear = Callable[[str, str, int, int], None]
_PAUSE = 0.2  # seconds between two reports of progress


class Engine:
    """Makes up to `slots` stages at a time. For each, a thread of this process waits for whoever makes it."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._threads = ThreadPoolExecutor(slots)
        self._news: SimpleQueue[Progress] = SimpleQueue()

    def submit(self, node: Node, hear: Hear) -> Future[Fault | None]:
        """Begin to make a stage, all of whose inputs are in the store. The future says why that failed, or None."""
        return self._threads.submit(self.make, node, lambda *news: self._news.put(news))

    def poll(self, hear: Hear) -> None:
        """Pass on, in this thread, the progress that was reported since."""
        while not self._news.empty():
            hear(*self._news.get())

    def make(self, node: Node, hear: Hear) -> Fault | None:
        """Have the node's stage made; why that failed, or None."""
        raise NotImplementedError

    def close(self) -> None:
        """End what still runs; it resumes when the command is given again."""
        self._threads.shutdown()


class InProcess(Engine):
    """Makes one stage after the other in this process."""

    def __init__(self) -> None:
        super().__init__(slots=1)

    def submit(self, node: Node, hear: Hear) -> Future[Fault | None]:
        """Make the stage now, in the main thread: Ctrl-C stops it."""
        future: Future[Fault | None] = Future()
        future.set_result(self.make(node, hear))
        return future

    def make(self, node: Node, hear: Hear) -> Fault | None:
        """See Engine."""
        return attempt(lambda: node.stage, Store(Path(node.job.store)), hear)


class ProcessPool(Engine):
    """Makes each stage in a process, which is kept for the next stage. One that dies is replaced.

    A stage computes there with the threads of its key, as everywhere; what is no stage (to load a data set) with one.
    """

    def __init__(self, slots: int) -> None:
        super().__init__(slots)
        self._idle: list[tuple[Any, Connection]] = []
        self._started: list[Any] = []
        self._closed = False
        self._lock = threading.Lock()

    def make(self, node: Node, hear: Hear) -> Fault | None:
        """See Engine."""
        process, pipe = self._idle.pop() if self._idle else self._start()
        try:
            pipe.send(node.job)
            while isinstance(message := pipe.recv(), tuple):
                hear(*message)
        except (EOFError, OSError):
            process.join()
            code = process.exitcode
            how = f"by signal {-code} (9: often for want of memory)" if code < 0 else f"with code {code}"
            return Fault(f"its worker process ended {how}", lost=True)
        self._idle.append((process, pipe))
        fault: Fault | None = message
        return fault

    def _start(self) -> tuple[Any, Connection]:
        context = multiprocessing.get_context("spawn")
        with self._lock, environment(thread_variables(1)):
            pipe, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,))
            process.start()
            theirs.close()
            self._started.append(process)
            if self._closed:
                process.kill()
        return process, pipe

    def close(self) -> None:
        """See Engine."""
        with self._lock:
            self._closed = True
            for process in self._started:
                process.kill()
        super().close()


def _serve(pipe: Connection) -> None:
    """A worker's life: jobs until the pipe is closed. Where the other side has gone, it ends with its next report."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that gives out the work
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(attempt_job(pipe.recv(), lambda *progress: pipe.send(progress)))


# --- making one stage, in whichever process ---------------------------------------------------------


def attempt(find: Callable[[], Stage], store: Store, hear: Hear) -> Fault | None:
    """Make the stage that `find` returns, unless it is in the store; why that failed, or None.

    Progress is passed on a few times a second, and at the end of each part.
    """
    last = 0.0

    def notify(event: str, **facts: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if event == "stage_progress" and (facts["done"] == facts["total"] or now - last >= _PAUSE):
            last = now
            hear(facts["key"], facts["what"], facts["done"], facts["total"])

    try:
        make_stage(find(), store, notify)
    except Exception as error:
        return Fault.of(error)
    return None


def attempt_job(job: Job, hear: Hear) -> Fault | None:
    """As `attempt`, in a process that has only the job."""
    return attempt(lambda: _stage(job), Store(Path(job.store)), hear)


def _stage(job: Job) -> Stage:
    pipeline = _context(job.store, job.machine, job.cell.plugins).pipeline(job.cell)
    for stage in pipeline.stages():
        if stage.key == job.key:
            return stage
    raise BenchError(
        f"a worker finds no stage {job.name} {job.key[:12]} in {job.cell.title}: does it have another version of "
        "the benchmark, of a plugin or of the data?"
    )


@functools.cache
def _context(store: str, machine: Machine, files: tuple[str, ...]) -> RunContext:
    """Plugins and datasets are loaded once for all jobs of a process."""
    return RunContext(Store(Path(store)), machine, load_plugins([Path(file) for file in files]))
