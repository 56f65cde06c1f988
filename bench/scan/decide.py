"""The rule: from the evidence to "trigger found", "unclear" or "no trigger found".

A quick scan has no evidence; its rule is whether patches recur.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .evidence import Evidence


class Finding(StrEnum):
    """What a scan says of a folder."""

    FOUND = "trigger found"
    UNCLEAR = "unclear"
    NONE = "no trigger found"
    RECURS = "a planted patch recurs"
    NO_PATCH = "no planted patch found"

    @property
    def alarms(self) -> bool:
        """Whether something was found."""
        return self in {Finding.FOUND, Finding.RECURS}

    @property
    def clears(self) -> bool:
        """Whether nothing was."""
        return self in {Finding.NONE, Finding.NO_PATCH}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """A measure under `low` speaks against a trigger, from `high` on for one."""

    low: float
    high: float


LIMITS = {
    "likeness": Limits(low=0.85, high=0.92),
    "agreement": Limits(low=0.95, high=0.99),
    "pull": Limits(low=0.15, high=0.40),
}
"""Set with searches of 32 px in view, of `scenes` and of CIFAR-10, with a trigger and without; tested afterwards on ten
scans of 5,000 CIFAR-10 images. docs/howto/scan.md has what both kinds give.
"""
MOST_REMOVED = 0.5
"""A verdict that removes more than this share of the images has found no odd few among many."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One measure against its limits. says: +1 for a trigger, -1 against, 0 neither."""

    name: str
    value: float
    usual: float
    limits: Limits

    @property
    def says(self) -> int:
        if self.value >= self.limits.high and self.value > self.usual:
            return 1
        return -1 if self.value < self.limits.low else 0


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The finding, the sentence that explains it, and the measures that it rests on."""

    finding: Finding
    because: str
    steps: tuple[Comparison, ...]


def decide(evidence: Evidence) -> Decision:
    """All three measures for a trigger: found. Any against: none, for a trigger must be one thing, act, and act alike.
    Otherwise, or where the defense locates nothing or removes most of the images: unclear."""
    top, usual = evidence.top, evidence.usual
    if top is None or usual is None:
        return Decision(finding=Finding.UNCLEAR, because=NOT_LOCATED, steps=())
    steps = tuple(
        Comparison(name=name, value=getattr(top, name), usual=getattr(usual, name), limits=limits)
        for name, limits in LIMITS.items()
    )
    against = [AGAINST[step.name] for step in steps if step.says < 0]
    between = ", ".join(step.name for step in steps if step.says == 0)
    if against:
        finding, because = Finding.NONE, " ".join(against)
    elif between:
        finding, because = Finding.UNCLEAR, BETWEEN.format(between)
    elif evidence.removed_share > MOST_REMOVED:
        finding, because = Finding.UNCLEAR, MOST_WOULD_GO
    else:
        finding, because = Finding.FOUND, FOR
    return Decision(finding=finding, because=because, steps=steps)


def decide_quick(patches: int) -> Decision:
    """Of a quick scan, by the number of patches that recur. It never says that a trigger was found: a trigger must also
    act on an encoder, and there is none."""
    if patches:
        return Decision(finding=Finding.RECURS, because=f"{RECURRING[patches > 1]} {NOT_ASKED}", steps=())
    return Decision(finding=Finding.NO_PATCH, because=f"{NOTHING_RECURS} {NOT_ASKED}", steps=())


RECURRING = (
    "One and the same patch is in many different images; a watermark or a logo is, too.",
    "Several patches are each in many different images; a watermark or a logo is, too.",
)
NOTHING_RECURS = "No patch is in many different images as if it had been pasted there."
NOT_ASKED = (
    "Whether anything here acts on an encoder was not asked. Next step: the full scan (without --quick) trains an "
    "encoder and asks it."
)
NOT_LOCATED = "This defense names images but locates no trigger in them."
BETWEEN = "Something recurs in the most suspicious images, but it is no clear case ({}). Look at them."
MOST_WOULD_GO = "The windows behave like a trigger, but the defense would remove more than half of the images."
FOR = (
    "The same patch was found in different images, and pasted on others it makes the encoder see it instead of what "
    "is in them."
)
AGAINST = {
    "likeness": "The most suspicious windows show different things.",
    "agreement": "Pasted on other images, the most suspicious windows move these in different directions.",
    "pull": "Pasted on other images, the most suspicious windows change little of what the encoder sees in them.",
}
