"""What BYOL trains; its options are in byol.py of the folder above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from bench.api import Mixed
from bench.ssl.learner import MomentumLearner, Views, rising
from bench.ssl.losses import cosines, mlp

if TYPE_CHECKING:
    from bench.ssl.byol import BYOL


class BYOLLearner(MomentumLearner):
    """Encoder, projector and predictor, and the momentum copy of the first two."""

    def __init__(self, backbone: nn.Module, dim: int, options: BYOL) -> None:
        out = options.output if options.projector else dim
        super().__init__(
            backbone,
            mlp(options.projector, dim, options.hidden, out, last_norm=False),
            mlp(options.predictor, out, options.hidden, out, last_norm=False),
        )
        self.options = options

    def forward(self, views: Sequence[Tensor], mixed: Mixed | None = None) -> Tensor:
        """See Learner. Two global views alone: BYOL's symmetric sum. Local views add no weight, only more pairs."""
        queries = self.predict(dict(enumerate(mixed.views if mixed else views)))
        return self.over_pairs(queries, self.targets(dict(enumerate(views[:2]))), mixed) * 2

    def pair(self, query: Tensor, keys: Views, view: int, match: Tensor) -> Tensor:
        """The squared distance of normalised prediction and target, in [0, 4] (BYOL, equation 2)."""
        return 2 - 2 * cosines(query, keys[view][match]).mean()

    def after_step(self, fraction: float) -> None:
        """Momentum from options.momentum to 1 by a cosine over training."""
        self.follow(rising(self.options.momentum, fraction))
