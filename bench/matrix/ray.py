"""The engine of Ray: each stage is a task, on this machine or on any machine of a cluster."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from bench.errors import BenchError, nearest
from bench.parallel.nodes import settled
from bench.pipeline.stage import VERSIONS, Machine
from bench.store import write_bytes, writing

from .engine import Engine, Hear, Progress, attempt_job
from .graph import Fault, Job, Node

Resources = dict[str, float]
"""What a stage takes or a machine has, by Ray's names: {"CPU": 4, "GPU": 0.5}. Half a GPU: two share one."""
_CHANGE = re.compile(r"\w+\.(cpu|gpu)s=(\d+(?:\.0*)?|0?\.\d+)")
_LIGHT = ("poison", "control", "import")  # they compute next to nothing
_PAUSE = 1.0  # seconds between two looks whether the engine is closed
_PATIENCE = 10.0  # seconds that a file written here may take to be seen elsewhere


@dataclass(frozen=True, kw_only=True)
class RayOptions:
    """Which Ray makes the stages: the cluster at `address` (None: one of its own on this machine), how many stages at a
    time (None: as many as there is room for), and changes to what a stage takes (see `stage_resources`)."""

    address: str | None = None
    jobs: int | None = None
    changes: Sequence[str] = ()

    def open(self, store: Path, machine: Machine, threads: int = 1) -> RayEngine:
        """Connect. threads: the most that a stage computes with.

        Raises BenchError: no Ray, no cluster, no room for a stage, or a store that is not shared.
        """
        needs = stage_resources(machine, False, self.changes, threads)  # before Ray is started: it may be misspelt
        ray = connect(self.address, self.jobs and math.ceil(self.jobs * _largest(needs)["CPU"]))
        try:
            rooms = [each["Resources"] for each in ray.nodes() if each["Alive"]]
            gpus = machine.accelerator == "auto" and any(room.get("GPU") for room in rooms)
            needs = stage_resources(machine, gpus or machine.accelerator in ("cuda", "gpu"), self.changes, threads)
            slots = room_for(rooms, needs)
            if self.address is not None:
                check_shared(ray, store)
        except BaseException:
            ray.shutdown()
            raise
        return RayEngine(self.jobs or slots, ray, needs)


class RayEngine(Engine):
    """A worker or a machine that is lost takes its stages with it; they are begun again from their checkpoints."""

    def __init__(self, slots: int, ray: Any, needs: Mapping[str, Resources]) -> None:
        super().__init__(slots)
        self._ray, self._needs, self._closed = ray, needs, False
        self._task = ray.remote(max_retries=0, num_returns="streaming")(make)

    def make(self, node: Node, hear: Hear) -> Fault | None:
        """See Engine. Ray begins the task where there is room."""
        needs, errors = self._needs[node.stage.name], self._ray.exceptions
        task = self._task.options(num_cpus=needs["CPU"], num_gpus=needs["GPU"], name=node.stage.title)
        stream = task.remote(node.job)
        try:
            while not self._closed:
                if self._ray.wait([stream], timeout=_PAUSE)[0]:
                    message = self._ray.get(next(stream))
                    if not isinstance(message, tuple):
                        fault: Fault | None = message
                        return fault
                    hear(*message)
        except errors.RayTaskError as error:  # not of the stage: that comes as a Fault
            text = str(error).strip()
            return Fault(f"its Ray worker failed: {text.splitlines()[-1]}", trace=text)
        except (errors.RayError, StopIteration) as error:
            text = str(error).strip().partition("\n")[0]
            return Fault(f"its Ray worker was lost ({type(error).__name__}: {text})", lost=True)
        with contextlib.suppress(errors.RayError):
            self._ray.cancel(stream, force=True)
        return Fault("it was stopped")

    def close(self) -> None:
        """End what still runs, and a Ray of our own."""
        self._closed = True
        super().close()
        self._ray.shutdown()


def make(job: Job) -> Iterator[Progress | Fault | None]:
    """On a worker: make the job's stage. Yields its progress, and at last its fault or None."""
    messages: SimpleQueue[Progress | None] = SimpleQueue()
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(attempt_job, job, lambda *progress: messages.put(progress))
        made.add_done_callback(lambda _: messages.put(None))
        while (message := messages.get()) is not None:
            yield message
        yield made.result()


# --- what a stage takes -----------------------------------------------------------------------------


