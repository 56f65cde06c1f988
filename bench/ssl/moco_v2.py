"""MoCo-v2: InfoNCE against a momentum encoder, with a queue of earlier keys as negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from bench.api import Mixed

from .pairs import PairMethod, Views, numbered

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .learner import MomentumLearner


@dataclass(frozen=True, kw_only=True)
class MoCoV2(PairMethod):
    """MoCo-v2 (Chen, Fan, Girshick and He, 2020): MoCo's queue of earlier keys, an MLP head, temperature 0.2.

    The queue takes any length: it moves on by a batch a step (a longer batch leaves its last keys). Keep it below the
    number of images, or an image's own earlier keys are its negatives.
    Departures: optimiser, schedule and views are the loop's. Batches are not shuffled among processes for their
    batch normalisation: one process has nothing to shuffle with (a network with batch normalisation may then recognise
    a key by its batch's statistics, on one process as on several; a transformer cannot). `projector = 0` leaves the
    head out, which lets a backdoor reach the encoder sooner; local views (multi-crop, after SwAV) are more queries.
    """

    name: ClassVar[str] = "moco_v2"
    paper: ClassVar[str] = "Chen, Fan, Girshick and He, Improved Baselines with Momentum Contrastive Learning, 2020"
    url: ClassVar[str] = "https://arxiv.org/abs/2003.04297"
    projector: int = field(default=2, metadata={"help": "layers of the projection head; 0 for none"})
    hidden: int = field(default=2048, metadata={"help": "width of the head's hidden layers"})
    output: int = field(default=128, metadata={"help": "width of the projection"})
    queue: int = field(default=65536, metadata={"help": "earlier keys kept as negatives; fewer than the images"})
    temperature: float = field(default=0.2, metadata={"help": "temperature of InfoNCE"})
    momentum: float = field(default=0.999, metadata={"help": "momentum of the key encoder, the same throughout"})

    def learner(self, backbone: nn.Module, dim: int) -> nn.Module:
        """See SSLMethod."""
        import torch

        from .learner import MomentumLearner
        from .losses import mlp

        out = self.output if self.projector else dim
        projector = mlp(self.projector, dim, self.hidden, out, last_norm=False, norm=False)
        learner = MomentumLearner(self, backbone, projector)
        # (K, d), the oldest first; a buffer, so that a checkpoint holds it. It starts as random directions, as in the
        # authors' code.
        learner.register_buffer("queue", torch.nn.functional.normalize(torch.randn(self.queue, out), dim=1))
        return learner

    def loss(self, learner: MomentumLearner, views: Sequence[Tensor], mixed: Mixed | None) -> Tensor:
        """View 1 is the only key and no query (MoCo, algorithm 1)."""
        asking = numbered(views, mixed)
        del asking[1]
        queries, keys = learner.queries_and_keys(asking, {1: views[1]})
        learner.new_keys = learner.gather(keys[1])
        return learner.over_pairs(queries, keys, mixed)

    def pair(self, learner: MomentumLearner, query: Tensor, keys: Views, view: int, match: Tensor) -> Tensor:
        """InfoNCE of the own key against the queue (MoCo, equation 1)."""
        from .losses import queue_nce

        return queue_nce(query, keys[view][match], learner.get_buffer("queue"), self.temperature)

    def after_step(self, learner: MomentumLearner, fraction: float) -> None:
        """The copy follows, and the step's keys of all processes take the place of the oldest in the queue.

        Not earlier: the gradient still needs the queue as it was.
        """
        import torch

        learner.follow(self.momentum)
        if learner.new_keys is not None:
            queue = learner.get_buffer("queue")
            longer = torch.cat([queue, torch.nn.functional.normalize(learner.new_keys, dim=1)])
            queue.copy_(longer[-len(queue) :])
            learner.new_keys = None
