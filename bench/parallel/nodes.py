"""Several machines for the trainings of one run: a process on each, of which the first leads and the others follow.

They talk through a key-value store of torch.distributed (the launcher's own under torchrun, else one on the first
machine). Which machine this is and where the first one is, Lightning Fabric's cluster environments say.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from bench.errors import BenchError

if TYPE_CHECKING:
    from lightning_fabric.plugins.environments import ClusterEnvironment
    from torch.distributed.distributed_c10d import Store

T = TypeVar("T")
GRACE = 10.0
"""Seconds that the first machine gives the others to say what became of them."""
_SETTLE = 60.0  # seconds in which a client of NFS sees a new file
_PAUSE = 0.2  # seconds between two looks: short, as Ctrl-C waits for it
_TRY = timedelta(seconds=5)  # one try to connect, for the same reason
_AGENT = "TORCHELASTIC_USE_AGENT_STORE"
_PLAIN = {
    "NODE_RANK": "the number of this machine, from 0",
    "MASTER_ADDR": "the address of machine 0",
    "MASTER_PORT": "a free port there",
}


class Parted(BenchError):
    """The processes of a training over several machines have lost each other."""


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """Where the processes of one training find each other: on `nodes` machines, of which this is number `rank`.

    patience: seconds that they wait for each other. port: None for any, on one machine.
    """

    address: str = "127.0.0.1"
    port: int | None = None
    rank: int = 0
    nodes: int = 1
    patience: float = 1800.0

    @contextlib.contextmanager
    def in_environment(self) -> Iterator[None]:
        """Sets the variables by which LightningEnvironment tells it to the processes that are started meanwhile.

        Each node starts a process for each of its devices itself (Fabric's ddp_spawn), whatever started the node:
        search and features need the first node alone to have all its devices, and the next training begins with fresh
        processes. So what torchrun or SLURM say of ranks is about nodes, and is hidden from the processes.
        """
        port = None if self.port is None else str(self.port)
        told = {"MASTER_ADDR": self.address, "MASTER_PORT": port, "NODE_RANK": str(self.rank), _AGENT: None}
        before = {name: os.environ.get(name) for name in told}
        _set(told)
        try:
            yield
        finally:
            _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


class Party:
    """This machine among all of a run. Use `joined`."""

    def __init__(self, store: Store, rank: int, count: int, address: str, patience: float) -> None:
        self.rank, self.count, self._address, self._patience = rank, count, address, patience
        self._store, self._turn, self._port = store, 0, 0
        self._hosts: dict[int, str] = {}

    @property
    def leads(self) -> bool:
        """Whether this is the first machine, which does all but its share of the trainings alone."""
        return self.rank == 0

    @contextlib.contextmanager
    def training(self, key: str, folder: str) -> Iterator[Meeting]:
        """Around one training, on each machine: its stage `key`, made in `folder` of the store.

        Raises BenchError where a machine does not come, and for the training's `Parted` one that says who has gone.
        """
        port = self._call(key, folder) if self.leads else self._come()
        try:
            yield Meeting(address=self._address, port=port, rank=self.rank, nodes=self.count, patience=self._patience)
        except Parted as error:
            fate = self._fates() if self.leads else ""
            raise BenchError(
                f"the training over {self.count} nodes broke off: {error}{fate}. The same command on all of them goes "
                "on from its last checkpoint"
            ) from error

    def orders(self) -> Iterator[tuple[str, str]]:
        """(key, folder) of each training that the first machine begins, until that ends. Raises BenchError where it
        failed or has gone."""
        while True:
            order = self._order()
            if "end" in order:
                with contextlib.suppress(BenchError):  # node 0 does not wait for it long
                    self._tell(self._answer(self.rank), {})
                if order["end"]:
                    raise BenchError(f"node 0 has ended: {order['end']}")
                return
            self._port = int(order["port"])
            yield order["key"], order["folder"]

    def settled(self, look: Callable[[], T | None], what: str) -> T:
        """What `look` finds, once that is not None: a shared file system shows a new file late. Raises BenchError."""
        until = time.monotonic() + min(_SETTLE, self._patience)
        while (found := look()) is None:
            if time.monotonic() > until:
                raise BenchError(what)
            time.sleep(1.0)
        return found

    # --- the first machine ---------------------------------------------------

    def _call(self, key: str, folder: str) -> int:
        from lightning_fabric.plugins.environments.lightning import find_free_network_port

        self._turn += 1
        port: int = find_free_network_port()
        self._tell(f"order/{self._turn}", {"key": key, "folder": folder, "port": port})
        self._gather()
        return port

    def _gather(self) -> dict[int, dict[str, Any]]:
        """What all others answer this turn. Raises BenchError for who fails or does not within the patience."""
        found = self._answers(self._patience)
        for rank in self._others:
            if rank not in found:
                raise BenchError(
                    f"{self._name(rank)} did not come within {self._patience:g} s: start the same command there (on "
                    "--nodes machines in all), or wait longer with --node-timeout"
                )
        return found

    def _answers(self, patience: float) -> dict[int, dict[str, Any]]:
        """As far as they come in time. Raises BenchError when one tells of its failure."""
        until, found = time.monotonic() + patience, dict[int, dict[str, Any]]()
        while len(found) < self.count - 1 and time.monotonic() < until:
            for rank in self._others:
                if self._has(f"failed/{rank}"):
                    raise BenchError(f"{self._name(rank)} failed: {self._hear(f'failed/{rank}')['error']}")
                if rank not in found and self._has(self._answer(rank)):
                    found[rank] = self._hear(self._answer(rank))
            time.sleep(_PAUSE)
        return found

    def _fates(self) -> str:
        """What became of the others: a machine that is still there says so."""
        until, left = time.monotonic() + GRACE, set(self._others)
        while left and time.monotonic() < until:
            left -= {rank for rank in left if self._has(f"failed/{rank}")}
            time.sleep(_PAUSE)
        gone = "".join(f"; {self._name(rank)} does not answer" for rank in sorted(left))
        told = {rank: self._hear(f"failed/{rank}")["error"] for rank in self._others if rank not in left}
        return gone + "".join(f"; {self._name(rank)}: {error}" for rank, error in told.items())

    @property
    def _others(self) -> range:
        return range(1, self.count)

    def _name(self, rank: int) -> str:
        return f"node {rank}" + (f" ({self._hosts[rank]})" if rank in self._hosts else "")

    # --- the others ----------------------------------------------------------

    def _come(self) -> int:
        self._tell(self._answer(self.rank), {})
        return self._port

    def _order(self) -> dict[str, Any]:
        """The next one, however long it takes."""
        self._turn += 1
        while not self._has(f"order/{self._turn}"):
            time.sleep(_PAUSE)
        return self._hear(f"order/{self._turn}")

    # --- coming and leaving --------------------------------------------------

    def greet(self, about: Mapping[str, Any]) -> None:
        """Wait for all. Raises BenchError where one does not come, or was started with something else in `about`."""
        if not self.leads:
            self._tell(self._answer(self.rank), {"host": platform.node(), "about": about})
            return
        for rank, found in self._gather().items():
            self._hosts[rank] = found["host"]
            for name, value in about.items():
                if found["about"].get(name) != value:
                    raise BenchError(
                        f"{self._name(rank)} has {name} {found['about'].get(name)}, node 0 has {value}: start the same "
                        "command on all nodes"
                    )

    def leave(self, error: str) -> None:
        """Tell the others; the first machine, whose store they ask, waits a little until they have heard it."""
        with contextlib.suppress(BenchError):  # there may be nobody left to tell
            if not self.leads:
                if error:
                    self._tell(f"failed/{self.rank}", {"error": error})
                return
            self._turn += 1
            self._tell(f"order/{self._turn}", {"end": error})
            self._answers(GRACE)

    # --- the store -----------------------------------------------------------

    def _answer(self, rank: int) -> str:
        return f"answer/{self._turn}/{rank}"

    def _tell(self, key: str, what: Mapping[str, Any]) -> None:
        with _reaching():
            self._store.set(key, json.dumps(what))

    def _has(self, key: str) -> bool:
        with _reaching():
            return self._store.check([key])

    def _hear(self, key: str) -> dict[str, Any]:
        with _reaching():
            found: dict[str, Any] = json.loads(self._store.get(key))
        return found


@contextlib.contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch's, when the store has gone
        raise BenchError("node 0 (or its torchrun) has gone: its own output says why") from error


@contextlib.contextmanager
def joined(count: int, patience: float, about: Mapping[str, Any]) -> Iterator[Party]:
    """This process's place among `count` machines, once all are there.

    patience: seconds to wait for one. about: what they have to have in common. Raises BenchError for a launch that
    does not say which machine this is, and where one does not come.
    """
    # Before torch is first imported: it prints a stack of calls for every try to connect.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    rank, address, port = _seat(count)
    party = Party(_connect(rank, address, port, patience), rank, count, address, patience)
    try:
        party.greet(about)
        yield party
    except BaseException as error:
        party.leave(str(error) or f"it was stopped ({type(error).__name__})")
        raise
    party.leave("")


def _seat(count: int) -> tuple[int, str, int]:
    """(number of this machine, address and port of the first one)."""
    try:
        environment = _environment()
        environment.validate_settings(num_devices=1, num_nodes=count)
        rank, address, port = environment.node_rank(), environment.main_address, environment.main_port
    except (ValueError, RuntimeError) as error:
        raise BenchError(
            f"--nodes {count} does not fit how this was started: one process on each node is wanted (torchrun "
            f"--nnodes {count} --nproc-per-node 1, srun --nodes={count} --ntasks-per-node=1). {error}"
        ) from error
    if not 0 <= rank < count:
        raise BenchError(f"this is node {rank} of --nodes {count}: they count from 0 to {count - 1}")
    return rank, address, port


def _environment() -> ClusterEnvironment:
    from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment

    with warnings.catch_warnings(action="ignore"):  # Fabric's, of an srun that is there but was not used
        for kind in (TorchElasticEnvironment, SLURMEnvironment):
            if kind.detect():
                return kind()
    missing = [f"{name} ({what})" for name, what in _PLAIN.items() if not os.environ.get(name)]
    if missing:
        raise BenchError(
            f"--nodes without torchrun or srun needs {', '.join(missing)} in the environment of every node"
        )
    return LightningEnvironment()


def _connect(rank: int, address: str, port: int, patience: float) -> Store:
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

    ours = rank == 0 and os.environ.get(_AGENT) != str(True)  # else the agent of torchrun has opened one there
    until = time.monotonic() + patience
    while True:
        try:
            store = TCPStore(address, port, is_master=ours, wait_for_workers=False, timeout=_TRY)
            break
        except RuntimeError as error:
            if ours:
                raise BenchError(f"port {port} cannot be opened here: set another MASTER_PORT. {error}") from error
            if time.monotonic() > until:
                raise BenchError(
                    f"node 0 did not answer at {address}:{port} within {patience:g} s: start the same command there, "
                    "or wait longer with --node-timeout"
                ) from error
    store.set_timeout(timedelta(seconds=patience))
    return PrefixStore(f"bench/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
