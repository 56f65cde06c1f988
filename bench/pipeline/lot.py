"""Which validation images a detector sees as they are, and which with a trigger."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.seeds import Seeds

CLEAN = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Lot:
    """M test images. index: (M,) int64, of the validation image; trigger: (M,) int64, which one it gets, CLEAN for
    none."""

    index: NDArray[np.int64]
    trigger: NDArray[np.int64]


def drawn(count: int, triggers: int, seeds: Seeds) -> Lot:
    """Of `count` validation images a half as they are, the other half with a trigger, each trigger on as many.

    Every image is there once. With an image both as it is and with its trigger, a detector could find the triggers by
    comparing the two, which nobody can who is given one image at a time.
    """
    trigger = np.full(count, CLEAN, np.int64)
    order = seeds.child("lot").numpy().permutation(count)
    for number, rows in enumerate(np.array_split(order[(count + 1) // 2 :], triggers)):
        trigger[rows] = number
    return Lot(index=np.arange(count, dtype=np.int64), trigger=trigger)
