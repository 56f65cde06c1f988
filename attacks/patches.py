"""What every attack with pasted patches is made of: where on the images, how large, the pasting, the attack itself.

Each row follows from its own seed alone, by arithmetic: a library's generator may change its stream.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from bench import Attack, BenchError, Box, Poison, Seeds, SplitInfo

from .classes import check_rate, choose, class_index, copy_of
from .look import JPEG_QUALITIES, Span, check_span, coloured, drawn, pasted, recompressed
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


def visible_corners(length: int, side: int, patch: int, margin: Margin) -> range:
    """As `corners`, on a photograph of `length` px in this direction of which the middle `side` px are kept."""
    first = (length - side) // 2
    free = corners(length, patch, margin)
    seen = range(max(free[0], first), min(free[-1], first + side - patch) + 1)
    if not seen:
        raise BenchError(
            f"a trigger of {patch} px does not fit into the middle {side} px of a photograph: make it smaller."
        )
    return seen


def on_square(box: Box, shape: tuple[int, int], size: int) -> Box:
    """A box (w x w) on a picture of this height and width as its middle square shows it at `size` px."""
    side = min(shape)
    scale, width = size / side, max(1, round(box[2] * size / side))
    top, left = (
        min(round((at - (length - side) // 2) * scale), size - width) for at, length in zip(box, shape, strict=False)
    )
    return top, left, width, width


@dataclass(frozen=True, kw_only=True)
class PatchAttack(Attack):
    """(trigger, target) pairs: each trigger is a patch, pasted at random places onto a share of its target.

    As the paper has it, a patch is opaque and the same in every image. Triggers as they come in the world are options:
    muted colours (`saturation`, `contrast`), and in each image another size, light and opacity, drawn from the row's
    seed; `jpeg` compresses the whole poisoned image, as cameras and websites do. The size is in the row's box, the
    opacity is its strength where it varies. With `paste_on` "original" a training image's photograph is poisoned before
    it is cropped and resized, as Saha et al.'s public code does (50 px on a photograph of 500 x 375 are 30 px at 224):
    pixels of `trigger_size` are then the photograph's, a share is one of its shorter side, and the row's box is where
    the patch comes to lie, rounded to whole pixels. Validation images are poisoned as they are, as there.

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
    trigger_scale: Span = field(
        default=(1.0, 1.0), metadata={"help": "in each image its size times a factor between these"}
    )
    saturation: float = field(default=1.0, metadata={"help": "of its colours: 0 grey, 1 as they are"})
    contrast: float = field(default=1.0, metadata={"help": "of its pixels around mid-grey: 0 flat, 1 as they are"})
    brightness: Span = field(
        default=(1.0, 1.0), metadata={"help": "in each image its pixels times a factor between these"}
    )
    opacity: Span = field(default=(1.0, 1.0), metadata={"help": "in each image, above 0 and up to 1"})
    rotation: float = field(
        default=0.0, metadata={"help": "in each image it is turned by up to so many degrees, either way"}
    )
    paste_on: Literal["image", "original"] = field(
        default="image", metadata={"help": "training: on the square image, or on the photograph before it is resized"}
    )
    jpeg: int = field(default=0, metadata={"help": "quality (1 to 95) of the poisoned image as a JPEG; 0: none"})

    def __post_init__(self) -> None:
        check_rate(self.rate)
        check_span("trigger_scale", self.trigger_scale, 0, math.inf)
        check_span("brightness", self.brightness, 0, math.inf)
        check_span("opacity", self.opacity, 0, 1)
        for name in ("saturation", "contrast"):
            if not 0 <= getattr(self, name) <= 4:
                raise BenchError(f"{name} is {getattr(self, name)}, expected 0 to 4 (1: as it is).")
        if not 0 <= self.rotation <= 180:
            raise BenchError(f"rotation is {self.rotation}, expected 0 to 180 degrees.")
        if self.jpeg and self.jpeg not in JPEG_QUALITIES:
            raise BenchError(f"jpeg is {self.jpeg}, expected a quality from 1 to {JPEG_QUALITIES[-1]}, or 0 for none.")
        for name in ("train_margin", "val_margin"):
            low, high = getattr(self, name)
            if not 0 <= low < high <= 1:
                raise BenchError(f"{name} is {(low, high)}, expected shares of the width, 0 <= low < high <= 1.")
        self._pairs()

    @abstractmethod
    def _pairs(self) -> tuple[tuple[Trigger, str | int], ...]:
        """Each trigger with its target class, by name or index."""

    def picture(self, trigger: int, size: int) -> Tensor:
        """A trigger as it is pasted on images of width `size`, of middle size: uint8 (3, w, w), the caller's own."""
        found = self._trigger(trigger)
        return self._pixels(found, found.width(size)).clone()

    def _pixels(self, trigger: Trigger, width: int) -> Tensor:
        return coloured(trigger.pixels(width), self.saturation, self.contrast)

    @property
    def recompresses(self) -> bool:
        """True with `jpeg`: pixels outside the box change a little too."""
        return self.jpeg > 0

    @property
    def on_originals(self) -> bool:
        """True with `paste_on` "original"."""
        return self.paste_on == "original"

    def targets(self, classes: tuple[str, ...]) -> tuple[int, ...]:
        """The target of each trigger."""
        return tuple(class_index(target, classes) for _, target in self._pairs())

    def poison_train(self, split: SplitInfo, seeds: Seeds) -> list[Poison]:
        """round(rate * class size) images of each target class; seeds: children "choose", "place"."""
        found: list[Poison] = []
        for trigger, target in enumerate(self.targets(split.classes)):
            chosen = choose(split.labels, target, self.rate, seeds.child("choose"))
            shape_of = split.original_size if self.on_originals else None
            found += self._rows(chosen, trigger, split, self.train_margin, seeds, shape_of)
        return sorted(found, key=lambda row: row.index)

    def poison_val(self, trigger: int, split: SplitInfo, seeds: Seeds) -> list[Poison]:
        """One row for every validation image, those of the target class too (metrics leave them out)."""
        return self._rows(range(len(split.labels)), trigger, split, self.val_margin, seeds.child("val"))

    def apply(self, images: Tensor, poisons: Sequence[Poison]) -> Tensor:
        """Paste the trigger into the box of each row, then compress the image."""
        triggers, done = [trigger for trigger, _ in self._pairs()], copy_of(images, poisons)
        for image, poison in zip(done, poisons, strict=True):
            if poison.box is None:
                raise ValueError(f"row {poison.index} has no box: it is not of a pasted trigger")
            self._paste(image, triggers[poison.trigger], poison.box, poison)
        return done

    def apply_original(self, original: Tensor, poison: Poison) -> Tensor:
        """Paste the trigger where its row's seed has it, then compress the photograph."""
        trigger, done = self._trigger(poison.trigger), original.clone()
        height, width = done.shape[1:]
        self._paste(done, trigger, self._place(trigger, (height, width), poison.seed, self.train_margin), poison)
        return done

    def _paste(self, image: Tensor, trigger: Trigger, box: Box, poison: Poison) -> None:
        """Onto `image` (3, H, W) itself."""
        top, left, height, width = box
        place = image[:, top : top + height, left : left + width]
        patch = self._pixels(trigger, width).to(image.device)
        light = drawn(poison.seed, "brightness", self.brightness)
        turn = drawn(poison.seed, "rotation", (-self.rotation, self.rotation))
        place[:] = pasted(patch, place, light, 1.0 if poison.strength is None else poison.strength, turn)
        if self.jpeg:
            image[:] = recompressed(image, self.jpeg)

    def _rows(
        self,
        indices: Iterable[int],
        trigger: int,
        split: SplitInfo,
        margin: Margin,
        seeds: Seeds,
        shape_of: Callable[[int], tuple[int, int]] | None = None,
    ) -> list[Poison]:
        """A row for each of `indices`: the patch's corner is uniform over the free ones, by the image's own seed.

        shape_of: height and width of the photograph that the patch goes onto; None: of the square image itself.
        """
        found, target = self._trigger(trigger), self.targets(split.classes)[trigger]
        if shape_of is None:  # the largest must fit
            corners(split.size, self._scaled(found.width(split.size), self.trigger_scale[1]), margin)
        truth = []
        for index in indices:
            seed = seeds.child("place", index).value
            shape = shape_of(index) if shape_of else (split.size, split.size)
            box = on_square(self._place(found, shape, seed, margin), shape, split.size)
            truth.append(self._row(index, trigger, target, box, seed))
        return truth

    def _place(self, trigger: Trigger, shape: tuple[int, int], seed: int, margin: Margin) -> Box:
        """Where the patch lies on a picture of this height and width: between the margins, as far as its middle square
        shows them."""
        side = min(shape)
        patch = self._scaled(trigger.width(side), drawn(seed, "size", self.trigger_scale))
        down, across = (visible_corners(length, side, patch, margin) for length in shape)
        return down[seed // len(across) % len(down)], across[seed % len(across)], patch, patch

    def _row(self, index: int, trigger: int, target: int, box: Box, seed: int) -> Poison:
        strength = drawn(seed, "opacity", self.opacity) if self.opacity != (1, 1) else None
        return Poison(index=index, trigger=trigger, target=target, box=box, seed=seed, strength=strength)

    def _scaled(self, width: int, factor: float) -> int:
        return max(1, round(width * factor))

    def _trigger(self, number: int) -> Trigger:
        pairs = self._pairs()
        if not 0 <= number < len(pairs):
            has = "one, number 0" if len(pairs) == 1 else f"{len(pairs)}, numbers 0 to {len(pairs) - 1}"
            raise BenchError(f"there is no trigger {number}: {self.name} has {has}.")
        return pairs[number][0]
