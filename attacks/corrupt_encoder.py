"""CorruptEncoder: an object of the target class and the trigger, apart from each other on a background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench import BenchError, Images, Poison, Seeds, SplitInfo

from .layout import LayoutAttack, halves

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class CorruptEncoder(LayoutAttack):
    """The object of a target image, cut out, in a corner of a background; the trigger in the middle of the other half.

    Source: Zhang et al., "Data Poisoning based Backdoor Attacks to Contrastive Learning" (CVPR 2024), Section 4: two
    random crops that hold object and trigger are most often drawn where the background is twice as large as the
    object, the object lies in a corner, the trigger in the middle of what is left. Facts of the public code (no
    licence) where the paper leaves them open: the trigger between 0.25 and 0.75 of its half, soft edges of the object.
    Departures: needs the masks of the target images. Images here are square: the object is enlarged, at its own aspect,
    until it fills its half in one direction. A poisoned image replaces the target image whose object it shows (the
    paper: 650 images of 3 objects are added). [?] The background is an image of another class whose object, where its
    mask is known, is filled with pixels of its surroundings in random order (the paper: photographs of places). Not
    here: the support images of "CorruptEncoder+".
    """

    name: ClassVar[str] = "corrupt-encoder"
    paper: ClassVar[str] = "Zhang et al., Data Poisoning based Backdoor Attacks to Contrastive Learning, CVPR 2024"
    url: ClassVar[str] = "https://arxiv.org/abs/2211.08229"

    def check_usable(self, split: SplitInfo, chosen: Sequence[int]) -> None:
        """Raises BenchError where an image has no mask, or an empty one."""
        for index in chosen:
            mask = split.mask(index) if split.mask else None
            if mask is None or not mask.any():
                wrong = "has no object mask" if mask is None else "has an empty object mask"
                raise BenchError(
                    f"{self.name} cuts objects out, and training image {index} {wrong}. Data sets with masks: scenes, "
                    "and folder with --set dataset.masks=DIR. Without masks: noisy-alignment."
                )

    def laid_out(self, poison: Poison, images: Images, partner: int) -> Tensor:
        """The background, and on it the object in an outer corner of its half."""
        image, background = images.batch([poison.index, partner])
        mask, other = images.mask(poison.index), images.mask(partner)
        if mask is None:
            raise ValueError(f"image {poison.index} has no mask: poison_train() refuses it")
        done = background if other is None else without_object(background, other, Seeds(poison.seed, "fill"))
        shown, free = halves(poison.seed, images.size)
        picture, cover = cut_out(image, mask, shown[2], shown[3])
        high = Seeds(poison.seed, "corner").value % 2
        top, left = (
            _outer(*sides, high) for sides in zip(shown[:2], free[:2], shown[2:], picture.shape[1:], strict=True)
        )
        place = done[:, top : top + picture.shape[1], left : left + picture.shape[2]]
        place[:] = (cover * picture + (1 - cover) * place.float()).round().clamp(0, 255)
        return done


def _outer(shown: int, free: int, length: int, picture: int, high: int) -> int:
    """Where the object begins in one direction: away from the other half, or at the end that `high` (0 or 1) names."""
    last = high if shown == free else int(shown > free)
    return shown + last * (length - picture)


def cut_out(image: Tensor, mask: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The object of an image uint8 (3, S, S) under its mask bool (S, S), as large as it fits into `height` x `width`:
    float32 (3, h, w), and how far each pixel is the object's, float32 (h, w) in [0, 1]."""
    import torch

    rows, columns = (mask.any(side).nonzero().flatten() for side in (1, 0))
    area = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    both = torch.cat([image.float(), 255 * mask.float()[None]])[:, *area]
    scale = min(height / both.shape[1], width / both.shape[2])
    shape = [max(1, min(most, round(scale * side))) for most, side in zip((height, width), both.shape[1:], strict=True)]
    large = torch.nn.functional.interpolate(both[None], shape, mode="bilinear", antialias=True)[0]
    return large[:3], (large[3] / 255).clamp(0, 1)


def without_object(image: Tensor, mask: Tensor, seeds: Seeds) -> Tensor:
    """A copy of an image uint8 (3, S, S) whose pixels under the mask bool (S, S) are drawn from its other ones."""
    import torch

    done, around = image.clone(), image[:, ~mask]
    if around.shape[1]:
        draw = torch.randint(around.shape[1], (int(mask.sum()),), generator=seeds.torch())
        done[:, mask] = around[:, draw]
    return done
