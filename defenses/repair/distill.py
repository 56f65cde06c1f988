"""Distillation: a fresh encoder learns what the old one makes of the kept images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from bench import BenchError, Repair, SSLMethod

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Distill(Repair):
    """Trains a fresh encoder (the student) to see the likenesses among images that the old one (the teacher) sees; what
    the teacher makes of a trigger is not passed on as long as no image shows one.

    The defense of Saha et al. (CVPR 2022, their section on defenses), who distil on a clean share of the training set
    (`trusted+distill`) with CompRess (Koohpayegani et al., NeurIPS 2020): teacher and student each compare the same
    view with the same earlier images, by their own features of these (two banks); the softmax of the student's cosines
    over the temperature is to be the teacher's (KL divergence). loss = "features" is plain regression instead: the
    squared distance of their features of length 1 (SimReg, Navaneet et al., BMVC 2021).

    Departures: optimiser, schedule and views are the loop's (the authors' views are crops and flips alone); the two
    global views both count; the student's bank holds its own features, not those of a momentum copy (the authors' code
    has both); no head on the student. [?] A bank starts as random directions.
    """

    name = "distill"
    paper = "Saha et al., Backdoor Attacks on Self-Supervised Learning, CVPR 2022"
    url = "https://arxiv.org/abs/2105.10123"
    fresh: ClassVar[bool] = True

    length: float = field(default=0.5)
    loss: Literal["similarity", "features"] = field(
        default="similarity", metadata={"help": "what is learnt: the likeness to other images, or the features"}
    )
    anchors: int = field(default=12_800, metadata={"help": "images of a bank, about a tenth of all ('similarity')"})
    temperature: float = field(default=0.04, metadata={"help": "of both softmaxes, above 0 ('similarity')"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.anchors < 2:
            raise BenchError(
                f"anchors is {self.anchors}, expected 2 or more: one image is alike to all in the same way"
            )
        if not self.temperature > 0:
            raise BenchError(f"temperature is {self.temperature}, expected a number above 0")

    def learner(self, old: nn.Module, new: nn.Module, dim: int, ssl: SSLMethod) -> nn.Module:
        """The student beside its teacher."""
        from .student import FeatureStudent, SimilarityStudent

        if self.loss == "features":
            return FeatureStudent(old, new)
        return SimilarityStudent(old, new, dim, self.anchors, self.temperature)
