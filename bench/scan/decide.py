"""The rule: from the evidence to a finding.

A trigger is found where one patch is in several different images and acts on the encoder: a patch that the quick look
found, or the largest group of alike windows among the most suspicious. A quick scan has no encoder; its rule is whether
patches recur.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    "alike": Limits(low=2, high=4),
    "gap": Limits(low=0.05, high=0.08),
    "pull": Limits(low=0.15, high=0.30),
}
"""Set with 60 searches of `scenes` and seven scans in view, with a trigger and without (docs/howto/scan.md)."""
MOST_REMOVED = 0.5
"""A trigger that more than this share of the images hold is no odd few among many."""


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
    """The finding, the sentence that explains it, and the measures of the search's windows. patches: the places of
    those patches of the quick look that count, windows: whether the patch of the windows does; what bears them goes."""

    finding: Finding
    because: str
    steps: tuple[Comparison, ...] = ()
    patches: tuple[int, ...] = ()
    windows: bool = False


def decide(evidence: Evidence) -> Decision:
    """Found: a patch that acts, of the quick look or of the windows. Else a planted patch, where the quick look saw one
    that does not. Else what the windows alone are: unclear or nothing."""
    of_windows = _of_windows(evidence)
    pairs = zip(evidence.pulls, evidence.usual_pulls, strict=True)
    acts = [Comparison(name="pull", value=pull, usual=usual, limits=LIMITS["pull"]).says for pull, usual in pairs]
    acting = tuple(place for place, says in enumerate(acts) if says > 0)
    if acting:
        windows = of_windows.finding is Finding.FOUND
        return replace(of_windows, finding=Finding.FOUND, because=FOR, patches=acting, windows=windows)
    if acts and of_windows.finding is not Finding.FOUND:
        because = f"{RECURRING[len(acts) > 1]} {ACTS_LITTLE}"
        every = tuple(range(len(acts)))
        return replace(of_windows, finding=Finding.RECURS, because=because, patches=every, windows=False)
    return of_windows


def _of_windows(evidence: Evidence) -> Decision:
    """By the search alone. Against it: no two alike, no gap, or a pull like that of nothing. Where the defense
    locates nothing, or most images hold the patch: unclear."""
    top, usual = evidence.top, evidence.usual
    if top is None or usual is None:
        return Decision(finding=Finding.UNCLEAR, because=NOT_LOCATED)
    steps = tuple(
        Comparison(name=name, value=getattr(top, name), usual=getattr(usual, name), limits=limits)
        for name, limits in LIMITS.items()
    )
    against = next((AGAINST[step.name] for step in steps if step.says < 0), "")
    between = ", ".join(NAMES[step.name] for step in steps if step.says == 0)
    if against:
        return Decision(finding=Finding.NONE, because=against, steps=steps)
    if between:
        finding, because = Finding.UNCLEAR, BETWEEN.format(between)
    elif evidence.holders.mean() > MOST_REMOVED:
        finding, because = Finding.UNCLEAR, MOST_WOULD_GO
    else:
        finding, because = Finding.FOUND, FOR
    return Decision(finding=finding, because=because, steps=steps, windows=True)


def decide_quick(patches: int, goes_on: bool = False) -> Decision:
    """Of a quick look, by the number of patches that recur. It never says that a trigger was found: a trigger must also
    act on an encoder, and there is none. goes_on: the full scan follows."""
    finding = Finding.RECURS if patches else Finding.NO_PATCH
    words = RECURRING[patches > 1] if patches else NOTHING_RECURS
    return Decision(finding=finding, because=f"{words} {NOT_ASKED[goes_on]}", patches=tuple(range(patches)))


RECURRING = (
    "One and the same patch is in many different images; a watermark or a logo is, too.",
    "Several patches are each in many different images; a watermark or a logo is, too.",
)
NOTHING_RECURS = "No patch is in many different images as if it had been pasted there."
NOT_ASKED = (
    "Whether anything here acts on an encoder was not asked. Next step: the full scan (without --quick) trains an "
    "encoder and asks it.",
    "Whether anything here acts on an encoder is what the rest of the scan asks.",
)
ACTS_LITTLE = (
    "Pasted on other images it changes little of what this encoder sees in them: a watermark, or a trigger that so "
    "short a training has not taken up."
)
NOT_LOCATED = "This defense names images but locates no trigger in them."
BETWEEN = "Some of the most suspicious images show the same patch, but it is no clear case ({}). Look at them."
NAMES = {"alike": "few of them show it", "gap": "others show nearly the same", "pull": "it acts a little"}
MOST_WOULD_GO = "The same patch acts on the encoder, but more than half of the images hold it."
FOR = (
    "The same patch is in different images, and pasted on others it makes the encoder see it instead of what they show."
)
AGAINST = {
    "alike": "The most suspicious windows show different things.",
    "gap": "What the most suspicious windows show is in many images more or less, as edges are: nothing was pasted.",
    "pull": "Pasted on other images, the most suspicious windows change little of what the encoder sees in them.",
}
