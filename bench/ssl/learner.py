"""What SSL methods share: views of an image asked for each other's features, two by two, and a momentum encoder.

Views go by their number: 0 and 1 are global, from 2 on they are local (multi-crop, after SwAV).
"""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bench.api import Learner, Mixed

Views = Mapping[int, Tensor]


def encode(encoder: nn.Module, views: Views) -> dict[int, Tensor]:
    """Each view's features; views of one size go through the encoder together only where statistics allow it:
    batch normalisation sees each global view by itself, as in MoCo-v3, and all local ones at once."""
    features = {number: encoder(view) for number, view in views.items() if number < 2}
    local = {number: view for number, view in views.items() if number >= 2}
    if local:
        together = encoder(torch.cat(list(local.values())))
        features.update(zip(local, together.chunk(len(local)), strict=True))
    return features


class PairLearner(nn.Module, Learner):
    """Encoder and projector. The loss is the mean over every (query view, other global key view) pair.

    A subclass makes the queries and keys in `forward` and says in `pair` what one pair of views costs.
    """

    def __init__(self, backbone: nn.Module, projector: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = projector
        self.gather = lambda keys: keys
        self.rank = 0

    @abstractmethod
    def pair(self, query: Tensor, keys: Views, view: int, match: Tensor) -> Tensor:
        """The loss of query (b, d) against the keys of global view `view`: a scalar.

        keys: of all global views that are keys, each (b, d). Query i's own image is row match[i], (b,) int64.
        """

    def project(self, views: Views) -> dict[int, Tensor]:
        """Each view's projection (b, d), float32, with gradients."""
        return {number: self.projector(x).float() for number, x in encode(self.backbone, views).items()}

    def over_pairs(self, queries: Views, keys: Views, mixed: Mixed | None) -> Tensor:
        """The mean of the pairs' losses: a view's queries against each key view but its own. A scalar."""
        losses = [self._blended(query, keys, q, k, mixed) for q, query in queries.items() for k in keys if q != k]
        return torch.stack(losses).mean()

    def _blended(self, query: Tensor, keys: Views, q: int, k: int, mixed: Mixed | None) -> Tensor:
        """One pair's loss; of a mixed view, that of both of its images by their shares of it."""
        own = self.pair(query, keys, k, torch.arange(len(query), device=query.device))
        if mixed is None:
            return own
        other = self.pair(query, keys, k, mixed.partners[q])
        return mixed.weights[q] * own + (1 - mixed.weights[q]) * other


class MomentumLearner(PairLearner):
    """A predictor for the queries; the keys come from a slowly following copy of encoder and projector."""

    def __init__(self, backbone: nn.Module, projector: nn.Module, predictor: nn.Module) -> None:
        super().__init__(backbone, projector)
        self.predictor = predictor
        self.momentum = copy.deepcopy(nn.ModuleList([self.backbone, self.projector])).requires_grad_(False)

    def predict(self, views: Views) -> dict[int, Tensor]:
        """Each view's prediction (b, d), float32, with gradients: the queries."""
        features = encode(self.backbone, views)
        return {number: self.predictor(self.projector(x)).float() for number, x in features.items()}

    @torch.no_grad()
    def targets(self, views: Views) -> dict[int, Tensor]:
        """Each view's projection by the slow copy, (b, d) float32, without gradients: the keys."""
        encoder, projector = self.momentum
        return {number: projector(x).float() for number, x in encode(encoder, views).items()}

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """The slow copy becomes momentum * itself + (1 - momentum) * the learning one."""
        # Buffers are left alone: the momentum encoder normalises by its own batch, in training mode.
        online = [*self.backbone.parameters(), *self.projector.parameters()]
        slow = [p.data for p in self.momentum.parameters()]
        torch._foreach_lerp_(slow, [p.data for p in online], 1 - momentum)


def rising(start: float, fraction: float) -> float:
    """From `start` to 1 by half a cosine, at `fraction` of the training (BYOL, section 3.3; MoCo-v3)."""
    return 1 - (1 - start) * 0.5 * (1 + math.cos(math.pi * fraction))


def global_views(views: Views) -> dict[int, Tensor]:
    """The two whose features are keys."""
    return {number: views[number] for number in (0, 1)}
