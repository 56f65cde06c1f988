"""The modules that SSL methods on pairs of views train: encoder, heads, and a momentum copy of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bench.api import Learner, Mixed
from bench.parallel.at_once import at_once

Views = Mapping[int, Tensor]


class PairObjective(Protocol):
    """What a learner calls of its method (pairs.py: PairMethod)."""

    def loss(self, learner: Any, views: Sequence[Tensor], mixed: Mixed | None) -> Tensor: ...

    def pair(self, learner: Any, query: Tensor, keys: Views, view: int, match: Tensor) -> Tensor: ...

    def after_step(self, learner: Any, fraction: float) -> None: ...


def encode(encoder: nn.Module, views: Views) -> dict[int, Tensor]:
    """Each view's features (b, dim), by number.

    Views of one size go through the encoder together only where statistics allow it: batch normalisation sees each
    global view by itself, as in MoCo-v3, and all local ones at once.
    """
    features = {number: encoder(view) for number, view in views.items() if number < 2}
    local = {number: view for number, view in views.items() if number >= 2}
    if local:
        together = encoder(torch.cat(list(local.values())))
        features.update(zip(local, together.chunk(len(local)), strict=True))
    return features


class PairLearner(nn.Module, Learner):
    """Encoder, projector and predictor (without one: the identity), trained with the loss of `method`."""

    def __init__(
        self, method: PairObjective, backbone: nn.Module, projector: nn.Module, predictor: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.method = method
        self.backbone = backbone
        self.projector = projector
        self.predictor = predictor or nn.Identity()
        self.gather = lambda keys: keys
        self.rank = 0

    def forward(self, views: Sequence[Tensor], mixed: Mixed | None = None) -> Tensor:
        """See bench.Learner."""
        return self.method.loss(self, views, mixed)

    def after_step(self, fraction: float) -> None:
        """See bench.Learner."""
        self.method.after_step(self, fraction)

    def project(self, views: Views) -> dict[int, Tensor]:
        """Each view's projection (b, d), float32, with gradients."""
        return {number: self.projector(x).float() for number, x in encode(self.backbone, views).items()}

    def predict(self, views: Views) -> dict[int, Tensor]:
        """Each view's prediction (b, d), float32, with gradients: the queries."""
        features = encode(self.backbone, views)
        return {number: self.predictor(self.projector(x)).float() for number, x in features.items()}

    def over_pairs(self, queries: Views, keys: Views, mixed: Mixed | None) -> Tensor:
        """The mean of the pairs' losses: a view's queries against each key view but its own. A scalar."""
        losses = [self._blended(query, keys, q, k, mixed) for q, query in queries.items() for k in keys if q != k]
        return torch.stack(losses).mean()

    def _blended(self, query: Tensor, keys: Views, q: int, k: int, mixed: Mixed | None) -> Tensor:
        """One pair's loss; of a mixed view, that of both of its images by their shares of it."""
        own = self.method.pair(self, query, keys, k, torch.arange(len(query), device=query.device))
        if mixed is None:
            return own
        other = self.method.pair(self, query, keys, k, mixed.partners[q])
        return mixed.weights[q] * own + (1 - mixed.weights[q]) * other


class MomentumLearner(PairLearner):
    """A PairLearner whose keys come from a slowly following copy of encoder and projector."""

    new_keys: Tensor | None = None
    """Keys of the step under way, for a method that keeps them."""

    def __init__(
        self, method: PairObjective, backbone: nn.Module, projector: nn.Module, predictor: nn.Module | None = None
    ) -> None:
        super().__init__(method, backbone, projector, predictor)
        self.momentum = copy.deepcopy(nn.ModuleList([self.backbone, self.projector])).requires_grad_(False)
        self._in_order = _draws(self)

    @torch.no_grad()
    def targets(self, views: Views) -> dict[int, Tensor]:
        """Each view's projection by the slow copy, (b, d) float32, without gradients: the keys."""
        encoder, projector = self.momentum
        return {number: projector(x).float() for number, x in encode(encoder, views).items()}

    def queries_and_keys(self, queries: Views, keys: Views) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """`predict(queries)` and `targets(keys)`; on a CPU at once where a core is idle."""
        device = next(iter(keys.values())).device
        calls = [lambda: self.predict(queries), lambda: self.targets(keys)]
        predicted, targets = [call() for call in calls] if self._in_order else at_once(calls, device)
        return predicted, targets

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """The slow copy becomes momentum * itself + (1 - momentum) * the learning one."""
        # Buffers are left alone: the momentum encoder normalises by its own batch, in training mode.
        online = [*self.backbone.parameters(), *self.projector.parameters()]
        slow = [p.data for p in self.momentum.parameters()]
        torch._foreach_lerp_(slow, [p.data for p in online], 1 - momentum)


def _draws(learner: nn.Module) -> bool:
    """Whether it draws random numbers in a pass (dropout, stochastic depth): then the order of passes counts."""
    chances = (getattr(module, name, 0.0) for module in learner.modules() for name in ("p", "drop_prob"))
    return any(isinstance(chance, int | float) and chance > 0 for chance in chances)
