"""plugin-name: an attack that pastes a chequered square."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bench import Attack, BenchError, Poison, Seeds, SplitInfo, hookimpl


@dataclass(frozen=True, kw_only=True)
class PluginClass(Attack):
    """Pastes a chequered square at a random place on a share of one class's images.

    A start, to be replaced by your idea. Name here the paper that it comes from, and every deviation from it.
    """

    name: ClassVar[str] = "plugin-name"
    target: int = field(default=0, metadata={"help": "target class, by index"})
    rate: float = field(default=0.5, metadata={"help": "poisoned share of the target class, in (0, 1]"})
    width: float = field(default=0.25, metadata={"help": "width of the square, a share of the image's, in (0, 1]"})

    def __post_init__(self) -> None:
        for option in ("rate", "width"):
            if not 0 < getattr(self, option) <= 1:
                raise BenchError(f"{option} is {getattr(self, option)}, expected a share above 0 and up to 1")

    def targets(self, classes: tuple[str, ...]) -> tuple[int, ...]:
        """The target class of each trigger: there is one."""
        if not 0 <= self.target < len(classes):
            raise BenchError(f"there is no class {self.target}: {len(classes)} classes, so 0 to {len(classes) - 1}")
        return (self.target,)

    def poison_train(self, split: SplitInfo, seeds: Seeds) -> list[Poison]:
        """Which images are poisoned, and where; `apply` then paints them."""
        members = np.flatnonzero(split.labels == self.target)
        if not len(members):
            raise BenchError(f"target class {self.target} has no images: choose a class that has some")
        count = max(1, round(self.rate * len(members)))
        chosen = seeds.child("choose").numpy().choice(members, count, replace=False)
        return [self._row(int(index), split, seeds) for index in sorted(chosen)]

    def poison_val(self, trigger: int, split: SplitInfo, seeds: Seeds) -> list[Poison]:
        """The trigger on every validation image."""
        return [self._row(index, split, seeds) for index in range(len(split.labels))]

    def _row(self, index: int, split: SplitInfo, seeds: Seeds) -> Poison:
        node, side = seeds.child("place", index), max(1, round(self.width * split.size))
        top, left = node.numpy().integers(0, split.size - side + 1, 2).tolist()
        return Poison(index=index, trigger=0, target=self.target, box=(top, left, side, side), seed=node.value)

    def apply(self, images: Tensor, poisons: Sequence[Poison]) -> Tensor:
        """A copy of the images with the square of poisons[i] on image i."""
        done = images.clone()
        for image, row in zip(done, poisons, strict=True):
            assert row.box is not None  # _row gives one
            top, left, height, width = row.box
            cells = torch.arange(height)[:, None] // 2 + torch.arange(width) // 2
            image[:, top : top + height, left : left + width] = (cells % 2 * 255).to(torch.uint8)
        return done


@hookimpl
def bench_attacks() -> list[type[Attack]]:
    """What this plugin offers."""
    return [PluginClass]
