"""MoCo-v2: InfoNCE against a momentum encoder, with a queue of earlier keys as negatives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from bench.api import SSLMethod

from .ranges import at_least, positive, share

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class MoCoV2(SSLMethod):
    """MoCo-v2 (Chen, Fan, Girshick and He, 2020): MoCo's queue of earlier keys, an MLP head, temperature 0.2.

    The queue takes any length: it moves on by a batch a step (a longer batch leaves its last keys). Keep it below the
    number of images, or an image's own earlier keys are its negatives.
    Departures: optimiser, schedule and views are the loop's. Batches are not shuffled among processes for their
    batch normalisation: one process has nothing to shuffle with (a network with batch normalisation may then tell a
    key by its batch's statistics, on one process as on several; a transformer cannot). `projector = 0` leaves the
    head out, which lets a backdoor reach the encoder sooner; local views (multi-crop, after SwAV) are more queries.
    """

    name: ClassVar[str] = "moco_v2"
    projector: int = field(default=2, metadata={"help": "layers of the projection head; 0 for none"})
    hidden: int = field(default=2048, metadata={"help": "width of the head's hidden layers"})
    output: int = field(default=128, metadata={"help": "width of the projection"})
    queue: int = field(default=65536, metadata={"help": "earlier keys kept as negatives; fewer than the images"})
    temperature: float = field(default=0.2, metadata={"help": "temperature of InfoNCE"})
    momentum: float = field(default=0.999, metadata={"help": "momentum of the key encoder, the same throughout"})

    def __post_init__(self) -> None:
        at_least(0, projector=self.projector)
        at_least(1, hidden=self.hidden, output=self.output, queue=self.queue)
        positive("temperature", self.temperature)
        share("momentum", self.momentum)

    def learner(self, backbone: nn.Module, dim: int) -> nn.Module:
        """The module that the loop trains; see Learner."""
        from .learners.moco_v2 import QueueLearner

        return QueueLearner(backbone, dim, self)
