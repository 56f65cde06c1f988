"""MoCo-v3: symmetric InfoNCE against a momentum encoder, in-batch negatives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from bench.api import SSLMethod

from .ranges import at_least, positive, share

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class MoCoV3(SSLMethod):
    """MoCo-v3 (Chen, Xie and He, 2021): InfoNCE against a momentum encoder, in-batch negatives, no queue.

    Departures: `projector = 0` and `predictor = 0` leave the heads out, which lets a backdoor reach the encoder in
    minutes instead of days; local views (multi-crop, after SwAV) are queries against both global keys.
    """

    name: ClassVar[str] = "moco_v3"
    projector: int = field(default=3, metadata={"help": "layers of the projection head; 0 for none"})
    predictor: int = field(default=2, metadata={"help": "layers of the prediction head; 0 for none"})
    hidden: int = field(default=4096, metadata={"help": "width of the heads' hidden layers"})
    output: int = field(default=256, metadata={"help": "width of the projection"})
    temperature: float = field(default=0.2, metadata={"help": "temperature of InfoNCE"})
    momentum: float = field(default=0.99, metadata={"help": "momentum at the start; rises to 1 by a cosine"})

    def __post_init__(self) -> None:
        at_least(0, projector=self.projector, predictor=self.predictor)
        at_least(1, hidden=self.hidden, output=self.output)
        positive("temperature", self.temperature)
        share("momentum", self.momentum)

    def learner(self, backbone: nn.Module, dim: int) -> nn.Module:
        """The module that the loop trains; see Learner."""
        from .learners.moco_v3 import MoCoLearner

        return MoCoLearner(backbone, dim, self)
