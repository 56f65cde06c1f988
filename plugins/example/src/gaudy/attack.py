"""The attack `confetti`: a trigger that looks different on every image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bench import Attack, BenchError, Poison, Seeds, SplitInfo, nearest


@dataclass(frozen=True, kw_only=True)
class Confetti(Attack):
    """Paints a square of random bright cells at a random place on a share of one class's images.

    An example, from no paper: no two images carry the same pixels, only the gaudiness is common to them.
    """

    name: ClassVar[str] = "confetti"
    target: str | int = field(default=0, metadata={"help": "target class, by name or index"})
    rate: float = field(default=0.5, metadata={"help": "poisoned share of the target class, in (0, 1]"})
    cells: int = field(default=3, metadata={"help": "cells along a side, 1 or more"})
    cell: int = field(default=3, metadata={"help": "width of a cell in pixels, 1 or more"})

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise BenchError(f"rate is {self.rate}, expected a share above 0 and up to 1")
        if min(self.cells, self.cell) < 1:
            raise BenchError(f"cells and cell must be 1 or more, got {self.cells} and {self.cell}")

    def targets(self, classes: tuple[str, ...]) -> tuple[int, ...]:
        """The one target class."""
        if self.target in classes:
            return (classes.index(str(self.target)),)
        if not isinstance(self.target, int):
            raise BenchError(f"there is no class {self.target!r}.{nearest(self.target, classes)}")
        if not 0 <= self.target < len(classes):
            raise BenchError(f"there is no class {self.target}: {len(classes)} classes, so 0 to {len(classes) - 1}")
        return (self.target,)

    def poison_train(self, split: SplitInfo, seeds: Seeds) -> list[Poison]:
        """A row for each chosen image of the target class."""
        (target,) = self.targets(split.classes)
        members = np.flatnonzero(split.labels == target)
        if not len(members):
            raise BenchError(f"target class {target} has no images: choose a class that has some")
        count = max(1, round(self.rate * len(members)))
        chosen = seeds.child("choose").numpy().choice(members, count, replace=False)
        return [self._row(int(index), split, seeds) for index in sorted(chosen)]

    def poison_val(self, trigger: int, split: SplitInfo, seeds: Seeds) -> list[Poison]:
        """A row for every image."""
        return [self._row(index, split, seeds) for index in range(len(split.labels))]

    def _row(self, index: int, split: SplitInfo, seeds: Seeds) -> Poison:
        side, node = self.cells * self.cell, seeds.child(index)
        if side > split.size:
            raise BenchError(f"confetti of {side} px is larger than the images ({split.size} px): lower cells or cell")
        top, left = node.child("place").numpy().integers(0, split.size - side + 1, 2).tolist()
        (target,) = self.targets(split.classes)
        return Poison(index=index, trigger=0, target=target, box=(top, left, side, side), seed=node.value)

    def apply(self, images: Tensor, poisons: Sequence[Poison]) -> Tensor:
        """The colours are drawn from each row's own seed, so the same row always looks the same."""
        done = images.clone()
        for image, row in zip(done, poisons, strict=True):
            assert row.box is not None  # _row gives one
            top, left, height, width = row.box
            bright = Seeds(row.seed, "colours").numpy().integers(0, 2, (3, self.cells, self.cells)) * 255
            square = np.kron(bright, np.ones((1, self.cell, self.cell))).astype(np.uint8)
            image[:, top : top + height, left : left + width] = torch.from_numpy(square)
        return done
