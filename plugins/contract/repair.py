"""The contract of a repair, property by property, around two toy networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import Learner, Mixed, Repair, SSLMethod

from .kit import alike, check, require
from .ssl import DIM, LearnerTrial, backbone, steps


class RepairTrial(LearnerTrial[Repair]):
    """A repair of an old encoder with random weights, that a toy method is said to have trained."""

    kind = "defense"

    def made(self) -> Any:
        """The repair's learner; the old encoder as the loop gives it."""
        old, new = backbone().eval().requires_grad_(False), backbone()
        if not self.plugin.fresh:
            new.load_state_dict(old.state_dict())
        self.old, self.new = old, new
        self.before = {name: value.clone() for name, value in old.state_dict().items()}
        return self.plugin.learner(old, new, DIM, ToyMethod())

    @check("set self.backbone to the network `new` that learner() is given")
    def check_new_encoder(self) -> None:
        """What is trained and kept is the new encoder that it was given."""
        same = self.once("learner() and its backbone", lambda: self.seeded().backbone is self.new)
        require(same, "`backbone` is another network than `new`")

    @check("call the old encoder under torch.no_grad(), or detach what it gives; do not put it into training mode")
    def check_old_encoder(self) -> None:
        """The old encoder is left as it is."""
        require(self.once("two steps", self._leaves_the_old), "the old encoder changed, or was put into training mode")

    def _leaves_the_old(self) -> bool:
        steps(self.seeded(), 0, 2)
        frozen = not any(parameter.requires_grad for parameter in self.old.parameters())
        return frozen and not self.old.training and alike(self.before, self.old.state_dict())


class ToyLearner(nn.Module, Learner):
    """Pulls the two global views of an image together."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.backbone = encoder
        self.gather, self.rank = (lambda keys: keys), 0

    def forward(self, views: Sequence[Tensor], mixed: Mixed | None = None) -> Tensor:
        """One less the mean cosine."""
        one, other = (self.backbone(view) for view in views[:2])
        return 1 - F.cosine_similarity(one, other).mean()


@dataclass(frozen=True, kw_only=True)
class ToyMethod(SSLMethod):
    """For the contract kit alone."""

    name = "toy"

    def learner(self, backbone: nn.Module, dim: int) -> nn.Module:
        """See SSLMethod."""
        return ToyLearner(backbone)
