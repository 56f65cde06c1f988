"""Blended injection: a picture as large as the image, mixed into all of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from .triggers import Trigger
from .whole import WholeImageAttack, check_share

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Blend(WholeImageAttack):
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

    alpha: float = field(default=0.2, metadata={"help": "training: the picture's share of the mixture, in (0, 1]"})
    val_alpha: float = field(default=0.2, metadata={"help": "validation: the picture's share, in (0, 1]"})
    picture: str = field(
        default="noise", metadata={"help": '"noise", "mosaic", "natural" (all by picture_seed) or a PNG file'}
    )
    picture_seed: int = field(default=0, metadata={"help": "seed of a picture that is drawn"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("alpha", self.alpha, "0.2")
        check_share("val_alpha", self.val_alpha, "0.2")

    def identity(self) -> dict[str, Any]:
        """The options, with the picture's file name and the SHA-256 of its pixels instead of its path."""
        found = self._trigger(1).identity()
        return {**super().identity(), "picture": found["trigger"], "picture_sha256": found["trigger_sha256"]}

    def strengths(self) -> tuple[float, float]:
        """Alpha, in training and in validation."""
        return self.alpha, self.val_alpha

    def triggered(self, image: Tensor, strength: float) -> Tensor:
        """The mixture, not yet rounded."""
        size = image.shape[-1]
        over = self._trigger(size).pixels(size).to(image.device)
        return (1 - strength) * image.float() + strength * over.float()

    def _trigger(self, width: int) -> Trigger:
        return Trigger(source=self.picture, seed=self.picture_seed, size=width)
