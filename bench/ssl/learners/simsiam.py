"""What SimSiam trains; its options are in simsiam.py of the folder above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bench.api import Mixed
from bench.ssl.learner import PairLearner, Views, global_views
from bench.ssl.losses import cosines, mlp

if TYPE_CHECKING:
    from bench.ssl.simsiam import SimSiam


class SimSiamLearner(PairLearner):
    """Encoder, projector and predictor."""

    def __init__(self, backbone: nn.Module, dim: int, options: SimSiam) -> None:
        out = options.output if options.projector else dim
        super().__init__(backbone, mlp(options.projector, dim, options.hidden, out, last_norm=True))
        self.predictor = mlp(options.predictor, out, options.bottleneck, out, last_norm=False)

    def forward(self, views: Sequence[Tensor], mixed: Mixed | None = None) -> Tensor:
        """See Learner. Two global views alone: SimSiam's symmetric half sum (equation 2)."""
        projections = self.project(dict(enumerate(mixed.views if mixed else views)))
        queries = {number: self.predictor(z).float() for number, z in projections.items()}
        keys = self._unmixed(views) if mixed else global_views(projections)
        return self.over_pairs(queries, {number: z.detach() for number, z in keys.items()}, mixed)

    @torch.no_grad()
    def _unmixed(self, views: Sequence[Tensor]) -> dict[int, Tensor]:
        return self.project(dict(enumerate(views[:2])))

    def pair(self, query: Tensor, keys: Views, view: int, match: Tensor) -> Tensor:
        """The negative cosine of prediction and target (SimSiam, equation 1)."""
        return -cosines(query, keys[view][match]).mean()
