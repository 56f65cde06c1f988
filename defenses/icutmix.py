"""i-CutMix: a training change that weakens what a patch can teach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench import BenchError, Mixed, Seeds, TrainingDefense

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ICutMix(TrainingDefense):
    """Pastes a random box of another image of the batch into every query view; the loss asks for both images.

    i-Mix (Lee et al., ICLR 2021) with the boxes of CutMix (Yun et al., ICCV 2019), as PatchSearch (Tejankar et al.,
    CVPR 2023) and the PoisonCAM paper use it: lambda ~ Beta(alpha, alpha), then max(lambda, 1 - lambda); a box of area
    1 - lambda with a uniform centre, cut off at the border; lambda again from the box as it is. Keys stay unmixed.

    Readings [?] (docs/fidelity.md): each view draws its own permutation, lambda and box, shared by the images of the
    batch; local views are mixed as global ones are; with several devices the permutation stays within a device.
    """

    name = "icutmix"
    paper = "Tejankar et al., Defending Against Patch-based Backdoor Attacks on Self-Supervised Learning, CVPR 2023"
    url = "https://arxiv.org/abs/2304.01482"

    alpha: float = field(default=1.0, metadata={"help": "of Beta(alpha, alpha), the law of lambda; above 0"})

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise BenchError(f"alpha is {self.alpha}, expected a number above 0 (1 = uniform)")

    def mix(self, views: Sequence[Tensor], seeds: Seeds) -> Mixed:
        """Each view mixed with a permutation of itself."""
        import torch

        mixed, partners, weights = [], [], []
        for number, view in enumerate(views):
            draws = seeds.child(number)
            partner = torch.randperm(len(view), generator=draws.torch()).to(view.device)
            top, bottom, left, right = self.box(view.shape[-1], draws.child("box"))
            pasted = view.clone()
            pasted[:, :, top:bottom, left:right] = view[partner][:, :, top:bottom, left:right]
            mixed.append(pasted)
            partners.append(partner)
            weights.append(1 - (bottom - top) * (right - left) / view.shape[-1] ** 2)
        return Mixed(views=mixed, partners=partners, weights=weights)

    def box(self, width: int, seeds: Seeds) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) in pixels of the box on views of `width` px; empty where lambda is near 1."""
        draw = seeds.numpy()
        share = draw.beta(self.alpha, self.alpha)
        cut = int(width * math.sqrt(min(share, 1 - share)))
        row, column = (int(draw.integers(width)) for _ in range(2))
        spans = [(max(0, middle - cut // 2), min(width, middle + cut // 2)) for middle in (row, column)]
        return (*spans[0], *spans[1])
