"""MoCo-v3: symmetric InfoNCE against a momentum encoder, in-batch negatives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from .pairs import MomentumMethod, Views

if TYPE_CHECKING:
    from torch import Tensor

    from .learner import MomentumLearner


@dataclass(frozen=True, kw_only=True)
class MoCoV3(MomentumMethod):
    """MoCo-v3 (Chen, Xie and He, 2021): InfoNCE against a momentum encoder, in-batch negatives, no queue.

    Departures: `projector = 0` and `predictor = 0` leave the heads out, which lets a backdoor reach the encoder in
    minutes instead of days; local views (multi-crop, after SwAV) are queries against both global keys.
    """

    name: ClassVar[str] = "moco_v3"
    paper: ClassVar[str] = "Chen, Xie and He, An Empirical Study of Training Self-Supervised Vision Transformers, 2021"
    url: ClassVar[str] = "https://arxiv.org/abs/2104.02057"
    normalised_heads = True
    optional_heads = ("projector", "predictor")
    projector: int = field(default=3, metadata={"help": "layers of the projection head; 0 for none"})
    predictor: int = field(default=2, metadata={"help": "layers of the prediction head; 0 for none"})
    hidden: int = field(default=4096, metadata={"help": "width of the heads' hidden layers"})
    output: int = field(default=256, metadata={"help": "width of the projection"})
    temperature: float = field(default=0.2, metadata={"help": "temperature of InfoNCE"})
    momentum: float = field(default=0.99, metadata={"help": "momentum at the start; rises to 1 by a cosine"})

    def pair(self, learner: MomentumLearner, query: Tensor, keys: Views, view: int, match: Tensor) -> Tensor:
        """InfoNCE against the keys of all processes, times 2T (MoCo-v3, algorithm 1)."""
        from .losses import info_nce

        own = learner.rank * len(query) + match
        return info_nce(query, keys[view], own, self.temperature) * 2 * self.temperature
