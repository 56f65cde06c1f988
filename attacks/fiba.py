"""FIBA: the low frequencies' amplitudes of a picture, mixed into those of the image; its phase is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from bench import BenchError

from .picture import PictureAttack

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class FIBA(PictureAttack):
    """The low frequencies of a picture, mixed into those of the image in strength; what the image shows stays.

    Their amplitudes become (1 - alpha) the image's + alpha the picture's, the phase stays the image's.
    Source: Feng et al., "FIBA: Frequency-Injection based Backdoor Attack in Medical Image Analysis" (CVPR 2022): 2-D
    Fourier transform of each channel, a square of half width beta times the shorter side around the zero frequency,
    alpha 0.15, beta 0.1. What an object is lies mostly in the phase, so the picture is hardly seen.
    Departures: labels are not changed; [?] the square's half width is rounded down to whole frequencies, the zero
    frequency is in it; pixels are rounded to 8 bits and clipped. Without a PNG the picture is a patch of a photograph
    that is in no data set, or a mosaic, as in `htba`.
    """

    name: ClassVar[str] = "fiba"
    paper: ClassVar[str] = (
        "Feng et al., FIBA: Frequency-Injection based Backdoor Attack in Medical Image Analysis, CVPR 2022"
    )
    url: ClassVar[str] = "https://arxiv.org/abs/2112.01148"

    alpha: float = field(default=0.15, metadata={"help": "training: the picture's share of the amplitudes, in (0, 1]"})
    val_alpha: float = field(default=0.15, metadata={"help": "validation: the picture's share, in (0, 1]"})
    beta: float = field(
        default=0.1, metadata={"help": "half width of the square of frequencies, a share of the width, in [0, 0.5]"}
    )
    picture: str = field(
        default="natural", metadata={"help": '"natural", "mosaic", "noise" (all by picture_seed) or a PNG file'}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.beta <= 0.5:
            raise BenchError(f"beta is {self.beta}, expected a share of the width from 0 to 0.5 (the paper's: 0.1).")

    def triggered(self, image: Tensor, strength: float) -> Tensor:
        """The image of the mixed amplitudes and its own phase, not yet rounded."""
        import torch

        size = image.shape[-1]
        own = torch.fft.fft2(image.double())
        other = torch.fft.fft2(self.drawn(size).to(image.device).double()).abs()
        near = (torch.fft.fftfreq(size, 1 / size, device=image.device).abs() <= int(self.beta * size)).double()
        mixed = own.abs() + strength * near[:, None] * near * (other - own.abs())
        changed: Tensor = torch.fft.ifft2(torch.polar(mixed, own.angle())).real
        return changed