def stage_resources(
    machine: Machine, gpus: bool, changes: Sequence[str] = (), threads: int = 1
) -> dict[str, Resources]:
    """What each kind of stage takes: one CPU; what computes takes one for each of its `threads`, and where `gpus` are
    used one GPU; a training takes as many of each as it has devices. `changes`: texts like "pretrain.cpus=4", which
    change how many stages have room, not the threads that one computes with.

    Raises BenchError for a text that cannot be used.
    """
    found = {}
    for stage in VERSIONS:
        devices = float(machine.devices) if stage == "pretrain" else 1.0
        computes = stage not in _LIGHT
        found[stage] = {"CPU": devices * (threads if computes else 1), "GPU": devices if gpus and computes else 0.0}
    for text in changes:
        stage, found_as = text.partition(".")[0].strip(), _CHANGE.fullmatch(text.replace(" ", ""))
        if stage not in VERSIONS:
            raise BenchError(f"--resources {text}: there is no stage {stage!r}.{nearest(stage, list(VERSIONS))}")
        if found_as is None:
            amount = "a whole number, or a share between 0 and 1"
            raise BenchError(f"--resources {text}: expected {stage}.cpus=NUMBER or {stage}.gpus=NUMBER, {amount}")
        found[stage][found_as[1].upper()] = float(found_as[2])
    return found


def _largest(needs: Mapping[str, Resources]) -> Resources:
    """What has room for any of the stages."""
    return {name: max(need[name] for need in needs.values()) for name in ("CPU", "GPU")}


def _fits(need: Resources, room: Mapping[str, float]) -> int:
    """How many at a time have room in these resources."""
    return min((int(room.get(name, 0.0) / amount) for name, amount in need.items() if amount), default=1)


def room_for(rooms: Sequence[Mapping[str, float]], needs: Mapping[str, Resources]) -> int:
    """How many stages, whichever they are, machines with these resources can make at a time.

    Raises BenchError where a stage has room on none of the machines.
    """

    def words(room: Mapping[str, float]) -> str:
        return f"{room.get('CPU', 0):g} CPUs and {room.get('GPU', 0):g} GPUs"

    for stage, need in needs.items():
        if not any(_fits(need, room) for room in rooms):
            raise BenchError(
                f"a {stage} stage takes {words(need)}, and no machine of the cluster has them "
                f"({'; '.join(map(words, rooms))}): see --resources {stage}.cpus=1 and {stage}.gpus=0"
            )
    return max(1, sum(_fits(_largest(needs), room) for room in rooms))


# --- the cluster ------------------------------------------------------------------------------------


def connect(address: str | None, cpus: int | None) -> Any:
    """The module `ray`, connected to the cluster at `address`; None: a Ray of its own on this machine, with so many
    CPUs (None: all there are). Raises BenchError where Ray or the cluster is not there."""
    try:
        import ray
    except ImportError as error:
        raise BenchError(
            "the engine 'ray' needs Ray, which is not installed here: pip install \"ssl-backdoor-bench[ray]\""
        ) from error
    if address is not None and address.startswith("ray://"):
        raise BenchError(
            f"--ray-address {address}: run the command on a machine of the cluster and give the address of its "
            "head, like 10.0.0.1:6379, or auto"
        )
    own: dict[str, Any] = {"address": "local", "num_cpus": cpus, "include_dashboard": False}
    try:
        ray.init(**({"address": address} if address else own), log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray has many for this
        text = str(error).strip().partition("\n")[0]
        raise BenchError(f"cannot reach a Ray cluster at {address or 'this machine'!r}: {text}") from error
    return ray


def check_shared(ray: Any, store: Path) -> None:
    """Raises BenchError naming the machines of the cluster that do not see in `store` what is written here."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    token, found = store / ".locks" / f"probe-{uuid.uuid4().hex}", {}
    write_bytes(token, b"")
    try:
        for each in ray.nodes():
            if each["Alive"]:
                there = NodeAffinitySchedulingStrategy(each["NodeID"], soft=False)
                task = ray.remote(num_cpus=0, max_retries=1, scheduling_strategy=there)(sees)
                found[str(each["NodeManagerAddress"])] = task.remote(str(token))
        blind = sorted(address for address, answer in found.items() if not ray.get(answer))
    finally:
        with writing(store):
            token.unlink(missing_ok=True)
    if blind:
        raise BenchError(
            f"the store {store} is not shared by all machines of the cluster: {', '.join(blind)} cannot use it. Name a "
            "folder on a file system that every machine mounts at the same place: --store /shared/store, or BENCH_STORE"
        )


def sees(token: str, patience: float = _PATIENCE) -> bool:
    """On some machine: whether this file is seen and its folder can be written."""
    path = Path(token)
    return bool(settled(path.exists, patience)) and os.access(path.parent, os.W_OK)
