"""Several machines for the trainings of one run: the processes that torchrun started on them.

The first process leads: it makes the stages, prints, and keeps the record. The others wait, and take part in every
training. The results lie in a store that all machines share.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import BenchError

T = TypeVar("T")
Order = dict[str, str] | None
"""What the first process tells the others: the key and the folder of a training, or its error; None: all is done."""
_SETTLE = 60.0  # seconds in which a client of NFS sees a new file
_FOREVER = timedelta(days=365)  # the others wait during a search, which may take days; a lost process is noticed


def torchrun_devices() -> int | None:
    """How many processes torchrun started on this machine, one for each device; None where it started no others."""
    try:
        several = "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1
        return int(os.environ["LOCAL_WORLD_SIZE"]) if several else None
    except (ValueError, KeyError) as error:
        said = f"torchrun's variables WORLD_SIZE and LOCAL_WORLD_SIZE hold no numbers of processes ({error})"
        raise BenchError(f"{said}: start the command by torchrun, or unset TORCHELASTIC_RUN_ID") from None


@dataclass(frozen=True, kw_only=True)
class NodeGroup:
    """All processes of a run, of which this is number `rank` of `count`. Use `joined`.

    timeout: seconds that they wait for each other. orders: the torch.distributed group in which the first tells the
    others what to do.
    """

    rank: int
    count: int
    timeout: float
    orders: Any

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    @contextlib.contextmanager
    def training(self, key: str, folder: str) -> Iterator[NodeGroup]:
        """Around one training, in each process: its stage `key`, made in `folder` of the store. Raises BenchError where
        a process does not come or is lost."""
        import torch.distributed as dist

        try:
            if self.leads:
                self.send({"key": key, "folder": folder})
            dist.monitored_barrier(self.orders, timedelta(seconds=self.timeout), wait_all_ranks=True)
            yield self
        except RuntimeError as error:
            if not any(sign in str(error) for sign in ("gloo", "NCCL", "monitoredBarrier")):
                raise
            raise BenchError(
                f"the training over {self.count} processes broke off: one of them failed or has gone; its output says "
                f"why ({str(error).strip().splitlines()[0]}). The same command resumes from the last checkpoint"
            ) from error

    def send(self, order: Order) -> Order:
        """The first process's order, in all processes."""
        import torch.distributed as dist

        box = [order]
        dist.broadcast_object_list(box, src=0, group=self.orders)
        return box[0]

    def trainings(self) -> Iterator[tuple[str, str]]:
        """(key, folder) of each training that the first process begins, until that process ends. Raises BenchError
        where it failed or has gone."""
        while True:
            try:
                order = self.send(None)
            except RuntimeError as error:
                raise BenchError("the first process has gone: its output says why") from error
            if order is None:
                return
            if "error" in order:
                raise BenchError(f"the first process has ended: {order['error']}")
            yield order["key"], order["folder"]

    def check_alike(self, about: Mapping[str, Any], store: Path) -> None:
        """Raises BenchError where another process was started with something else in `about`, or does not see what the
        first one writes in the store."""
        token = store / f".nodes-{uuid.uuid4().hex}"
        if self.leads:
            store.mkdir(parents=True, exist_ok=True)
            token.touch()
        first = store / self._gather(token.name)[0]
        sees = settled(first.exists, self.timeout)
        found = self._gather({**about, "sees": sees, "host": platform.node()})
        if self.leads:
            token.unlink()
        for rank, each in enumerate(found):
            who = f"process {rank} on {each['host']}"
            if not each["sees"]:
                raise BenchError(f"{who} does not see the store of process 0: name a folder that all share (--store)")
            for key in about:
                if each[key] != found[0][key]:
                    other = f"process 0 has {found[0][key]}"
                    raise BenchError(f"{who} has {key} {each[key]}, {other}: start the same command on all nodes")

    def _gather(self, what: Any) -> list[Any]:
        import torch.distributed as dist

        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, what, self.orders)
        return found


@contextlib.contextmanager
def joined(timeout: float, about: Mapping[str, Any], store: Path, *, gpus: bool) -> Iterator[NodeGroup]:
    """This process's place among those that torchrun started, once all are there.

    timeout: seconds to wait for one. about: what they must have in common. gpus: they train on GPUs. Raises BenchError
    where they differ or have no store in common.
    """
    import torch.distributed as dist

    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=timedelta(seconds=timeout))
    orders = dist.new_group(backend="gloo", timeout=_FOREVER)
    group = NodeGroup(rank=dist.get_rank(), count=dist.get_world_size(), timeout=timeout, orders=orders)
    group.check_alike(about, store)
    last: Order = None
    try:
        yield group
    except BaseException as error:
        last = {"error": str(error) or f"it was stopped ({type(error).__name__})"}
        raise
    finally:
        if group.leads:
            with contextlib.suppress(RuntimeError):  # there may be nobody left to hear it
                group.send(last)
        dist.destroy_process_group()


def settled(look: Callable[[], T], timeout: float = _SETTLE) -> T:
    """What `look` finds, or nothing (as `look` says it) after a while: a shared file system shows a new file late."""
    until = time.monotonic() + min(_SETTLE, timeout)
    while not (found := look()) and time.monotonic() < until:
        time.sleep(1.0)
    return found


@contextlib.contextmanager
def environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Meanwhile these environment variables have these values (None: they are not set), also in processes begun."""
    before = {name: os.environ.pop(name, None) for name in changes}
    os.environ.update({name: value for name, value in changes.items() if value is not None})
    try:
        yield
    finally:
        for name in changes:
            os.environ.pop(name, None)
        os.environ.update({name: value for name, value in before.items() if value is not None})
