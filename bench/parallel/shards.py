"""Rows shared out over devices, one process each, and joined in order. Who has work done here knows of no ranks."""

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
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from bench.api import Arrays, ProgressCallback, RowFunction, RowMapper
from bench.errors import BenchError

from .rows import Counter, Rows, spans

if TYPE_CHECKING:
    import torch

Make = Callable[["torch.device"], RowFunction]
_GRACE = 5.0  # seconds that a process gets to end
_PIECE = 1024  # rows that a process makes and sends at once, or one group: what lies in memory beside the result
Piece = tuple[int, int, Arrays]
"""(start, stop, its rows)."""


class Shards:
    """`devices` processes, each with a device of Lightning Fabric's `accelerator`; begun when first needed, and ended
    with the `with` block."""

    def __init__(self, devices: int, accelerator: str) -> None:
        self.devices, self._accelerator = devices, accelerator
        self._helpers: list[_Helper] = []
        self._numbers = itertools.count()

    def __enter__(self) -> Shards:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        helpers, self._helpers = self._helpers, []
        for helper in helpers:
            helper.end()

    def map_rows(self, make: Make) -> RowMapper:
        """Has every process `make(device)` what makes rows; it must be picklable. See types.RowMapper.

        Raises BenchError where that cannot be, for devices that are not here, and what a process raises.
        """
        number = next(self._numbers)
        for helper in self._open():
            helper.send("make", number, make)
        return partial(self._share_out, number)

    def _open(self) -> list[_Helper]:
        if not self._helpers:
            kind, threads = _kind(self._accelerator, self.devices)
            self._helpers = [_Helper(kind, rank, threads) for rank in range(self.devices)]
        return self._helpers

    def _share_out(self, number: int, what: Any, count: int, group: int, tell: ProgressCallback) -> Arrays:
        counter, rows, piece = Counter(tell), Rows(count), group * max(1, _PIECE // group)
        busy: dict[Any, _Helper] = {}
        for helper, span in zip(self._helpers, spans(count, group, self.devices), strict=False):
            helper.send("part", number, (what, *span, piece))
            busy[helper.pipe] = helper
        while busy:
            for pipe in wait(list(busy)):
                told = busy[pipe].hear()
                if told is None:
                    del busy[pipe]
                elif isinstance(told, int):
                    counter(told)
                else:
                    rows.put(*told)
        return rows.arrays


def _kind(accelerator: str, devices: int) -> tuple[str, int]:
    """(kind of device, threads for each process). Raises BenchError for devices that are not here."""
    import torch

    from .devices import open_fabric

    fabric = open_fabric(accelerator=accelerator, devices=devices, strategy="ddp_spawn")
    return fabric.device.type, max(1, torch.get_num_threads() // devices)


class _Helper:
    """One process and the pipe to it."""

    def __init__(self, kind: str, rank: int, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process: Any = context.Process(target=_serve, args=(theirs, kind, rank, threads), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, order: str, number: int, told: Any) -> None:
        """Raises BenchError where it cannot be pickled."""
        try:
            pickled = bytes(ForkingPickler.dumps(told))
        except Exception as error:  # pickle has many
            raise BenchError(
                f"this cannot be shared out over several devices ({type(error).__name__}: {error}): use --devices 1"
            ) from error
        try:
            self.pipe.send((order, number, pickled))
        except OSError:
            self._gone()

    def hear(self) -> int | Piece | None:
        """Rows done, or a piece of the part, or None: that was the last. Raises what went wrong."""
        try:
            told = self.pipe.recv()
        except (EOFError, OSError):
            self._gone()
        if isinstance(told, BenchError):
            raise told
        if isinstance(told, str):
            raise RuntimeError(f"a process of one device failed:\n{told}")
        result: int | Piece | None = told
        return result

    def _gone(self) -> NoReturn:
        self._process.join(_GRACE)
        raise BenchError(
            f"the process of one device ended with code {self._process.exitcode} (-9: often for want of memory); "
            "the same command goes on from here"
        )

    def end(self) -> None:
        """Make sure that it has ended."""
        self.pipe.close()
        self._process.terminate()
        self._process.join(_GRACE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


def _serve(pipe: Connection, kind: str, rank: int, threads: int) -> None:
    """A helper's life: orders until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that gives out the work
    import torch

    torch.set_num_threads(threads)
    device = torch.device(kind, rank) if kind == "cuda" else torch.device(kind)
    made: dict[int, RowFunction] = {}
    failed: dict[int, BenchError | str] = {}
    with contextlib.suppress(EOFError, OSError):
        while True:
            order, number, pickled = pipe.recv()
            with _caught(failed, number):  # also what this process cannot import
                if order == "make":
                    made[number] = pickle.loads(pickled)(device)
                elif number in made:
                    _make_part(pipe, made[number], *pickle.loads(pickled))
            if order == "part" and number in failed:
                pipe.send(failed[number] if number not in made else failed.pop(number))


def _make_part(pipe: Connection, make: RowFunction, what: Any, start: int, stop: int, piece: int) -> None:
    for low in range(start, stop, piece):
        high = min(low + piece, stop)
        pipe.send((low, high, make(what, low, high, pipe.send)))
    pipe.send(None)


@contextlib.contextmanager
def _caught(failed: dict[int, BenchError | str], number: int) -> Iterator[None]:
    try:
        yield
    except BenchError as error:
        failed[number] = error
    except Exception:
        failed[number] = traceback.format_exc()
