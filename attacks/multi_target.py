"""Several backdoors in one poisoned set: each its own patch on images of its own target class."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bench import BenchError

from . import patches
from .triggers import DRAWN, MOSAIC, Trigger


@dataclass(frozen=True, kw_only=True)
class MultiTarget(patches.PatchAttack):
    """Two or more (trigger, target) pairs in one poisoned set, each poisoned as `htba` poisons its one.

    Source: the PoisonCAM paper, Section VI-C: rottweiler and tabby cat, then also ambulance, each with a trigger of
    its own, on ImageNet-100 at a poison rate of 0.5 %. [?] The paper does not say whether that is the rate of each
    pair or of all: here `rate` is a share of each target class, so that two pairs poison twice as many images as one.
    Departures: those of `htba`. An image carries one trigger at most, so the targets are distinct; the triggers are
    too, since one trigger cannot have two targets.
    """

    name: ClassVar[str] = "multi-target"
    paper: ClassVar[str] = "Qian et al., Erasing Self-Supervised Learning Backdoor by Cluster Activation Masking, 2023"
    url: ClassVar[str] = "https://arxiv.org/abs/2312.07955"

    target_classes: tuple[str | int, ...] = field(
        default=(0, 1), metadata={"help": "two or more target classes, by name or index"}
    )
    rate: float = field(default=0.5, metadata={"help": "poisoned share of EACH target class, in (0, 1]"})
    triggers: tuple[str, ...] | None = field(
        default=None,
        metadata={"help": 'for each target "mosaic", "natural" (by its seed) or a PNG; default: all mosaics'},
    )
    trigger_seeds: tuple[int, ...] | None = field(
        default=None, metadata={"help": "for each target the seed of its trigger; default: 0, 1, 2 ..."}
    )

    def __post_init__(self) -> None:
        if len(self.target_classes) < 2:
            raise BenchError(
                f"target_classes is {list(self.target_classes)}, expected two or more (attack 'htba' has one target)."
            )
        super().__post_init__()
        _distinct("target_classes", self.target_classes, self.target_classes)
        shown = [f"{t.source} {t.seed}" if t.source in DRAWN else t.source for t in self._triggers()]
        _distinct("the triggers", [t.identity()["trigger_sha256"] for t in self._triggers()], shown)

    def _triggers(self) -> list[Trigger]:
        count = len(self.target_classes)
        sources = (MOSAIC,) * count if self.triggers is None else self.triggers
        seeds = tuple(range(count)) if self.trigger_seeds is None else self.trigger_seeds
        for option, given in (("triggers", sources), ("trigger_seeds", seeds)):
            if len(given) != count:
                raise BenchError(
                    f"{option} has {len(given)} entries, but there are {count} target_classes: one for each."
                )
        return [
            Trigger(source=source, seed=seed, size=self.trigger_size)
            for source, seed in zip(sources, seeds, strict=True)
        ]

    def _pairs(self) -> tuple[tuple[Trigger, str | int], ...]:
        return tuple(zip(self._triggers(), self.target_classes, strict=True))

    def identity(self) -> dict[str, Any]:
        """The options, with the triggers' file names and the SHA-256 of their pixels instead of their paths."""
        found = [trigger.identity() for trigger in self._triggers()]
        return {
            **super().identity(),
            "triggers": [each["trigger"] for each in found],
            "trigger_seeds": [trigger.seed for trigger in self._triggers()],
            "trigger_sha256": [each["trigger_sha256"] for each in found],
        }

    def targets(self, classes: tuple[str, ...]) -> tuple[int, ...]:
        """The target of each trigger. Raises BenchError where two names mean one class."""
        found = super().targets(classes)
        _distinct("target_classes", found, self.target_classes)
        return found


@dataclass(frozen=True, kw_only=True)
class MultiTargetMuted(MultiTarget):
    """`multi-target` with triggers of muted colours, as `htba-muted`: no single pixel gives them away.

    Ours, no paper.
    """

    name: ClassVar[str] = "multi-target-muted"
    variant_of: ClassVar[str] = "multi-target"
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""

    saturation: float = 0.35


def _distinct(what: str, values: Sequence[Hashable], shown: Sequence[object]) -> None:
    """Raises BenchError unless all `values` differ; it names them as `shown`."""
    for number, value in enumerate(values):
        first = values.index(value)
        if first != number:
            raise BenchError(
                f"{what} must differ, but number {first} ({shown[first]!r}) and number {number} ({shown[number]!r}) "
                "are the same."
            )
