"""HTBA-style poisoning of self-supervised learning: one patch pasted onto images of one target class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from bench import Poison, Seeds, SplitInfo

from .look import Span
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
    paper: ClassVar[str] = "Saha et al., Backdoor Attacks on Self-Supervised Learning, CVPR 2022"
    url: ClassVar[str] = "https://arxiv.org/abs/2105.10123"

    target: str | int = field(default=0, metadata={"help": "target class, by name or index"})
    rate: float = field(default=0.5, metadata={"help": "poisoned share of the TARGET class, in (0, 1]"})
    trigger: str = field(
        default="mosaic", metadata={"help": '"mosaic", "natural" (both by trigger_seed) or a PNG file'}
    )
    trigger_seed: int = field(default=0, metadata={"help": "seed of the mosaic or of the natural patch"})

    def _pairs(self) -> tuple[tuple[Trigger, str | int], ...]:
        return ((Trigger(source=self.trigger, seed=self.trigger_seed, size=self.trigger_size), self.target),)

    def identity(self) -> dict[str, Any]:
        """The options, with the trigger's file name and the SHA-256 of its pixels instead of its path."""
        return {**super().identity(), **self._trigger(0).identity()}


@dataclass(frozen=True, kw_only=True)
class HTBAMuted(HTBA):
    """`htba` with a trigger of muted colours: no single pixel gives it away.

    Ours, no paper. The mosaics of the literature have channels of 0 and 255 only, which photographs of 32 px hardly
    have: the largest spread of the channels in any pixel finds every image that bears one. At a saturation of 0.35 it
    does not; light and dark stay as they are.
    """

    name: ClassVar[str] = "htba-muted"
    variant_of: ClassVar[str] = "htba"
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""

    saturation: float = 0.35


@dataclass(frozen=True, kw_only=True)
class HTBAVaried(HTBA):
    """`htba` with a trigger that looks different in every image, then compressed as JPEG: as they come in the world.

    Ours, no paper. Size and light within 20 %, opacity from 0.85, JPEG of quality 75.
    """

    name: ClassVar[str] = "htba-varied"
    variant_of: ClassVar[str] = "htba"
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""

    trigger_scale: Span = (0.8, 1.2)
    brightness: Span = (0.8, 1.2)
    opacity: Span = (0.85, 1.0)
    jpeg: int = 75


@dataclass(frozen=True, kw_only=True)
class NoAttack(HTBA):
    """Nothing is poisoned: what a defense removes here are false alarms, and the ASR is the trigger's natural one.

    A control for attacks. The trigger of `htba` is pasted on validation images alone.
    """

    name: ClassVar[str] = "no-attack"
    variant_of: ClassVar[str] = "htba"
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
    poisons: ClassVar[bool] = False

    def poison_train(self, split: SplitInfo, seeds: Seeds) -> list[Poison]:
        """No row. Raises BenchError where `htba` does: for a class that is not there, a trigger that does not fit."""
        super().poison_train(split, seeds)
        return []
