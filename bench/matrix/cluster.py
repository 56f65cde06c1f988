"""A Ray cluster: connecting to it, how much room it has, and whether its machines share the store."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.store import write_bytes, writing

from .needs import Needs, largest

log = logging.getLogger("bench.matrix.executors")

_PATIENCE = 10.0  # seconds that a file written here may take to be seen elsewhere
INSTALL = 'pip install "ssl-backdoor-bench[ray]"'


def import_ray() -> Any:
    """The module `ray`. Raises BenchError where it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise BenchError(f"the engine 'ray' needs Ray, which is not installed here: {INSTALL}") from error
    return ray


def connect(address: str | None, cpus: float | None) -> Any:
    """The module `ray`, connected to the cluster at `address`; None: a Ray of its own on this machine, with so many
    CPUs (None: as many as there are). Raises BenchError where there is no such cluster."""
    ray = import_ray()
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _own_sigterm():
        if address is None:
            count = None if cpus is None else math.ceil(cpus)
            ray.init(address="local", num_cpus=count, include_dashboard=False, **quiet)
            return ray
        if address.startswith("ray://"):
            raise BenchError(
                f"--ray-address {address}: run the command on a machine of the cluster and give the address of its "
                "head, like 10.0.0.1:6379, or auto"
            )
        try:
            ray.init(address=address, **quiet)
        except Exception as error:  # Ray has many for this
            text = str(error).strip().partition("\n")[0]
            raise BenchError(f"cannot reach a Ray cluster at {address!r}: {text}") from error
    return ray


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray takes the handler of SIGTERM for itself; put it back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def machines(ray: Any) -> list[dict[str, Any]]:
    """What Ray tells of each machine that is there: NodeID, NodeManagerAddress, Resources ..."""
    return [each for each in ray.nodes() if each["Alive"]]


def room_for(ray: Any, needs: Mapping[str, Needs]) -> int:
    """How many stages, whichever they are, the cluster can make at a time.

    Raises BenchError where a stage has room on none of the machines.
    """
    rooms = [each["Resources"] for each in machines(ray)]
    for stage, need in needs.items():
        if not any(need.fits(room) for room in rooms):
            have = "; ".join(_room(room) for room in rooms)
            raise BenchError(
                f"a {stage} stage takes {need}, and no machine of the cluster has them ({have}): "
                f"see --resources {stage}.cpus=1 and {stage}.gpus=0"
            )
    return max(1, sum(largest(needs.values()).fits(room) for room in rooms))


def _room(room: Mapping[str, float]) -> str:
    return f"{room.get('CPU', 0):g} CPUs and {room.get('GPU', 0):g} GPUs"


def check_shared(ray: Any, store: Path) -> None:
    """Raises BenchError naming the machines of the cluster that do not see in `store` what is written here; warns of
    those that do not see its locks."""
    from filelock import FileLock

    folder = store / ".locks"
    token = folder / f"probe-{uuid.uuid4().hex}"
    write_bytes(token, b"")
    try:
        with FileLock(token.with_suffix(".lock")):
            found = _look_everywhere(ray, str(token))
    finally:
        for left in (token, token.with_suffix(".lock")):
            with writing(store):
                left.unlink(missing_ok=True)
    _judge(store, found)


def _judge(store: Path, found: Mapping[str, str]) -> None:
    blind = sorted(name for name, what in found.items() if what not in ("", "unlocked"))
    if blind:
        raise BenchError(
            f"the store {store} is not shared by all machines of the cluster: {', '.join(blind)} "
            f"({found[blind[0]]}). Name a folder on a file system that every machine mounts at the same place: "
            "--store /shared/store, or BENCH_STORE"
        )
    unlocked = sorted(name for name, what in found.items() if what == "unlocked")
    if unlocked:
        log.warning(
            "file locks in the store %s do not reach %s: let no second command use it meanwhile",
            *(store, ", ".join(unlocked)),
        )


def _look_everywhere(ray: Any, token: str) -> dict[str, str]:
    """What `look` says on each machine, by address."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(num_cpus=0, max_retries=1)(look)
    asked = {
        str(each["NodeManagerAddress"]): remote.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(each["NodeID"], soft=False)
        ).remote(token)
        for each in machines(ray)
    }
    return {address: _answer(ray, reference) for address, reference in asked.items()}


def _answer(ray: Any, reference: Any) -> str:
    try:
        return str(ray.get(reference))
    except ray.exceptions.RayError as error:
        return f"asked there: {str(error).strip().splitlines()[-1]}"


def look(token: str, patience: float = _PATIENCE) -> str:
    """On some machine: '' where the file is seen and its lock is held; "unlocked" where the lock is free; else what is
    wrong."""
    from filelock import FileLock, Timeout

    path, until = Path(token), time.monotonic() + patience
    while not path.exists():
        if time.monotonic() > until:
            return "a file that was just written is not seen there"
        time.sleep(0.2)
    if not os.access(path.parent, os.W_OK):
        return "it cannot be written there"
    try:
        with FileLock(path.with_suffix(".lock"), timeout=0):
            return "unlocked"
    except Timeout:
        return ""


def uses_gpus(ray: Any, accelerator: str) -> bool:
    """Whether stages are to be given GPUs: asked for by name, or there and not refused."""
    there = any(each["Resources"].get("GPU", 0) for each in machines(ray))
    return accelerator in ("cuda", "gpu") or (accelerator == "auto" and there)


def most(needs: Iterable[Needs], jobs: int | None) -> float | None:
    """CPUs of a Ray of our own for so many stages at a time; None: all that there are."""
    return None if jobs is None else jobs * largest(needs).cpus
