"""SimSiam: predict the encoder's own projection of another view, held still; no negatives, no momentum encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.types import Mixed, SSLMethod

from .heads import cosines, mlp
from .pairs import PairLearner, Views, global_views
from .ranges import at_least


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


@dataclass(frozen=True, kw_only=True)
class SimSiam(SSLMethod):
    """SimSiam (Chen and He, 2021): a predictor matches the encoder's own projection of the other view, held still.

    Departures: optimiser, schedule and views are the loop's, and its learning rate falls for the predictor, too;
    batch normalisation sees each process by itself; `projector = 0` leaves that head and its normalisation of the
    targets out, which lets a backdoor reach the encoder sooner but learns worse (table 3); local views (multi-crop,
    after SwAV) predict both global targets. The predictor stays: without it the encoder collapses (table 1).
    """

    name: ClassVar[str] = "simsiam"
    projector: int = field(default=3, metadata={"help": "layers of the projection head; 0 for none"})
    predictor: int = field(default=2, metadata={"help": "layers of the prediction head; at least 1"})
    hidden: int = field(default=2048, metadata={"help": "width of the projector's hidden layers"})
    bottleneck: int = field(default=512, metadata={"help": "width of the predictor's hidden layers"})
    output: int = field(default=2048, metadata={"help": "width of the projection"})

    def __post_init__(self) -> None:
        at_least(0, projector=self.projector)
        at_least(1, predictor=self.predictor, hidden=self.hidden, bottleneck=self.bottleneck, output=self.output)

    def learner(self, backbone: nn.Module, dim: int) -> nn.Module:
        """The module that the loop trains; see Learner."""
        return SimSiamLearner(backbone, dim, self)
