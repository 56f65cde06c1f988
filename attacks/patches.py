"""What every attack with pasted patches is made of: where on the images, the pasting, and the attack itself.

Each row follows from its own seed alone, by arithmetic: a library's generator may change its stream.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench import Attack, BenchError, Poison, Seeds, SplitInfo

from .classes import check_rate, choose, class_index, copy_of
from .triggers import Trigger

if TYPE_CHECKING:
    from torch import Tensor

Margin = tuple[float, float]


def corners(width: int, patch: int, margin: Margin) -> range:
    """The rows (and columns) at which a patch may begin: whole pixels in [low * width, high * width - patch].

    After Saha et al.'s public code. Raises BenchError when there is none: a centred patch would silently not be random.
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


@dataclass(frozen=True, kw_only=True)
class PatchAttack(Attack):
    """(trigger, target) pairs: each trigger is a patch, pasted opaque at random places onto a share of its target.

    An image's row follows from the seeds and its index, whatever the other pairs are: the targets are distinct, so a
    poisoned set of several pairs is the union of the sets of each alone. A subclass adds options and lists the pairs.
    """

    rate: float
    trigger_size: float = field(
        default=50 / 224, metadata={"help": "1 or more: pixels; below 1: share of the image width"}
    )
    train_margin: Margin = field(
        default=(0.25, 0.75), metadata={"help": "training: it lies between these shares of the width"}
    )
    val_margin: Margin = field(
        default=(0.10, 0.90), metadata={"help": "validation: it lies between these shares of the width"}
    )

    def __post_init__(self) -> None:
        check_rate(self.rate)
        for name in ("train_margin", "val_margin"):
            low, high = getattr(self, name)
            if not 0 <= low < high <= 1:
                raise BenchError(f"{name} is {(low, high)}, expected shares of the width, 0 <= low < high <= 1.")
        self._pairs()

    @abstractmethod
    def _pairs(self) -> tuple[tuple[Trigger, str | int], ...]:
        """Each trigger with its target class, by name or index."""

    def picture(self, trigger: int, size: int) -> Tensor:
        """A trigger as it is pasted on images of width `size`: uint8 (3, w, w), the caller's own."""
        found = self._trigger(trigger)
        return found.pixels(found.width(size)).clone()

    def targets(self, classes: tuple[str, ...]) -> tuple[int, ...]:
        """The target of each trigger."""
        return tuple(class_index(target, classes) for _, target in self._pairs())

    def poison_train(self, scene: SplitInfo, seeds: Seeds) -> list[Poison]:
        """round(rate * class size) images of each target class; seeds: children "choose", "place"."""
        found: list[Poison] = []
        for trigger, target in enumerate(self.targets(scene.classes)):
            chosen = choose(scene.labels, target, self.rate, seeds.child("choose"))
            found += self._rows(chosen, trigger, scene, self.train_margin, seeds)
        return sorted(found, key=lambda row: row.index)

    def poison_val(self, trigger: int, scene: SplitInfo, seeds: Seeds) -> list[Poison]:
        """One row for every validation image, those of the target class too (metrics leave them out)."""
        return self._rows(range(len(scene.labels)), trigger, scene, self.val_margin, seeds.child("val"))

    def apply(self, images: Tensor, poisons: Sequence[Poison]) -> Tensor:
        """Paste the trigger into the box of each row."""
        triggers, pasted = [trigger for trigger, _ in self._pairs()], copy_of(images, poisons)
        for image, poison in zip(pasted, poisons, strict=True):
            if poison.box is None:
                raise ValueError(f"row {poison.index} has no box: it is not of a pasted trigger")
            top, left, height, width = poison.box
            image[:, top : top + height, left : left + width] = triggers[poison.trigger].pixels(width).to(image.device)
        return pasted

    def _rows(
        self, indices: Iterable[int], trigger: int, scene: SplitInfo, margin: Margin, seeds: Seeds
    ) -> list[Poison]:
        """A row for each of `indices`: the patch's corner is uniform over the free ones, by the image's own seed."""
        patch = self._trigger(trigger).width(scene.size)
        free, target = corners(scene.size, patch, margin), self.targets(scene.classes)[trigger]
        truth = []
        for index in indices:
            seed = seeds.child("place", index).value
            left, top = free[seed % len(free)], free[seed // len(free) % len(free)]
            box = (top, left, patch, patch)
            truth.append(Poison(index=index, trigger=trigger, target=target, box=box, seed=seed))
        return truth

    def _trigger(self, number: int) -> Trigger:
        pairs = self._pairs()
        if not 0 <= number < len(pairs):
            has = "one, number 0" if len(pairs) == 1 else f"{len(pairs)}, numbers 0 to {len(pairs) - 1}"
            raise BenchError(f"there is no trigger {number}: {self.name} has {has}.")
        return pairs[number][0]
