"""SIG: a sinusoid over the whole image."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from bench import BenchError

from .whole import WholeImageAttack, check_positive

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SIG(WholeImageAttack):
    """Vertical stripes over the whole image: a sinusoid added to every channel.

    v(i, j) = delta sin(2 pi j f / m) is added, j the column of m.
    Source: Barni, Kallas and Tondi, "A New Backdoor Attack in CNNs by Training Set Corruption Without Label Poisoning"
    (ICIP 2019): delta 20 and f 6 on traffic signs. The paper also tests a stronger signal in use than in training: here
    `val_delta` above `delta`. Columns are counted from 1 there, 1 <= j <= m, and so here.
    Departures: [?] the same signal in the three channels (the paper has grey digits and colour signs, and one formula);
    pixels are rounded to 8 bits and clipped.
    """

    name: ClassVar[str] = "sig"
    paper: ClassVar[str] = (
        "Barni et al., A New Backdoor Attack in CNNs by Training Set Corruption Without Label Poisoning, ICIP 2019"
    )
    url: ClassVar[str] = "https://arxiv.org/abs/1902.11237"

    delta: float = field(default=20.0, metadata={"help": "training: amplitude of the stripes, in grey levels"})
    val_delta: float = field(default=20.0, metadata={"help": "validation: amplitude of the stripes, in grey levels"})
    frequency: float = field(default=6.0, metadata={"help": "stripes over the width of the image"})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, usual in (("delta", "20"), ("val_delta", "20"), ("frequency", "6")):
            check_positive(name, getattr(self, name), usual)

    def strengths(self) -> tuple[float, float]:
        """Delta, in training and in validation."""
        return self.delta, self.val_delta

    def check_visible(self, strength: float, size: int) -> None:
        """Raises BenchError for an amplitude below half a grey level, or where every column is at a zero."""
        if not self._row(strength, size).round().any():
            raise BenchError(
                f"stripes of amplitude {strength:g} and frequency {self.frequency:g} change no pixel of images {size} "
                "px wide: enlarge delta (20) or take a frequency below half the width (6)."
            )

    def triggered(self, image: Tensor, strength: float) -> Tensor:
        """The sum, not yet rounded."""
        return image.float() + self._row(strength, image.shape[-1]).to(image.device)

    def _row(self, delta: float, width: int) -> Tensor:
        """What is added to each column, float32 (width,)."""
        import torch

        turn = 2 * math.pi * self.frequency / width
        return torch.tensor([delta * math.sin(turn * column) for column in range(1, width + 1)])
