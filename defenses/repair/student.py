"""The modules that distillation trains: a student, its frozen teacher, and what they are compared by."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench import Learner, Mixed


class Student(nn.Module, Learner):
    """Teacher and student look at the same view; the loss is the mean over the two global views."""

    def __init__(self, old: nn.Module, new: nn.Module) -> None:
        super().__init__()
        self.old, self.backbone = old, new
        self.gather, self.rank = (lambda keys: keys), 0

    def forward(self, views: Sequence[Tensor], mixed: Mixed | None = None) -> Tensor:
        """See bench.Learner."""
        return torch.stack([self.compare(*self.features(view)) for view in views[:2]]).mean()

    def features(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the teacher and of the student, each (b, dim) float32, of length 1."""
        with torch.no_grad():
            taught = F.normalize(self.old(view).float(), dim=1)
        return taught, F.normalize(self.backbone(view).float(), dim=1)

    @abstractmethod
    def compare(self, taught: Tensor, learnt: Tensor) -> Tensor:
        """The loss of one view, a scalar, from both features of it."""


class FeatureStudent(Student):
    """Learns the teacher's features themselves."""

    def compare(self, taught: Tensor, learnt: Tensor) -> Tensor:
        """The squared distance, the mean over the images."""
        return (taught - learnt).square().sum(1).mean()


class SimilarityStudent(Student):
    """Learns how alike an image is to those of a bank of `anchors` earlier images, which both know by their own
    features (CompRess, equations 1 to 3, with two banks)."""

    def __init__(self, old: nn.Module, new: nn.Module, dim: int, anchors: int, temperature: float) -> None:
        super().__init__(old, new)
        self.temperature = temperature
        self.latest: tuple[Tensor, Tensor] | None = None
        # Teacher's and student's, the oldest image first; a buffer, so that a checkpoint holds it.
        self.banks: Tensor
        self.register_buffer("banks", F.normalize(torch.randn(2, anchors, dim), dim=2))

    def compare(self, taught: Tensor, learnt: Tensor) -> Tensor:
        """KL divergence of the student's softmax over the anchors from the teacher's, the mean over the images."""
        wanted, found = (
            F.log_softmax(each @ bank.T / self.temperature, dim=1)
            for each, bank in zip((taught, learnt), self.banks, strict=True)
        )
        self.latest = taught, learnt.detach()
        return F.kl_div(found, wanted, reduction="batchmean", log_target=True)

    def after_step(self, fraction: float) -> None:
        """The images of the step, by their second view, take the place of the oldest anchors. Not earlier: the gradient
        still needs the banks as they were."""
        if self.latest is not None:
            newest = torch.stack([self.gather(each) for each in self.latest])
            self.banks.copy_(torch.cat([self.banks, newest], dim=1)[:, -self.banks.shape[1] :])
            self.latest = None
