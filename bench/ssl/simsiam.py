"""SimSiam: predict the encoder's own projection of another view, held still; no negatives, no momentum encoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from bench.api import SSLMethod

from .ranges import at_least

if TYPE_CHECKING:
    from torch import nn


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
        from .learners.simsiam import SimSiamLearner

        return SimSiamLearner(backbone, dim, self)
