"""HTBA-style poisoning of self-supervised learning: one patch pasted onto images of one target class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from .patches import PatchAttack
from .triggers import Trigger


@dataclass(frozen=True, kw_only=True)
class HTBA(PatchAttack):
    """One trigger patch, pasted opaque at a random place onto a share of one target class.

    Source: the PoisonCAM paper, Section V-B, after Saha et al., "Backdoor attacks on self-supervised
    learning" (CVPR 2022), with the patches of "Hidden trigger backdoor attacks" (AAAI 2020).
    Departures: the size is a share of the width, 50/224 by default, so that it means the same on small
    images. The distribution of places is that of Saha et al.'s public code (corner in [0.25 W, 0.75 W - w] for
    training, in [0.10 W, 0.90 W - w] for validation); [?] the share of the edges that the PoisonCAM paper
    keeps free is lost in our copy of its text. Without a PNG the trigger is drawn from a seed.
    """

    name: ClassVar[str] = "htba"

    target: str | int = field(default=0, metadata={"help": "target class, by name or index"})
    rate: float = field(default=0.5, metadata={"help": "poisoned share of the TARGET class, in (0, 1]"})
    trigger: str = field(default="mosaic", metadata={"help": '"mosaic" (by trigger_seed) or a PNG file'})
    trigger_seed: int = field(default=0, metadata={"help": "seed of the mosaic"})

    def _pairs(self) -> tuple[tuple[Trigger, str | int], ...]:
        return ((Trigger(source=self.trigger, seed=self.trigger_seed, size=self.trigger_size), self.target),)

    def identity(self) -> dict[str, Any]:
        """The options, with the trigger's file name and the SHA-256 of its pixels instead of its path."""
        return {**super().identity(), **self._trigger(0).identity()}
