"""SSL methods whose loss is a mean over pairs of views, and checks of their options. Nothing here loads torch.

Such a method is one file: its options and, as methods of the same class, its heads, its loss and what happens after a
step. The module that is trained is shared by all (learner.py).
"""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from bench.api import Mixed, SSLMethod

if TYPE_CHECKING:
    from torch import Tensor, nn

Views = Mapping[int, "Tensor"]
MOST_HEAD_LAYERS = 100
"""Published heads have two or three."""


class PairMethod(SSLMethod):
    """An objective over (query view, key view) pairs.

    Views go by their number: 0 and 1 are global, from 2 on they are local (multi-crop, after SwAV).
    """

    optional_heads: ClassVar[tuple[str, ...]] = ("projector",)
    """Options that count the layers of a head that may be left out (0)."""

    def __post_init__(self) -> None:
        for option in dataclasses.fields(self):  # type: ignore[arg-type]
            name, value = option.name, getattr(self, option.name)
            if name.endswith("temperature"):
                positive(name, value)
            elif name.endswith("momentum"):
                share(name, value)
            elif isinstance(value, int) and not isinstance(value, bool):
                at_least(0 if name in self.optional_heads else 1, **{name: value})
            if name in ("projector", "predictor"):
                at_most(MOST_HEAD_LAYERS, **{name: value})

    @abstractmethod
    def loss(self, learner: Any, views: Sequence[Tensor], mixed: Mixed | None) -> Tensor:
        """The loss (a scalar) of one batch, as `bench.Learner.forward` describes it."""

    @abstractmethod
    def pair(self, learner: Any, query: Tensor, keys: Views, view: int, match: Tensor) -> Tensor:
        """The loss of query (b, d) against the keys of global view `view`: a scalar.

        keys: of all global views that are keys, each (b, d). Query i's own image is row match[i], (b,) int64.
        """

    def after_step(self, learner: Any, fraction: float) -> None:
        """Called after each optimiser step with the share of training done, in (0, 1]."""


class MomentumMethod(PairMethod):
    """A projector and a predictor; the keys come from a momentum copy, whose momentum rises to 1 over the training."""

    projector: int
    predictor: int
    hidden: int
    output: int
    momentum: float
    normalised_heads: ClassVar[bool]
    """Whether both heads end in a batch normalisation."""

    def learner(self, backbone: nn.Module, dim: int) -> nn.Module:
        """See SSLMethod."""
        from .learner import MomentumLearner
        from .losses import mlp

        out = self.output if self.projector else dim
        projector = mlp(self.projector, dim, self.hidden, out, last_norm=self.normalised_heads)
        predictor = mlp(self.predictor, out, self.hidden, out, last_norm=self.normalised_heads)
        return MomentumLearner(self, backbone, projector, predictor)

    def loss(self, learner: Any, views: Sequence[Tensor], mixed: Mixed | None) -> Tensor:
        """Two global views alone: the symmetric sum; keys are those of all processes. Local views add no weight, only
        more pairs."""
        queries, targets = learner.queries_and_keys(numbered(views, mixed), key_views(views))
        keys = {number: learner.gather(key) for number, key in targets.items()}
        loss: Tensor = learner.over_pairs(queries, keys, mixed) * 2
        return loss

    def after_step(self, learner: Any, fraction: float) -> None:
        """The copy follows with a momentum of half a cosine from `momentum` to 1 (BYOL, section 3.3; MoCo-v3)."""
        learner.follow(rising(self.momentum, fraction))


def rising(momentum: float, fraction: float) -> float:
    """A momentum that begins with `momentum` and is 1 at the end, by half a cosine; fraction: share of the training."""
    return 1 - (1 - momentum) * 0.5 * (1 + math.cos(math.pi * fraction))


def numbered(views: Sequence[Tensor], mixed: Mixed | None) -> dict[int, Tensor]:
    """The query views by number: the mixed ones where there are any."""
    return dict(enumerate(mixed.views if mixed else views))


def key_views(views: Sequence[Tensor]) -> dict[int, Tensor]:
    """The two global views by number: those whose features are keys."""
    return dict(enumerate(views[:2]))


def share(name: str, value: float) -> None:
    """Raises ValueError unless `value` lies in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}")


def at_least(least: int, **values: int) -> None:
    """Raises ValueError unless every one of `values`, given by name, is `least` or more."""
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name} must be {least} or more, got {value}")


def at_most(most: int, **values: int) -> None:
    """Raises ValueError unless every one of `values`, given by name, is `most` or less."""
    for name, value in values.items():
        if value > most:
            raise ValueError(f"{name} must be {most} or less, got {value}")


def positive(name: str, value: float) -> None:
    """Raises ValueError unless `value` is above 0 (and not NaN)."""
    if not value > 0:
        raise ValueError(f"{name} must be above 0, got {value}")
