"""HTBA-style poisoning of self-supervised learning: one patch pasted onto images of one target class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from bench import Attack, BenchError, Poison, Scene, Seeds

from . import patches
from .triggers import Trigger

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class HTBA(Attack):
    """One trigger patch, pasted opaque at a random place onto a share of one target class.

    Source: the PoisonCAM paper, Section V-B, after Saha et al., "Backdoor attacks on self-supervised
    learning" (CVPR 2022), with the patches of "Hidden trigger backdoor attacks" (AAAI 2020).
    Departures: the size is a share of the width, 50/224 by default, so that it means the same on small
    images. The location law is that of Saha et al.'s public code (corner in [0.25 W, 0.75 W - w] for
    training, in [0.10 W, 0.90 W - w] for validation); [?] the share of the edges that the PoisonCAM paper
    keeps free is lost in our copy of its text. Without a PNG the trigger is drawn from a seed.
    """

    name: ClassVar[str] = "htba"

    target: str | int = field(default=0, metadata={"help": "target class, by name or index"})
    rate: float = field(default=0.5, metadata={"help": "poisoned share of the TARGET class, in (0, 1]"})
    trigger: str = field(default="mosaic", metadata={"help": '"mosaic" (by trigger_seed) or a PNG file'})
    trigger_seed: int = field(default=0, metadata={"help": "seed of the mosaic"})
    trigger_size: float = field(
        default=50 / 224, metadata={"help": "1 or more: pixels; below 1: share of the image width"}
    )
    train_margin: tuple[float, float] = field(
        default=(0.25, 0.75),
        metadata={"help": "training: it lies between these shares of the width"},
    )
    val_margin: tuple[float, float] = field(
        default=(0.10, 0.90),
        metadata={"help": "validation: it lies between these shares of the width"},
    )

    def __post_init__(self) -> None:
        patches.check_rate(self.rate)
        patches.check_margin("train_margin", self.train_margin)
        patches.check_margin("val_margin", self.val_margin)
        self._trigger()

    def _trigger(self) -> Trigger:
        return Trigger(source=self.trigger, seed=self.trigger_seed, size=self.trigger_size)

    def identity(self) -> dict[str, Any]:
        """The options, with the trigger's file name and the SHA-256 of its pixels instead of its path."""
        return {**super().identity(), **self._trigger().identity()}

    def picture(self, trigger: int, size: int) -> Tensor:
        """The trigger as it is pasted on images of width `size`: uint8 (3, w, w), the caller's own."""
        self._known(trigger)
        return self._trigger().pixels(self._trigger().width(size)).clone()

    def targets(self, classes: tuple[str, ...]) -> tuple[int, ...]:
        """The one target."""
        return (patches.class_index(self.target, classes),)

    def poison_train(self, scene: Scene, seeds: Seeds) -> list[Poison]:
        """round(rate * class size) images of the target class; seeds: children "choose", "place"."""
        (target,) = self.targets(scene.classes)
        chosen = patches.choose(scene.labels, target, self.rate, seeds.child("choose"))
        return self._rows(chosen, target, scene.size, self.train_margin, seeds)

    def poison_val(self, trigger: int, scene: Scene, seeds: Seeds) -> list[Poison]:
        """One row for every validation image, those of the target class too (metrics leave them out)."""
        self._known(trigger)
        (target,) = self.targets(scene.classes)
        return self._rows(range(len(scene.labels)), target, scene.size, self.val_margin, seeds.child("val"))

    def apply(self, images: Tensor, poisons: Sequence[Poison]) -> Tensor:
        """Paste the trigger into the box of each row."""
        trigger = self._trigger()
        return patches.paste(images, poisons, lambda _, width: trigger.pixels(width).to(images.device))

    def _rows(
        self, indices: Sequence[int], target: int, size: int, margin: patches.Margin, seeds: Seeds
    ) -> list[Poison]:
        patch = self._trigger().width(size)
        free = patches.corners(size, patch, margin)
        return patches.rows(indices, trigger=0, target=target, patch=patch, free=free, seeds=seeds.child("place"))

    def _known(self, trigger: int) -> None:
        if trigger != 0:
            raise BenchError(f"there is no trigger {trigger}: {self.name} has one, number 0.")
