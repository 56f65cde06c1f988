"""What MoCo-v2 trains; its options are in moco_v2.py of the folder above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import Mixed
from bench.ssl.learner import MomentumLearner, Views
from bench.ssl.losses import mlp, queue_nce

if TYPE_CHECKING:
    from bench.ssl.moco_v2 import MoCoV2


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
