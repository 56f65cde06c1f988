"""BYOL: predict what a momentum encoder makes of another view; no negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from bench.types import Mixed, SSLMethod

from .heads import cosines, mlp
from .pairs import MomentumLearner, Views, rising
from .ranges import at_least, share


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


@dataclass(frozen=True, kw_only=True)
class BYOL(SSLMethod):
    """BYOL (Grill et al., 2020): a predictor matches the projection of a momentum encoder, without negatives.

    Departures: optimiser, schedule and views are the loop's; batch normalisation sees each process by itself;
    the last layers have a bias (the authors' code has none); `projector = 0` leaves that head out, which lets a
    backdoor reach the encoder sooner; local views (multi-crop, after SwAV) predict both global targets.
    The predictor stays: without it the encoder collapses (section 5).
    """

    name: ClassVar[str] = "byol"
    projector: int = field(default=2, metadata={"help": "layers of the projection head; 0 for none"})
    predictor: int = field(default=2, metadata={"help": "layers of the prediction head; at least 1"})
    hidden: int = field(default=4096, metadata={"help": "width of the heads' hidden layers"})
    output: int = field(default=256, metadata={"help": "width of the projection"})
    momentum: float = field(default=0.996, metadata={"help": "momentum at the start; rises to 1 by a cosine"})

    def __post_init__(self) -> None:
        at_least(0, projector=self.projector)
        at_least(1, predictor=self.predictor, hidden=self.hidden, output=self.output)
        share("momentum", self.momentum)

    def learner(self, backbone: nn.Module, dim: int) -> nn.Module:
        """The module that the loop trains; see Learner."""
        return BYOLLearner(backbone, dim, self)
