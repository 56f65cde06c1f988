"""Blended injection: a picture as large as the image, mixed into all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .picture import PictureAttack

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Blend(PictureAttack):
    """A picture as large as the image, mixed into all of it.

    (1 - alpha) image + alpha picture.
    Source: Chen et al., "Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning" (2017), Section V-B,
    "blended injection", with alpha 0.2 and a random pattern (every pixel uniform in [0, 255]) or a cartoon. The paper
    mixes in less in training than in use where it must not be seen: here that is `alpha` below `val_alpha`.
    Departures: labels are not changed, since there are none; only images of the target class are poisoned. Without a
    PNG the picture is drawn from a seed: "noise", one colour for each of 32 x 32 cells so that it means the same on
    images of any size ([?] ours; at 32 px it is the paper's random pattern), or a picture of `htba` at full width.
    """

    name: ClassVar[str] = "blend"
    paper: ClassVar[str] = (
        "Chen et al., Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning, arXiv 2017"
    )
    url: ClassVar[str] = "https://arxiv.org/abs/1712.05526"

    def triggered(self, image: Tensor, strength: float) -> Tensor:
        """The mixture, not yet rounded."""
        size = image.shape[-1]
        over = self.drawn(size).to(image.device)
        return (1 - strength) * image.float() + strength * over.float()
