"""How a defense is asked: in a thread of its own, through a window, about images in an order that says nothing.

In its thread there is nothing of the harness: no frame above it, no object that leads to the truth. What it holds is
a Window, from which questions go out by a queue; the harness's thread answers them.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.api import Arrays, Encoder, RowFunction, RowMapper, Verdict, View
from bench.errors import BenchError
from bench.parallel.rows import alone
from bench.seeds import Seeds

from .proctor import Watch, watching

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")
QUESTIONS = ("batch", "encoder", "find", "keep", "progress", "map_rows")
_PATIENCE, _GRACE = 0.2, 5.0  # seconds that a stopped defense gets to end, before and after it is interrupted


def shuffled(seeds: Seeds, count: int) -> NDArray[np.int64]:
    """Which image stands at each of `count` places of the view: (count,) int64.

    Data sets come class by class (folders) or in turn (scenes), and attacks poison a class: an index would tell.
    """
    return seeds.child("order").numpy().permutation(count)


def put_back(verdict: Verdict, order: NDArray[np.int64]) -> Verdict:
    """The verdict on a view in that order, in the order of the data set; so are facts whose name ends in _indices."""
    facts = {k: order[v].tolist() if k.endswith("_indices") and v else v for k, v in verdict.facts.items()}
    return replace(rearranged(verdict, places(order)), facts=facts)


def places(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each image stands in a view of that order: (count,) int64."""
    return np.argsort(order)


def rearranged(verdict: Verdict, indices: NDArray[np.int64]) -> Verdict:
    """The verdict with the rows of its arrays at `indices`; its facts stay as they are."""
    moved: dict[str, Any] = {name: values[indices] for name, values in verdict.arrays().items()}
    return replace(verdict, **moved)


