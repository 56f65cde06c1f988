"""BYOL: predict what a momentum encoder makes of another view; no negatives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from .pairs import MomentumMethod, Views

if TYPE_CHECKING:
    from torch import Tensor

    from .learner import MomentumLearner


@dataclass(frozen=True, kw_only=True)
class BYOL(MomentumMethod):
    """BYOL (Grill et al., 2020): a predictor matches the projection of a momentum encoder, without negatives.

    Departures: optimiser, schedule and views are the loop's; batch normalisation sees each process by itself;
    the last layers have a bias (the authors' code has none); `projector = 0` leaves that head out, which lets a
    backdoor reach the encoder sooner; local views (multi-crop, after SwAV) predict both global targets.
    The predictor stays: without it the encoder collapses (section 5).
    """

    name: ClassVar[str] = "byol"
    paper: ClassVar[str] = "Grill et al., BYOL, 2020"
    url: ClassVar[str] = "https://arxiv.org/abs/2006.07733"
    normalised_heads = False
    projector: int = field(default=2, metadata={"help": "layers of the projection head; 0 for none"})
    predictor: int = field(default=2, metadata={"help": "layers of the prediction head; at least 1"})
    hidden: int = field(default=4096, metadata={"help": "width of the heads' hidden layers"})
    output: int = field(default=256, metadata={"help": "width of the projection"})
    momentum: float = field(default=0.996, metadata={"help": "momentum at the start; rises to 1 by a cosine"})

    def pair(self, learner: MomentumLearner, query: Tensor, keys: Views, view: int, match: Tensor) -> Tensor:
        """The squared distance of normalised prediction and target, in [0, 4] (BYOL, equation 2)."""
        from .losses import cosines

        own = learner.rank * len(query) + match
        return 2 - 2 * cosines(query, keys[view][own]).mean()
