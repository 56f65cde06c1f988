"""SimCLR: both views of an image against those of all other images of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.types import Mixed, SSLMethod

from .heads import mlp, nt_xent
from .pairs import PairLearner, Views, global_views
from .ranges import at_least, positive


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
        return SimCLRLearner(backbone, dim, self)
