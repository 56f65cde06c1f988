"""SimSiam: predict the encoder's own projection of another view, held still; no negatives, no momentum encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from bench.api import Mixed

from .pairs import PairMethod, Views, key_views, numbered

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .learner import PairLearner


@dataclass(frozen=True, kw_only=True)
class SimSiam(PairMethod):
    """SimSiam (Chen and He, 2021): a predictor matches the encoder's own projection of the other view, held still.

    Departures: optimiser, schedule and views are the loop's, and its learning rate falls for the predictor, too;
    batch normalisation sees each process by itself; `projector = 0` leaves that head and its normalisation of the
    targets out, which lets a backdoor reach the encoder sooner but learns worse (table 3); local views (multi-crop,
    after SwAV) predict both global targets. The predictor stays: without it the encoder collapses (table 1).
    """

    name: ClassVar[str] = "simsiam"
    paper: ClassVar[str] = "Chen and He, SimSiam, 2021"
    url: ClassVar[str] = "https://arxiv.org/abs/2011.10566"
    projector: int = field(default=3, metadata={"help": "layers of the projection head; 0 for none"})
    predictor: int = field(default=2, metadata={"help": "layers of the prediction head; at least 1"})
    hidden: int = field(default=2048, metadata={"help": "width of the projector's hidden layers"})
    bottleneck: int = field(default=512, metadata={"help": "width of the predictor's hidden layers"})
    output: int = field(default=2048, metadata={"help": "width of the projection"})

    def learner(self, backbone: nn.Module, dim: int) -> nn.Module:
        """See SSLMethod."""
        from .learner import PairLearner
        from .losses import mlp

        out = self.output if self.projector else dim
        projector = mlp(self.projector, dim, self.hidden, out, last_norm=True)
        return PairLearner(self, backbone, projector, mlp(self.predictor, out, self.bottleneck, out, last_norm=False))

    def loss(self, learner: PairLearner, views: Sequence[Tensor], mixed: Mixed | None) -> Tensor:
        """Two global views alone: SimSiam's symmetric half sum (equation 2)."""
        import torch

        projections = learner.project(numbered(views, mixed))
        queries = {number: learner.predictor(z).float() for number, z in projections.items()}
        keys = {number: projections[number].detach() for number in (0, 1)}
        if mixed:
            with torch.no_grad():
                keys = learner.project(key_views(views))
        return learner.over_pairs(queries, keys, mixed)

    def pair(self, learner: PairLearner, query: Tensor, keys: Views, view: int, match: Tensor) -> Tensor:
        """The negative cosine of prediction and target (SimSiam, equation 1)."""
        from .losses import cosines

        return -cosines(query, keys[view][match]).mean()
