"""What every attack whose trigger is spread over the whole image is made of: its one target, rows without a box."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench import Attack, BenchError, Poison, Seeds, SplitInfo

from .classes import check_rate, choose, class_index, copy_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class WholeImageAttack(Attack):
    """A trigger on a share of one class, changing every pixel, in training as strongly as in validation or less.

    Its rows have no box, so whether a defense locates it does not apply. A row's strength is the attack's own number
    (alpha, delta, magnitude); its seed decides no pixel: the trigger is the same in all images.
    """

    target: str | int = field(default=0, metadata={"help": "target class, by name or index"})
    rate: float = field(default=0.5, metadata={"help": "poisoned share of the TARGET class, in (0, 1]"})

    def __post_init__(self) -> None:
        check_rate(self.rate)

    @abstractmethod
    def strengths(self) -> tuple[float, float]:
        """How strong the trigger is on training images, and on validation images."""

    @abstractmethod
    def triggered(self, image: Tensor, strength: float) -> Tensor:
        """An image uint8 (3, S, S) with the trigger: numbers of that shape, rounded and clipped to [0, 255] by the
        caller."""

    def check_visible(self, strength: float, size: int) -> None:
        """Raises BenchError where the trigger would change no pixel of an image of width `size`."""

    def targets(self, classes: tuple[str, ...]) -> tuple[int, ...]:
        """The one target."""
        return (class_index(self.target, classes),)

    def poison_train(self, split: SplitInfo, seeds: Seeds) -> list[Poison]:
        """round(rate * class size) images of the target class; seeds: child "choose"."""
        (target,) = self.targets(split.classes)
        chosen = choose(split.labels, target, self.rate, seeds.child("choose"))
        return self._rows(chosen, split, self.strengths()[0], seeds.child("choose"))

    def poison_val(self, trigger: int, split: SplitInfo, seeds: Seeds) -> list[Poison]:
        """One row for every validation image, those of the target class too (metrics leave them out)."""
        if trigger != 0:
            raise BenchError(f"there is no trigger {trigger}: {self.name} has one, number 0.")
        return self._rows(range(len(split.labels)), split, self.strengths()[1], seeds.child("val"))

    def apply(self, images: Tensor, poisons: Sequence[Poison]) -> Tensor:
        """Add the trigger, as strong as each row requires."""
        done = copy_of(images, poisons)
        for image, row in zip(done, poisons, strict=True):
            if row.strength is None:
                raise ValueError(f"row {row.index} has no strength: it is not of this trigger")
            image.copy_(self.triggered(image, row.strength).round().clamp(0, 255))
        return done

    def _rows(self, indices: Iterable[int], split: SplitInfo, strength: float, seeds: Seeds) -> list[Poison]:
        (target,) = self.targets(split.classes)
        self.check_visible(strength, split.size)
        return [
            Poison(index=i, trigger=0, target=target, box=None, seed=seeds.child(i).value, strength=strength)
            for i in indices
        ]


def check_positive(name: str, value: float, usual: str) -> None:
    """Raises BenchError unless `value` is a number above 0. usual: the paper's value, in words."""
    if not (math.isfinite(value) and value > 0):
        raise BenchError(f"{name} is {value}, expected a number above 0 (the paper's: {usual}).")
