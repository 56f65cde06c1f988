"""What MoCo-v3 trains; its options are in moco_v3.py of the folder above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from bench.api import Mixed
from bench.ssl.learner import MomentumLearner, Views, rising
from bench.ssl.losses import info_nce, mlp

if TYPE_CHECKING:
    from bench.ssl.moco_v3 import MoCoV3


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
