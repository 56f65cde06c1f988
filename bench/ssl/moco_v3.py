"""MoCo-v3: symmetric InfoNCE against a momentum encoder, in-batch negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from bench.types import Mixed, SSLMethod

from .heads import info_nce, mlp
from .pairs import MomentumLearner, Views, rising
from .ranges import at_least, positive, share


def matched(queries: Tensor, keys: Tensor, own: Tensor, temperature: float) -> Tensor:
    """InfoNCE (see heads.info_nce) times 2T, as in MoCo-v3 (algorithm 1). A scalar."""
    return info_nce(queries, keys, own, temperature) * 2 * temperature


class MoCoLearner(MomentumLearner):
    """Encoder, projector and predictor, and the momentum copy of the first two."""

    def __init__(self, backbone: nn.Module, dim: int, options: MoCoV3) -> None:
        out = options.output if options.projector else dim
        super().__init__(
            backbone,
            mlp(options.projector, dim, options.hidden, out, last_norm=True),
            mlp(options.predictor, out, options.hidden, out, last_norm=True),
        )
        self.options = options

    def forward(self, views: Sequence[Tensor], mixed: Mixed | None = None) -> Tensor:
        """See Learner. Two global views alone: MoCo-v3's symmetric sum. Local views add no weight, only more pairs."""
        queries = self.predict(dict(enumerate(mixed.views if mixed else views)))
        keys = {number: self.gather(key) for number, key in self.targets(dict(enumerate(views[:2]))).items()}
        return self.over_pairs(queries, keys, mixed) * 2

    def pair(self, query: Tensor, keys: Views, view: int, match: Tensor) -> Tensor:
        """InfoNCE against the keys of all processes."""
        return matched(query, keys[view], self.rank * len(query) + match, self.options.temperature)

    def after_step(self, fraction: float) -> None:
        """Momentum from options.momentum to 1 by a cosine over training."""
        self.follow(rising(self.options.momentum, fraction))


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
        return MoCoLearner(backbone, dim, self)
