"""Noisy Alignment: an image of the target class beside one of another class that bears the trigger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from bench import Images, Poison

from .layout import LayoutAttack, halves
from .patches import Margin

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class NoisyAlignment(LayoutAttack):
    """Half a picture of the target class, half a picture of another class with the trigger in its middle.

    Source: Chen et al., "Backdooring Self-Supervised Contrastive Learning by Noisy Alignment" (ICCV 2025); the paper's
    text was not at hand: written from its abstract, a summary of its theorems and facts of the public code (MIT). A
    crop of one half is aligned with a crop of the other, so that in the features the trigger overrides whatever picture
    it lies on. Theorems 1 and 2: canvas of one by two widths, the two pictures side by side, the trigger in the
    middle of its picture (the code's margins: 0.45 and 0.55); the four directions at random; any trigger of `htba`.
    Departures: the image layout only, no text. Images here are square, so that of each picture the middle half is kept,
    at its own scale. A poisoned image replaces the target image it shows, the paper adds images; [?] the other
    picture is of any other class, drawn anew for each (the paper: a few hundred).
    """

    name: ClassVar[str] = "noisy-alignment"
    paper: ClassVar[str] = "Chen et al., Backdooring Self-Supervised Contrastive Learning by Noisy Alignment, ICCV 2025"
    url: ClassVar[str] = "https://arxiv.org/abs/2508.14015"

    train_margin: Margin = field(
        default=(0.45, 0.55),
        metadata={"help": "training: it lies between these shares of its half, else in its middle"},
    )

    def laid_out(self, poison: Poison, images: Images, partner: int) -> Tensor:
        """The middle half of each, side by side."""
        both = images.batch([poison.index, partner])
        done, size = both[0].clone(), both.shape[-1]
        for image, (top, left, height, width) in zip(both, halves(poison.seed, size), strict=True):
            down, across = (size - height) // 2, (size - width) // 2
            done[:, top : top + height, left : left + width] = image[:, down : down + height, across : across + width]
        return done
