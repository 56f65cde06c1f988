"""What SimCLR trains; its options are in simclr.py of the folder above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bench.api import Mixed
from bench.ssl.learner import PairLearner, Views, global_views
from bench.ssl.losses import mlp, nt_xent

if TYPE_CHECKING:
    from bench.ssl.simclr import SimCLR


class SimCLRLearner(PairLearner):
    """Encoder and projector. Each process computes the loss of the whole batch, of which its own rows learn."""

    def __init__(self, backbone: nn.Module, dim: int, options: SimCLR) -> None:
        super().__init__(backbone, mlp(options.projector, dim, options.hidden, options.output, last_norm=True))
        self.options = options

    def forward(self, views: Sequence[Tensor], mixed: Mixed | None = None) -> Tensor:
        """See Learner. Keys take gradients as queries do; unmixed, the global views are both."""
        mine = self.project(dict(enumerate(mixed.views if mixed else views)))
        queries = {number: self._whole(z) for number, z in mine.items()}
        keys = global_views(queries)
        if mixed:
            keys = {number: self._whole(z) for number, z in self.project(dict(enumerate(views[:2]))).items()}
            mixed = mixed._replace(partners=[self._everyones(rows) for rows in mixed.partners])
        loss = self.over_pairs(queries, keys, mixed)
        # The loop averages gradients over processes, but each holds those of its own rows alone: they are to be summed.
        others = len(queries[0]) // len(views[0]) - 1
        return loss + others * (loss - loss.detach())

    def pair(self, query: Tensor, keys: Views, view: int, match: Tensor) -> Tensor:
        """NT-Xent (SimCLR, equation 1) with all images of both global views as negatives."""
        return nt_xent(query, keys[view], keys[1 - view], match, self.options.temperature)

    def _whole(self, mine: Tensor) -> Tensor:
        """(b, d) of this process -> (B, d) of all, in rank order; gradients through this process's rows."""
        everyones, start = self.gather(mine.detach()), self.rank * len(mine)
        return torch.cat([everyones[:start], mine, everyones[start + len(mine) :]])

    def _everyones(self, rows: Tensor) -> Tensor:
        """Rows of this process's part of the batch, (b,) int64 -> rows of the whole batch, of all processes (B,)."""
        return self.gather(rows + self.rank * len(rows))
