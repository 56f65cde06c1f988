"""SimCLR: both views of an image against those of all other images of the batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from bench.api import SSLMethod

from .ranges import at_least, positive

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class SimCLR(SSLMethod):
    """SimCLR (Chen, Kornblith, Norouzi and Hinton, 2020): NT-Xent between two views, the batch as negatives.

    The projector is normalised after each layer, as in the authors' code (there the last one has a learned scale).
    Departures: optimiser, schedule and views are the loop's; batch normalisation sees each view and process by
    itself; `projector = 0` leaves the head out, which lets a backdoor reach the encoder sooner; local views
    (multi-crop, after SwAV) are queries against each global view, with negatives from both. [?] A mixed view's
    unmixed image is its key, and in the other view no negative, for each of its two images in turn.
    """

    name: ClassVar[str] = "simclr"
    projector: int = field(default=2, metadata={"help": "layers of the projection head; 0 for none"})
    hidden: int = field(default=2048, metadata={"help": "width of the head's hidden layers"})
    output: int = field(default=128, metadata={"help": "width of the projection"})
    temperature: float = field(default=0.1, metadata={"help": "temperature of NT-Xent"})

    def __post_init__(self) -> None:
        at_least(0, projector=self.projector)
        at_least(1, hidden=self.hidden, output=self.output)
        positive("temperature", self.temperature)

    def learner(self, backbone: nn.Module, dim: int) -> nn.Module:
        """The module that the loop trains; see Learner."""
        from .learners.simclr import SimCLRLearner

        return SimCLRLearner(backbone, dim, self)
