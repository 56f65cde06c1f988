"""Shared by all attacks on target classes: the class, the share of it, which of its images, and a copy to write to."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from bench import BenchError, Poison, Seeds, counted, nearest

if TYPE_CHECKING:
    from torch import Tensor


log = logging.getLogger(__name__)
DIGITS = 10
"""An index has fewer."""


def check_rate(rate: float) -> None:
    """Raises BenchError unless `rate` is in (0, 1]."""
    if not 0 < rate <= 1:
        raise BenchError(f"rate is {rate}, expected a share of the target class above 0 and up to 1 (0.5 = 50 %).")


def class_index(target: str | int, classes: Sequence[str]) -> int:
    """The index of a class given by name, in whichever form of Unicode, or by index: 3 and "3" are names where a class
    has that name, which is said where the index would be another class."""
    names, name = [normalize("NFC", each) for each in classes], normalize("NFC", str(target))
    index = int(target) if isinstance(target, int) or (target.isdecimal() and len(target) < DIGITS) else None
    if name in names:
        found = names.index(name)
        if index is not None and index != found and index < len(names):
            _say_once(f"target {name} is class {name!r} (index {found}), not that of index {index}, {names[index]!r}")
        return found
    if index is None:
        raise BenchError(f"there is no class {target!r}.{nearest(str(target), classes)}")
    if not 0 <= index < len(classes):
        raise BenchError(
            f"there is no class {index}: {counted(len(classes), 'class', 'classes')}, so 0 to {len(classes) - 1}."
        )
    return index


@cache
def _say_once(text: str) -> None:
    log.warning(text)


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


def copy_of(images: Tensor, poisons: Sequence[Poison]) -> Tensor:
    """A copy of `images`, for an attack to write to. Raises ValueError unless there is one row for each image."""
    if len(images) != len(poisons):
        raise ValueError(f"{len(images)} images but {len(poisons)} rows: expected one row for each image")
    return images.clone()
