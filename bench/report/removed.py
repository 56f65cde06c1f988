"""What a verdict removed, class by class: the poisoned it caught, and the collateral damage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.records.metrics import of_each_class


@dataclass(frozen=True)
class ClassRow:
    """One class: its images, those poisoned, and what was removed of either."""

    name: str
    size: int
    poisoned: int
    poisoned_removed: int
    clean_removed: int

    @property
    def clean(self) -> int:
        return self.size - self.poisoned

    @property
    def removed(self) -> int:
        return self.poisoned_removed + self.clean_removed

    def share(self, count: int) -> float:
        """`count` in percent of the class."""
        return 100 * count / self.size if self.size else 0.0


@dataclass(frozen=True, eq=False)
class Removed:
    """A row for every class, and the images behind it, by index: poisoned ones kept, clean ones removed."""

    rows: Sequence[ClassRow]
    missed: NDArray[np.int64]
    collateral: NDArray[np.int64]

    @property
    def affected(self) -> list[ClassRow]:
        """The classes in which anything was poisoned or removed, most removed first."""
        found = [row for row in self.rows if row.poisoned or row.removed]
        return sorted(found, key=lambda row: -row.removed)


def removed_by_class(
    labels: NDArray[np.int64], classes: Sequence[str], poisoned: NDArray[np.bool_], keep: NDArray[np.bool_]
) -> Removed:
    """labels (N,) int64; poisoned, keep (N,) bool."""
    caught, lost = poisoned & ~keep, ~poisoned & ~keep
    counts = [of_each_class(labels, classes, mask).values() for mask in (np.ones_like(keep), poisoned, caught, lost)]
    rows = [ClassRow(*row) for row in zip(classes, *counts, strict=True)]
    return Removed(rows, np.flatnonzero(poisoned & keep), np.flatnonzero(lost))
