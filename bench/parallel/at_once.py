"""Independent pieces of work on the cores that are idle, without another number for it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
MOST = 4
"""How many calls run at once at most: each holds what it works on."""


_ordered = ContextVar("ordered", default=False)


@contextlib.contextmanager
def in_order() -> Iterator[None]:
    """Meanwhile `at_once` runs calls one after the other in the caller's thread: for what looks at one thread alone."""
    token = _ordered.set(True)
    try:
        yield
    finally:
        _ordered.reset(token)


def at_once(calls: Sequence[Callable[[], T]], device: torch.device) -> list[T]:
    """What each of `calls` returns, in order.

    On a CPU they run at once where there are cores for it (at most MOST), the first in this thread, each with as many
    CPU threads as this one computes with, so that their numbers are those of one after the other. They must not share
    what they change, nor draw from torch's global generator. On another device, and under autocast, which other threads
    do not know of, they run one after the other. Raises what the first of them that fails raises, when all have ended.
    """
    import torch

    width = 1 if _ordered.get() else min(len(calls), cores(), MOST)
    if width < 2 or device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return [call() for call in calls]
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(width - 1, initializer=torch.set_num_threads, initargs=(threads,)) as others:
        waiting = [others.submit(call) for call in calls[1:]]
        first = calls[0]()
        return [first, *(each.result() for each in waiting)]


def cores() -> int:
    """How many this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1
