"""What every attack with pasted patches needs: which images, where on them, and the pasting.

Each row follows from its own seed alone, by arithmetic: a library's generator may change its stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench import BenchError, Box, Poison, Seeds, nearest

if TYPE_CHECKING:
    from torch import Tensor

Margin = tuple[float, float]


def check_rate(rate: float) -> None:
    """Raises BenchError unless `rate` is in (0, 1]."""
    if not 0 < rate <= 1:
        raise BenchError(f"rate is {rate}, expected a share of the target class above 0 and up to 1 (0.5 = 50 %).")


def check_margin(name: str, margin: Margin) -> None:
    """Raises BenchError unless `margin` is (low, high) with 0 <= low < high <= 1."""
    low, high = margin
    if not 0 <= low < high <= 1:
        raise BenchError(f"{name} is {margin}, expected shares of the width, 0 <= low < high <= 1.")


def class_index(target: str | int, classes: Sequence[str]) -> int:
    """The index of a class given by name or by index ("3" too, if no class bears that name)."""
    if target in classes:
        return list(classes).index(str(target))
    index = int(target) if isinstance(target, int) or target.isdecimal() else None
    if index is None:
        raise BenchError(f"there is no class {target!r}.{nearest(str(target), classes)}")
    if not 0 <= index < len(classes):
        raise BenchError(f"there is no class {index}: {len(classes)} classes, so 0 to {len(classes) - 1}.")
    return index


def choose(labels: NDArray[np.int64], target: int, rate: float, seeds: Seeds) -> list[int]:
    """Indices of round(rate * class size), at least 1, images of class `target`, increasing.

    Those with the smallest hash of (seed, index): a lower rate chooses a part of what a higher one chooses.
    Raises BenchError when the class is empty.
    """
    members = np.flatnonzero(labels == target).tolist()
    if not members:
        raise BenchError(f"target class {target} has no images: choose a class that has some.")
    count = max(1, round(rate * len(members)))
    return sorted(sorted(members, key=lambda index: (seeds.child(index).value, index))[:count])


def corners(width: int, patch: int, margin: Margin) -> range:
    """The rows (and columns) at which a patch may begin: whole pixels in [low * width, high * width - patch].

    [U]'s law. Raises BenchError when there is none: a centred patch would silently not be random.
    """
    low, high = margin
    slack = 1e-9  # 0.7 * 10 is 7.000000000000001 in floats
    first, last = math.ceil(low * width - slack), math.floor(high * width - patch + slack)
    if first > last:
        raise BenchError(
            f"a trigger of {patch} px does not fit between {low:g} and {high:g} of images {width} px wide: "
            "make it smaller or widen the margins (train_margin, val_margin)."
        )
    return range(first, last + 1)


def place(seed: int, patch: int, free: range) -> Box:
    """The box of a patch whose corner is uniform over `free` x `free`, from a 63-bit seed."""
    across, down = seed % len(free), seed // len(free) % len(free)
    return free[down], free[across], patch, patch


def rows(indices: Iterable[int], *, trigger: int, target: int, patch: int, free: range, seeds: Seeds) -> list[Poison]:
    """A row of truth for each of `indices`, all with one trigger; its place follows from (seeds, index)."""
    truth = []
    for index in indices:
        seed = seeds.child(index).value
        box = place(seed, patch, free)
        truth.append(Poison(index=int(index), trigger=trigger, target=target, box=box, seed=seed))
    return truth


def paste(images: Tensor, poisons: Sequence[Poison], pixels: Callable[[int, int], Tensor]) -> Tensor:
    """A copy of `images` (B, 3, S, S) uint8 with `pixels(trigger, width)` in the box of each row."""
    if len(images) != len(poisons):
        raise ValueError(f"{len(images)} images but {len(poisons)} rows: expected one row for each image")
    pasted = images.clone()
    for image, poison in zip(pasted, poisons, strict=True):
        if poison.box is None:
            raise ValueError(f"row {poison.index} has no box: it is not of a pasted trigger")
        top, left, height, width = poison.box
        image[:, top : top + height, left : left + width] = pixels(poison.trigger, width)
    return pasted
