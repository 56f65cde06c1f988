"""MoCo-v2: InfoNCE against a momentum encoder, with a queue of earlier keys as negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.types import Mixed, SSLMethod

from .heads import mlp, queue_nce
from .pairs import MomentumLearner, Views
from .ranges import at_least, positive, share


class QueueLearner(MomentumLearner):
    """Encoder and projector, their momentum copy, and the queue: (K, d) normalised keys, the oldest first.

    The queue is a buffer, so a checkpoint holds it. It starts as random directions, as in the authors' code.
    """

    queue: Tensor

    def __init__(self, backbone: nn.Module, dim: int, options: MoCoV2) -> None:
        out = options.output if options.projector else dim
        projector = mlp(options.projector, dim, options.hidden, out, last_norm=False, norm=False)
        super().__init__(backbone, projector, nn.Identity())
        self.register_buffer("queue", F.normalize(torch.randn(options.queue, out), dim=1))
        self.options = options
        self._fresh: Tensor | None = None

    def forward(self, views: Sequence[Tensor], mixed: Mixed | None = None) -> Tensor:
        """See Learner. View 1 is the only key and no query (MoCo, algorithm 1). Its keys enter the queue after the
        step: the gradient still needs the queue as it was."""
        asked = dict(enumerate(mixed.views if mixed else views))
        del asked[1]
        queries, keys = self.predict(asked), self.targets({1: views[1]})
        self._fresh = self.gather(keys[1])
        return self.over_pairs(queries, keys, mixed)

    def pair(self, query: Tensor, keys: Views, view: int, match: Tensor) -> Tensor:
        """InfoNCE of the own key against the queue (MoCo, equation 1)."""
        return queue_nce(query, keys[view][match], self.queue, self.options.temperature)

    def after_step(self, fraction: float) -> None:
        """The momentum copy follows, and the step's keys of all processes take the place of the oldest."""
        self.follow(self.options.momentum)
        if self._fresh is not None:
            longer = torch.cat([self.queue, F.normalize(self._fresh, dim=1)])
            self.queue.copy_(longer[-len(self.queue) :])
            self._fresh = None


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
        return QueueLearner(backbone, dim, self)
