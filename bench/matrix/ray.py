"""The engine of Ray: stages as tasks, on this machine or on all machines of a cluster."""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from bench.matrix.graph import Fault, Job, Node, Outcome, Report
from bench.pipeline.stage import Machine

from .cluster import check_shared, connect, most, room_for, uses_gpus
from .needs import Needs, stage_needs
from .perform import attempt

_PATIENCE = 1.0  # seconds between two looks for Ctrl-C
_PAUSE = 0.2  # seconds between two messages of a worker
_BEGAN, _PROGRESS, _ENDED = "began", "progress", "ended"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which Ray: the cluster at `address` (None: one of its own on this machine), how many stages at a time (None: as
    many as have room), and changes to what a stage takes (see needs.stage_needs)."""

    address: str | None = None
    jobs: int | None = None
    resources: Sequence[str] = ()

    def open(self, store: Path, machine: Machine) -> RayEngine:
        """Connect. Raises BenchError: no Ray, no cluster, no room for a stage, or a store that is not shared."""
        needs = stage_needs(machine, False, self.resources)  # before Ray is started: it may be misspelt
        ray = connect(self.address, most(needs.values(), self.jobs))
        try:
            needs = stage_needs(machine, uses_gpus(ray, machine.accelerator), self.resources)
            room = room_for(ray, needs)
            if self.address is not None:
                check_shared(ray, store)
        except BaseException:
            ray.shutdown()
            raise
        return RayEngine(ray, needs, self.jobs or room)


class RayEngine:
    """Each stage is one task. A worker or a machine that is lost takes its stages with it; the graph begins them
    again (graph.TRIES), and the store has their checkpoints."""

    def __init__(self, ray: Any, needs: dict[str, Needs], slots: int) -> None:
        self.slots = slots
        self.places: dict[Node, tuple[str, int]] = {}
        """Where each running node is made: name of the machine, process id."""
        self._ray, self._needs = ray, needs
        self._task = ray.remote(max_retries=0, num_returns="streaming")(make)
        self._running: dict[Any, tuple[Node, float]] = {}

    def start(self, node: Node) -> None:
        """Hand it to Ray, which begins it where there is room."""
        needs = self._needs[node.stage.name]
        task = self._task.options(num_cpus=needs.cpus, num_gpus=needs.gpus, name=node.stage.title)
        self._running[task.remote(node.job, needs.threads)] = node, time.monotonic()

    def wait(self, report: Report) -> Outcome:
        """Until a stage is made, fails or is lost."""
        while True:
            ready, _ = self._ray.wait(list(self._running), timeout=_PATIENCE)
            for stream in ready:
                outcome = self._hear(stream, report)
                if outcome is not None:
                    return outcome

    def _hear(self, stream: Any, report: Report) -> Outcome | None:
        """One message of a task; None where it was no end."""
        node, began = self._running[stream]
        kind, told = self._next(stream)
        if kind == _BEGAN:
            self.places[node] = told
            return None
        if kind == _PROGRESS:
            report(node, *told)
            return None
        del self._running[stream]
        self.places.pop(node, None)
        return Outcome(node, time.monotonic() - began, told)

    def _next(self, stream: Any) -> tuple[str, Any]:
        errors = self._ray.exceptions
        try:
            kind, told = self._ray.get(next(stream))
        except errors.RayTaskError as error:  # what a stage raises comes as a message: here the task never began
            said = str(error).strip()
            return _ENDED, Fault(f"its Ray worker cannot begin: {said.splitlines()[-1]}", trace=said)
        except (errors.RayError, StopIteration) as error:
            said = str(error).strip().partition("\n")[0]
            return _ENDED, Fault(f"its Ray worker was lost ({type(error).__name__}: {said})", lost=True)
        return kind, told

    def close(self) -> None:
        """End what still runs, and a Ray of our own; it all goes on when the command is given again."""
        for stream in self._running:
            with contextlib.suppress(Exception):
                self._ray.cancel(stream, force=True)
        self._running.clear()
        self._ray.shutdown()


def make(job: Job, threads: int) -> Iterator[tuple[str, Any]]:
    """On a worker: make the job's stage with so many threads. Yields where it is made, progress, and its fault at last
    (None where there is none)."""
    told: SimpleQueue[tuple[str, Any]] = SimpleQueue()
    yield _BEGAN, (platform.node(), os.getpid())
    threading.Thread(target=_make, args=(job, threads, told), daemon=True).start()
    while True:
        message = told.get()
        yield message
        if message[0] == _ENDED:
            return


def _make(job: Job, threads: int, told: SimpleQueue[tuple[str, Any]]) -> None:
    fault: Fault | None = Fault("its worker ended without a reason")
    try:
        _use_threads(threads)
        fault = attempt(job, Slowly(lambda *news: told.put((_PROGRESS, news))))
    finally:
        told.put((_ENDED, fault))


def _use_threads(count: int) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(count)  # for faiss, and for processes that a training begins
    import torch

    torch.set_num_threads(count)


class Slowly:
    """Passes progress on a few times a second; the first and the last of each kind always."""

    def __init__(self, report: Any) -> None:
        self._report, self._what, self._last = report, "", 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self._what or done == total or now - self._last >= _PAUSE:
            self._what, self._last = what, now
            self._report(what, done, total)
