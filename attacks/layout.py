"""Shared by attacks that lay two things out side by side on one training image: two random crops then hold one each."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench import BenchError, Box, Images, Poison, Seeds, Split, SplitInfo

from .classes import choose
from .htba import HTBA
from .look import drawn
from .patches import Margin

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LayoutAttack(HTBA):
    """One half of each poisoned training image shows the target class, the other half bears the trigger.

    Which half, of left, right, top and bottom, follows from the row's seed. The trigger lies between the shares
    `train_margin` of its half in both directions, in the middle where it does not fit between them. Validation images
    are triggered as by `htba`.
    """

    variant_of: ClassVar[str] = "htba"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.on_originals:
            raise BenchError(f'{self.name} makes whole images: paste_on is "original", expected "image".')

    @property
    def composes(self) -> bool:
        """True: with the layout, more than the trigger's box is new."""
        return True

    def poison_train(self, split: SplitInfo, seeds: Seeds) -> list[Poison]:
        """round(rate * class size) images of the target class, those of `htba`; seeds: children "choose", "place"."""
        (target,) = self.targets(split.classes)
        chosen = choose(split.labels, target, self.rate, seeds.child("choose"))
        if (split.labels == target).all():
            raise BenchError(f"{self.name} needs images of other classes than its target, {split.classes[target]!r}.")
        self.check_usable(split, chosen)
        return [self._laid(index, target, split.size, seeds.child("place", index).value) for index in chosen]

    def check_usable(self, split: SplitInfo, chosen: Sequence[int]) -> None:
        """Raises BenchError where the `chosen` images of the target class lack what the layout needs."""

    def compose(self, poison: Poison, split: Split) -> Tensor:
        """The two halves, then the trigger in its box."""
        if poison.box is None:
            raise ValueError(f"row {poison.index} has no box: it is not of this attack")
        others = np.flatnonzero(split.labels != poison.target)
        partner = int(others[Seeds(poison.seed, "partner").value % len(others)])
        done = self.laid_out(poison, split.images, partner)
        self._paste(done, self._trigger(0), poison.box, poison)
        return done

    @abstractmethod
    def laid_out(self, poison: Poison, images: Images, partner: int) -> Tensor:
        """The image of a row before it bears the trigger, uint8 (3, S, S), the caller's own: image poison.index in the
        first of its `halves`, image `partner`, of another class, in the second."""

    def _laid(self, index: int, target: int, size: int, seed: int) -> Poison:
        _, (top, left, height, width) = halves(seed, size)
        patch = self._scaled(self._trigger(0).width(size), drawn(seed, "size", self.trigger_scale))
        if patch > min(height, width):
            raise BenchError(
                f"a trigger of {patch} px does not fit into half of an image {size} px wide: make it smaller "
                f"(trigger_size up to {size // 2}; a share, 0.22)."
            )
        down, across = (_places(length, patch, self.train_margin) for length in (height, width))
        box = (top + down[seed // len(across) % len(down)], left + across[seed % len(across)], patch, patch)
        return self._row(index, 0, target, box, seed)


def _places(length: int, patch: int, margin: Margin) -> range:
    """Where a patch may begin on a side of `length` px: between the margins, else in the middle."""
    slack = 1e-9  # as in patches.corners
    first, last = math.ceil(margin[0] * length - slack), math.floor(margin[1] * length - patch + slack)
    middle = (length - patch) // 2
    return range(first, last + 1) if first <= last else range(middle, middle + 1)


def halves(seed: int, size: int) -> tuple[Box, Box]:
    """The half of an image of width `size` that shows the target class, and the other, by the row's seed."""
    middle = size // 2
    first, second = (0, 0, size, middle), (0, middle, size, size - middle)
    if Seeds(seed, "upright").value % 2:
        first, second = (0, 0, middle, size), (middle, 0, size - middle, size)
    return (first, second) if Seeds(seed, "side").value % 2 else (second, first)
