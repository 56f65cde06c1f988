"""MoCo-v3: symmetric InfoNCE against a momentum encoder, in-batch negatives."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.types import Learner, Mixed, SSLMethod


def mlp(layers: int, width_in: int, hidden: int, width_out: int, last_norm: bool) -> nn.Module:
    """Linear + BatchNorm + ReLU layers; 0 layers is the identity. `last_norm` ends in a BatchNorm without affine."""
    parts: list[nn.Module] = []
    for i in range(layers):
        last = i == layers - 1
        parts.append(nn.Linear(width_in if i == 0 else hidden, width_out if last else hidden, bias=False))
        if not last:
            parts += [nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
        elif last_norm:
            parts.append(nn.BatchNorm1d(width_out, affine=False))
    return nn.Sequential(*parts)


def info_nce(queries: Tensor, keys: Tensor, temperature: float, offset: int = 0) -> Tensor:
    """InfoNCE of queries (b, d) against keys (B, d), query i's own key at offset + i; both are normalised here.

    Times 2T, as in MoCo-v3 (algorithm 1). A scalar.
    """
    return matched(queries, keys, torch.arange(offset, offset + len(queries), device=queries.device), temperature)


def matched(queries: Tensor, keys: Tensor, own: Tensor, temperature: float) -> Tensor:
    """`info_nce` where query i's key is keys[own[i]]; own (b,) int64."""
    logits = F.normalize(queries, dim=1) @ F.normalize(keys, dim=1).T / temperature
    return F.cross_entropy(logits, own) * 2 * temperature


class MoCoLearner(nn.Module, Learner):
    """Encoder, projector and predictor, and the momentum copy of the first two."""

    def __init__(self, backbone: nn.Module, dim: int, options: MoCoV3) -> None:
        super().__init__()
        self.options = options
        self.backbone = backbone
        out = options.output if options.projector else dim
        self.projector = mlp(options.projector, dim, options.hidden, out, last_norm=True)
        self.predictor = mlp(options.predictor, out, options.hidden, out, last_norm=True)
        self.momentum = copy.deepcopy(nn.ModuleList([self.backbone, self.projector])).requires_grad_(False)
        self.gather = lambda keys: keys
        self.rank = 0

    def forward(self, views: Sequence[Tensor], mixed: Mixed | None = None) -> Tensor:
        """The mean over every (query view, other global key view) pair; the first two views are global."""
        asked = mixed.views if mixed else views
        queries = [self.predictor(self.projector(x)) for x in self._encode(self.backbone, asked)]
        with torch.no_grad():
            encoder, projector = self.momentum
            keys = [self.gather(projector(x)) for x in self._encode(encoder, views[:2])]
        losses = [
            self._pair(q, query.float(), key.float(), mixed)
            for q, query in enumerate(queries)
            for k, key in enumerate(keys)
            if q != k
        ]
        # Two global views alone: MoCo-v3's symmetric sum. Local views add no weight, only more pairs.
        return torch.stack(losses).mean() * 2

    def _pair(self, view: int, query: Tensor, key: Tensor, mixed: Mixed | None) -> Tensor:
        """One view's queries against one view's keys; a mixed view's against the keys of both of its images."""
        offset, temperature = self.rank * len(query), self.options.temperature
        own = info_nce(query, key, temperature, offset)
        if mixed is None:
            return own
        other = matched(query, key, offset + mixed.partners[view], temperature)
        return mixed.weights[view] * own + (1 - mixed.weights[view]) * other

    @staticmethod
    def _encode(encoder: nn.Module, views: Sequence[Tensor]) -> list[Tensor]:
        """Each view's features; views of one size go through the encoder together only where statistics allow it:
        batch normalisation sees each global view by itself, as in MoCo-v3, and all local ones at once."""
        local = list(views[2:])
        features = [encoder(view) for view in views[:2]]
        if local:
            features += list(encoder(torch.cat(local)).chunk(len(local)))
        return features

    def after_step(self, fraction: float) -> None:
        """Momentum from options.momentum to 1 by a cosine over training."""
        m = 1 - (1 - self.options.momentum) * 0.5 * (1 + math.cos(math.pi * fraction))
        # Buffers are left alone: the momentum encoder normalises by its own batch, in training mode.
        online = [*self.backbone.parameters(), *self.projector.parameters()]
        with torch.no_grad():
            slow = [p.data for p in self.momentum.parameters()]
            torch._foreach_lerp_(slow, [p.data for p in online], 1 - m)


@dataclass(frozen=True, kw_only=True)
class MoCoV3(SSLMethod):
    """MoCo-v3 (Chen, Xie and He, 2021): InfoNCE against a momentum encoder, in-batch negatives, no queue.

    Departures: `projector = 0` and `predictor = 0` leave the heads out, which lets a backdoor reach the encoder in
    minutes instead of days; local views (multi-crop, after SwAV) are queries against both global keys.
    """

    name: ClassVar[str] = "moco_v3"
    projector: int = field(default=3, metadata={"help": "layers of the projection head; 0 for none"})
    predictor: int = field(default=2, metadata={"help": "layers of the prediction head; 0 for none"})
    hidden: int = field(default=4096, metadata={"help": "width of the heads' hidden layers"})
    output: int = field(default=256, metadata={"help": "width of the projection"})
    temperature: float = field(default=0.2, metadata={"help": "temperature of InfoNCE"})
    momentum: float = field(default=0.99, metadata={"help": "momentum at the start; rises to 1 by a cosine"})

    def __post_init__(self) -> None:
        if min(self.projector, self.predictor) < 0:
            raise ValueError("projector and predictor are numbers of layers: 0 or more")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"momentum must lie in [0, 1], got {self.momentum}")

    def learner(self, backbone: nn.Module, dim: int) -> nn.Module:
        """The module that the loop trains; see Learner."""
        return MoCoLearner(backbone, dim, self)
