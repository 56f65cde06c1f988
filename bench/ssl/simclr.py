"""SimCLR: both views of an image against those of all other images of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from bench.api import Mixed

from .pairs import PairMethod, Views, key_views, numbered

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .learner import PairLearner


@dataclass(frozen=True, kw_only=True)
class SimCLR(PairMethod):
    """SimCLR (Chen, Kornblith, Norouzi and Hinton, 2020): NT-Xent between two views, the batch as negatives.

    The projector is normalised after each layer, as in the authors' code (there the last one has a learned scale).
    Departures: optimiser, schedule and views are the loop's; batch normalisation sees each view and process by
    itself; `projector = 0` leaves the head out, which lets a backdoor reach the encoder sooner; local views
    (multi-crop, after SwAV) are queries against each global view, with negatives from both. [?] A mixed view's
    unmixed image is its key, and in the other view no negative, for each of its two images in turn.
    """

    name: ClassVar[str] = "simclr"
    paper: ClassVar[str] = "Chen, Kornblith, Norouzi and Hinton, SimCLR, 2020"
    url: ClassVar[str] = "https://arxiv.org/abs/2002.05709"
    projector: int = field(default=2, metadata={"help": "layers of the projection head; 0 for none"})
    hidden: int = field(default=2048, metadata={"help": "width of the head's hidden layers"})
    output: int = field(default=128, metadata={"help": "width of the projection"})
    temperature: float = field(default=0.1, metadata={"help": "temperature of NT-Xent"})

    def learner(self, backbone: nn.Module, dim: int) -> nn.Module:
        """See SSLMethod."""
        from .learner import PairLearner
        from .losses import mlp

        return PairLearner(self, backbone, mlp(self.projector, dim, self.hidden, self.output, last_norm=True))

    def loss(self, learner: PairLearner, views: Sequence[Tensor], mixed: Mixed | None) -> Tensor:
        """Each process computes the loss of the whole batch, of which its own rows learn.

        Keys take gradients as queries do; unmixed, the global views are both.
        """
        queries = {number: _whole(learner, z) for number, z in learner.project(numbered(views, mixed)).items()}
        keys = {number: queries[number] for number in (0, 1)}
        if mixed:
            keys = {number: _whole(learner, z) for number, z in learner.project(key_views(views)).items()}
            # Rows of this process's part of the batch become rows of the whole batch, of all processes.
            everyones = [learner.gather(rows + learner.rank * len(rows)) for rows in mixed.partners]
            mixed = mixed._replace(partners=everyones)
        loss = learner.over_pairs(queries, keys, mixed)
        # The loop averages gradients over processes, but each holds those of its own rows alone: they are to be summed.
        others = len(queries[0]) // len(views[0]) - 1
        return loss + others * (loss - loss.detach())

    def pair(self, learner: PairLearner, query: Tensor, keys: Views, view: int, match: Tensor) -> Tensor:
        """NT-Xent (SimCLR, equation 1) with all images of both global views as negatives."""
        from .losses import nt_xent

        return nt_xent(query, keys[view], keys[1 - view], match, self.temperature)


def _whole(learner: PairLearner, mine: Tensor) -> Tensor:
    """(b, d) of this process -> (B, d) of all, in rank order; gradients through this process's rows."""
    import torch

    everyones, start = learner.gather(mine.detach()), learner.rank * len(mine)
    return torch.cat([everyones[:start], mine, everyones[start + len(mine) :]])
