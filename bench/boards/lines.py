"""One line of a table: a defense in one way, its means over the seeds and their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .credits import Credit
from .row import Group
from .rows import CONTROL, DEFENSE, NONE, SCORED, SECONDS, UNDEFINED

COUNTS = ("encoders with poison", "encoders without")
"""Names of numbers that are counted."""


class SeedResult(NamedTuple):
    """One result behind a line: its seed (None: not known), where its record lies, relative to the table ("": nowhere),
    and its attack, of a line over several."""

    seed: int | None
    source: str
    attack: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class BoardLine:
    """One defense, in one way, of one status. `mean` over the seeds and `half` the width of its 95 % interval (NaN for
    one seed), by the names of `rows`; the texts are raw: each format escapes them.

    kind: one of rows.KINDS. status: "measured" here, "submitted" and verified, or "paper-reported". by_seed: the values
    behind a mean, in the order of the seeds, and threats: what makes the threat model of each seed that model (both
    empty where a paper reports it). stages: seconds of each stage behind it, by its key. credits: where
    the plugins that its name names come from, as far as its records say. repeats: whether it is a combination whose
    filter alone has a line, too: what was detected is that line's, and counts there. attack, group: of a line in a
    table that holds several attacks, its own in words and the table that it would belong to.
    """

    defense: str
    settings: str = ""
    status: str
    kind: str = DEFENSE
    results: tuple[SeedResult, ...]
    mean: Mapping[str, float]
    half: Mapping[str, float] = field(default_factory=dict)
    by_seed: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    threats: Mapping[int, object] = field(default_factory=dict)
    stages: Mapping[str, float] = field(default_factory=dict)
    credits: Mapping[str, Credit] = field(default_factory=dict)
    repeats: bool = False
    attack: str = ""
    group: Group | None = None

    @property
    def control(self) -> bool:
        """It sees the truth."""
        return self.kind == CONTROL and self.defense != NONE

    @property
    def idle(self) -> bool:
        """Whether it neither scores nor removes an image: a training change, or a control that keeps all."""
        return self.mean.get("removed") == 0 and not any(self.cell(name) != UNDEFINED for name in SCORED)

    @property
    def label(self) -> str:
        """Its name, and in parentheses what else a reader must know."""
        return f"{self.defense} ({self.remarks})" if self.remarks else self.defense

    @property
    def remarks(self) -> str:
        """What its label has in parentheses."""
        return "; ".join(filter(None, [self.attack, "control" if self.control else "", self.settings]))

    def plugins(self) -> list[tuple[str, Credit]]:
        """The plugins that its name names, in order, and where each comes from."""
        return [(name, self.credits.get(name, Credit(name=name))) for name in self.defense.split("+")]

    @property
    def seeds(self) -> int:
        """How many seeds there are; 0 where that is not known."""
        return len({result.seed for result in self.results} - {None})

    def results_for(self, names: Iterable[str]) -> list[SeedResult]:
        """Those that have one of the numbers."""
        wanted = list(names)
        has = {
            seed: any(not math.isnan(values.get(name, math.nan)) for name in wanted)
            for seed, values in self.by_seed.items()
        }
        return [result for result in self.results if has.get(result.seed or 0, True)]

    def cell(self, name: str) -> str:
        """The mean of `name`, with half its interval where there are several seeds."""
        mean, half = self.number(name)
        if math.isnan(mean):
            return UNDEFINED
        single = math.isnan(half)
        digits = 0 if name in (SECONDS, *COUNTS) or (name == "removed" and single) else 1
        return f"{mean:.{digits}f}" + ("" if single else f" ± {half:.{digits}f}")

    def number(self, name: str) -> tuple[float, float]:
        """Mean and half the width of its interval of `name`, NaN where undefined."""
        return self.mean.get(name, math.nan), self.half.get(name, math.nan)
