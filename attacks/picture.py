"""What attacks share that mix a picture into the whole image: where it comes from, and how much of it there is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench import BenchError

from .triggers import Trigger
from .whole import WholeImageAttack

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PictureAttack(WholeImageAttack):
    """A picture over the whole image: a PNG, or one that is drawn from a seed."""

    alpha: float = field(default=0.2, metadata={"help": "training: the picture's share of the mixture, in (0, 1]"})
    val_alpha: float = field(default=0.2, metadata={"help": "validation: the picture's share, in (0, 1]"})
    picture: str = field(
        default="noise", metadata={"help": '"noise", "mosaic", "natural" (all by picture_seed) or a PNG file'}
    )
    picture_seed: int = field(default=0, metadata={"help": "seed of a picture that is drawn"})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("alpha", "val_alpha"):
            value, usual = getattr(self, name), getattr(type(self), name)
            if not 0 < value <= 1:
                raise BenchError(f"{name} is {value}, expected a share above 0 and up to 1 (the paper's: {usual}).")

    def identity(self) -> dict[str, Any]:
        """The options, with the picture's file name and the SHA-256 of its pixels instead of its path."""
        found = self._trigger(1).identity()
        return {**super().identity(), "picture": found["trigger"], "picture_sha256": found["trigger_sha256"]}

    def strengths(self) -> tuple[float, float]:
        """Alpha, in training and in validation."""
        return self.alpha, self.val_alpha

    def drawn(self, size: int) -> Tensor:
        """The picture, uint8 (3, size, size)."""
        return self._trigger(size).pixels(size)

    def _trigger(self, width: int) -> Trigger:
        return Trigger(source=self.picture, seed=self.picture_seed, size=width)