class Window:
    """A bench.View that holds numbers, a generator and a queue: what the harness knows is not behind any of them."""

    def __init__(self, size: int, length: int, device: torch.device, seeds: Seeds, post: SimpleQueue[Any]) -> None:
        self.size, self.device = size, device
        self._length, self._seeds, self._post = length, seeds, post
        self._encoder: Encoder | None = None
        self._closed = False

    def __len__(self) -> int:
        return self._length

    def close(self) -> None:
        """Nobody answers from now on."""
        self._closed = True

    def _ask(self, what: str, *arguments: Any) -> Any:
        if self._closed:
            raise BenchError("a view can be asked only until the defense has returned: keep what you need of it")
        answer: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        self._post.put((what, arguments, answer))
        good, value = answer.get()
        if not good:
            raise value
        return value

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """uint8 (B, 3, size, size) on the CPU."""
        found: Tensor = self._ask("batch", np.asarray(indices, np.int64))
        return found

    @property
    def encoder(self) -> Encoder:
        """The threat model; UndeclaredNeed where the defense does not declare it."""
        if self._encoder is None:
            self._encoder = self._ask("encoder")
        return self._encoder  # type: ignore[return-value]

    def seeds(self, *names: str | int) -> Seeds:
        """The seed node under these names."""
        return self._seeds.child(*names)

    def step(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """`compute()`, kept on disk."""
        found: Arrays | None = self._ask("find", name)
        if found is None:
            found = self._ask("keep", name, compute())
        return found  # type: ignore[return-value]

    def map_rows(self, make: Callable[[View], RowFunction]) -> RowMapper:
        """See bench.View; of one device the work is done here, in the defense's thread."""
        return self._ask("map_rows", make) or alone(make(self))

    def progress(self, what: str, done: int, total: int) -> None:
        """Tell the user."""
        self._ask("progress", what, done, total)


class _Missing(Exception):
    """There is no such step yet."""


class _Desk:
    """The other side of a window: answers from the view that the harness made."""

    def __init__(self, view: View, post: SimpleQueue[Any]) -> None:
        self._view, self._post = view, post
        self._waiting: SimpleQueue[tuple[bool, Any]] | None = None
        self._troubles: list[tuple[Exception, Exception]] = []

    def batch(self, indices: NDArray[np.int64]) -> Tensor:
        return self._view.batch(indices)

    def encoder(self) -> Encoder:
        return self._view.encoder

    def find(self, name: str) -> Arrays | None:
        def missing() -> Arrays:
            raise _Missing

        try:
            return self._view.step(name, missing)
        except _Missing:
            return None

    def keep(self, name: str, arrays: Arrays) -> Arrays:
        return self._view.step(name, lambda: arrays)

    def map_rows(self, make: Callable[[View], RowFunction]) -> RowMapper | None:
        """None where there is one device: the defense's own thread does the work."""
        elsewhere = getattr(self._view, "elsewhere", None)  # a toy view has none
        return elsewhere(make) if elsewhere else None

    def progress(self, what: str, done: int, total: int) -> None:
        self._view.progress(what, done, total)

    def serve(self) -> tuple[bool, Any]:
        """Answer until the defense has ended: True and what it returned, or False and what it raised."""
        while True:
            what, arguments, self._waiting = self._post.get()
            if self._waiting is None:
                return what == "done", arguments
            self._waiting.put(self._answer(what, arguments))

    def trouble(self, error: BaseException) -> Exception | None:
        """The harness's own error behind one that the defense was told of."""
        return next((cause for told, cause in self._troubles if told is error), None)

    def close(self, thread: Thread) -> None:
        """Let the thread end: what it asks is answered with Stopped, and what it computes is interrupted."""
        if self._waiting is not None:
            self._waiting.put((False, Stopped()))
        thread.join(_PATIENCE)
        if thread.is_alive() and thread.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Stopped))
        until = time.monotonic() + _GRACE
        while thread.is_alive() and time.monotonic() < until:
            with suppress(Empty):
                *_, answer = self._post.get(timeout=_PATIENCE)
                if answer is not None:
                    answer.put((False, Stopped()))

    def _answer(self, what: str, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
        try:
            if what not in QUESTIONS:
                raise ValueError(f"there is no question {what!r}")
            return True, getattr(self, what)(*arguments)
        except Exception as error:
            return False, self._bare(error)

    def _bare(self, error: Exception) -> Exception:
        """The error without its traceback, whose frames are the harness's and hold what it knows."""
        told = _copied(error)
        self._troubles.append((told, error))
        return told


def _copied(error: Exception) -> Exception:
    try:
        told = type(error)(*error.args)
    except Exception:  # an exception class with a constructor of its own
        told = RuntimeError(f"{type(error).__name__}: {error}")
    return told


class Stopped(BaseException):
    """The harness was interrupted, so the defense is."""


def sit(call: Callable[[View], T], view: View, watch: Watch) -> T:
    """`call(window of the view)` in a thread of its own, watched. Raises what it raises, and Peeking.

    This thread reads images, loads the encoder, writes the notebook and tells of progress, when it is asked to.
    """
    post: SimpleQueue[Any] = SimpleQueue()
    window = Window(view.size, len(view), view.device, view.seeds(), post)
    thread = Thread(target=_work, args=(call, window, post), name=f"defense {watch.name}", daemon=True)
    desk = _Desk(view, post)
    with watching(watch):
        thread.start()
        try:
            good, found = desk.serve()
        except BaseException:
            desk.close(thread)
            raise
        finally:
            window.close()
        thread.join()
    watch.conclude()  # before an error: a refusal that the defense turned into another one is told as what it was
    if not good:
        raise found from desk.trouble(found)
    return found  # type: ignore[no-any-return]


def _work(call: Callable[[View], Any], window: Window, post: SimpleQueue[Any]) -> None:
    """All that the defense's thread does."""
    try:
        outcome: tuple[str, Any, None] = ("done", call(window), None)
    except BaseException as error:
        outcome = ("failed", error, None)
    post.put(outcome)
