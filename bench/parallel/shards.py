"""Rows computed on several devices, one process each, and joined in order. Row functions need not know of ranks."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, NoReturn

from bench.api import Arrays, ProgressCallback, RowFunction, RowMapper
from bench.errors import BenchError

from .rows import Counter, Rows, spans
from .threads import computing_with

if TYPE_CHECKING:
    import torch

MakeRowFunction = Callable[["torch.device"], RowFunction]
_GRACE = 5.0  # seconds that a process gets to end
_PIECE = 1024  # rows that a process computes and sends at once, or one group: what is held beside the result


class Shards:
    """`devices` processes, each with a device of Lightning Fabric's `accelerator` and `threads` threads of the CPU: as
    many as one process alone would have, so that its numbers are those of one.

    They are started when first needed, and ended with the `with` block.
    """

    def __init__(self, devices: int, accelerator: str, threads: int) -> None:
        self.devices, self._accelerator, self._threads = devices, accelerator, threads
        self._workers: list[_Worker] = []
        self._numbers = itertools.count()

    def __enter__(self) -> Shards:
        return self

    def __exit__(self, *_: object) -> None:
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.end()

    def map_rows(self, make: MakeRowFunction) -> RowMapper:
        """A mapper whose rows are computed by `make(device)` in every process; `make` must be picklable.

        Raises BenchError where it cannot be pickled, for devices that are not here, and what a process raises.
        """
        number = next(self._numbers)
        for worker in self._open():
            worker.send("make", number, make)
        return partial(self._map_rows, number)

    def _open(self) -> list[_Worker]:
        if not self._workers:
            kind = _kind(self._accelerator, self.devices)
            self._workers = [_Worker(kind, rank, self._threads) for rank in range(self.devices)]
        return self._workers

    def _map_rows(self, number: int, what: Any, count: int, group: int, progress: ProgressCallback) -> Arrays:
        counter, rows, piece = Counter(progress), Rows(count), group * max(1, _PIECE // group)
        busy: dict[Any, _Worker] = {}
        for worker, span in zip(self._workers, spans(count, group, self.devices), strict=False):
            worker.send("rows", number, (what, *span, piece))
            busy[worker.pipe] = worker
        while busy:
            for pipe in wait(list(busy)):
                message = busy[pipe].receive()
                if message is None:
                    del busy[pipe]
                elif isinstance(message, int):
                    counter(message)
                else:
                    rows.put(*message)
        return rows.arrays


def _kind(accelerator: str, devices: int) -> str:
    """The kind of device. Raises BenchError for devices that are not here."""
    from .devices import open_fabric

    kind: str = open_fabric(accelerator=accelerator, devices=devices, strategy="ddp_spawn").device.type
    return kind


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, kind: str, rank: int, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process: Any = context.Process(target=_serve, args=(theirs, kind, rank, threads), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, order: str, number: int, content: Any) -> None:
        """Raises BenchError where the content cannot be pickled."""
        try:
            pickled = bytes(ForkingPickler.dumps(content))
        except Exception as error:  # pickle has many
            raise BenchError(
                f"this cannot be shared out over several devices ({type(error).__name__}: {error}): use --devices 1"
            ) from error
        try:
            self.pipe.send((order, number, pickled))
        except OSError:
            self._raise_ended()

    def receive(self) -> int | tuple[int, int, Arrays] | None:
        """Rows done, or (start, stop, its rows), or None after the last. Raises what went wrong in the process."""
        try:
            message: Any = self.pipe.recv()
        except (EOFError, OSError):
            self._raise_ended()
        if isinstance(message, BenchError):
            raise message
        if isinstance(message, str):
            raise RuntimeError(f"a process of one device failed:\n{message}")
        return message  # type: ignore[no-any-return]

    def _raise_ended(self) -> NoReturn:
        self._process.join(_GRACE)
        raise BenchError(
            f"the process of one device ended with code {self._process.exitcode} (-9: often for want of memory); "
            "the same command resumes from here"
        )

    def end(self) -> None:
        """Make sure that the process has ended."""
        self.pipe.close()
        self._process.terminate()
        self._process.join(_GRACE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


def _serve(pipe: Connection, kind: str, rank: int, threads: int) -> None:
    """In a worker's process: carry out orders until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that gives the orders
    import torch

    device = torch.device(kind, rank) if kind == "cuda" else torch.device(kind)
    made: dict[int, RowFunction] = {}
    failed: dict[int, BenchError | str] = {}
    with computing_with(threads), contextlib.suppress(EOFError, OSError):
        while True:
            order, number, pickled = pipe.recv()
            with _caught(failed, number):  # also what this process cannot import
                if order == "make":
                    made[number] = pickle.loads(pickled)(device)
                elif number in made:
                    _send_rows(pipe, made[number], *pickle.loads(pickled))
            if order == "rows" and number in failed:
                pipe.send(failed[number] if number not in made else failed.pop(number))


def _send_rows(pipe: Connection, function: RowFunction, what: Any, start: int, stop: int, piece: int) -> None:
    for low in range(start, stop, piece):
        high = min(low + piece, stop)
        pipe.send((low, high, function(what, low, high, pipe.send)))
    pipe.send(None)


@contextlib.contextmanager
def _caught(failed: dict[int, BenchError | str], number: int) -> Iterator[None]:
    try:
        yield
    except BenchError as error:
        failed[number] = error
    except Exception:
        failed[number] = traceback.format_exc()
