"""plugin-name: a repair of a backdoored encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench import BenchError, Learner, Mixed, Repair, SSLMethod, hookimpl


class PluginClassLearner(nn.Module, Learner):
    """What the loop trains. All that changes in training must be a parameter or a buffer: checkpoints hold those."""

    def __init__(self, old: nn.Module, new: nn.Module, power: float) -> None:
        super().__init__()
        self.old, self.backbone, self.power = old, new, power
        self.gather, self.rank = (lambda keys: keys), 0  # the loop sets its own

    def forward(self, views: Sequence[Tensor], mixed: Mixed | None = None) -> Tensor:
        """The mean over both global views of the distance between the features of the old and of the new encoder."""
        return torch.stack([self.distance(view) for view in views[:2]]).mean()

    def distance(self, view: Tensor) -> Tensor:
        """A scalar; the features (b, dim) have length 1."""
        with torch.no_grad():
            old = F.normalize(self.old(view).float(), dim=1)
        new = F.normalize(self.backbone(view).float(), dim=1)
        return (old - new).norm(dim=1).pow(self.power).mean()


@dataclass(frozen=True, kw_only=True)
class PluginClass(Repair):
    """A fresh encoder learns the features that the old one gives the kept images.

    A start, to be replaced by your idea. Name here the paper that it comes from, and every deviation from it.
    """

    name: ClassVar[str] = "plugin-name"
    fresh: ClassVar[bool] = True
    length: float = field(default=0.5)  # explained in bench.Repair, as `lr` is
    power: float = field(default=2.0, metadata={"help": "of the distance, above 0"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.power > 0:
            raise BenchError(f"power is {self.power}, expected a number above 0")

    def learner(self, old: nn.Module, new: nn.Module, dim: int, ssl: SSLMethod) -> nn.Module:
        """The module that the loop trains: `new`, beside the frozen `old`."""
        return PluginClassLearner(old, new, self.power)


@hookimpl
def bench_defenses() -> list[type[Repair]]:
    """What this plugin offers."""
    return [PluginClass]
