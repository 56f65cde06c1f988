"""plugin-name: a self-supervised method on the benchmark's training loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench import BenchError, Learner, Mixed, SSLMethod, hookimpl


class PluginClassLearner(nn.Module, Learner):
    """What the loop trains. All that changes in training must be a parameter or a buffer: checkpoints hold those."""

    def __init__(self, backbone: nn.Module, temperature: float) -> None:
        super().__init__()
        self.backbone, self.temperature = backbone, temperature
        self.gather, self.rank = (lambda keys: keys), 0  # the loop sets its own

    def forward(self, views: Sequence[Tensor], mixed: Mixed | None = None) -> Tensor:
        """The mean loss over all pairs of a query view and another, global one. See bench.Learner for `mixed`."""
        queries = [self.encode(view) for view in (mixed.views if mixed else views)]
        with torch.no_grad():
            keys = [self.gather(self.encode(view)) for view in views[:2]]
        losses = [
            self.pair(query, key, mixed, q) for q, query in enumerate(queries) for k, key in enumerate(keys) if q != k
        ]
        return torch.stack(losses).mean()

    def encode(self, view: Tensor) -> Tensor:
        """Features of length 1: (b, dim) float32."""
        return F.normalize(self.backbone(view).float(), dim=1)

    def pair(self, query: Tensor, keys: Tensor, mixed: Mixed | None, view: int) -> Tensor:
        """InfoNCE: each query (b, dim) is to find its own key among those of the whole batch (B, dim)."""
        similar = query @ keys.T / self.temperature
        own = torch.arange(len(query), device=query.device)
        loss = F.cross_entropy(similar, self.rank * len(query) + own)
        if mixed is None:
            return loss
        partner = F.cross_entropy(similar, self.rank * len(query) + mixed.partners[view])
        return mixed.weights[view] * loss + (1 - mixed.weights[view]) * partner


@dataclass(frozen=True, kw_only=True)
class PluginClass(SSLMethod):
    """InfoNCE between the views of an image, without a head and without a momentum encoder.

    A start, to be replaced by your method. Name here the paper that it comes from, and every deviation from it.
    """

    name: ClassVar[str] = "plugin-name"
    temperature: float = field(default=0.2, metadata={"help": "temperature of InfoNCE, above 0"})

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise BenchError(f"temperature is {self.temperature}, expected a number above 0")

    def learner(self, backbone: nn.Module, dim: int) -> nn.Module:
        """The module that the loop trains, around `backbone` with `dim` features."""
        return PluginClassLearner(backbone, self.temperature)


@hookimpl
def bench_ssl_methods() -> list[type[SSLMethod]]:
    """What this plugin offers."""
    return [PluginClass]
