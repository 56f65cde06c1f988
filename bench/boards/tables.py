"""From rows to tables: what a reader sees, in numbers; every format renders these."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from bench.records.record import MEASURED, Record

from .ranks import DETECTION_RANK, FULL_RANK, ranks
from .rows import (
    CONTROL,
    DEFENSE,
    HIGHER,
    KINDS,
    LOST,
    NONE,
    PLACED,
    RATES,
    REMOVED,
    SCORED,
    SECONDS,
    UNDEFINED,
    Group,
    RunRow,
    rows,
)
from .statistics import mean_interval

COLOUR, CLEAN_REMOVED = "colour", "clean removed"
K = 10  # the k shown, or the largest below it that every locating record of a table has
REPORTED = "paper-reported"


class SeedResult(NamedTuple):
    """One result behind a line: its seed (None: not known), and where its record lies, relative to the table ("":
    nowhere)."""

    seed: int | None
    source: str


@dataclass(frozen=True, kw_only=True, eq=False)
class BoardLine:
    """One defense, in one way, of one status. `mean` over the seeds and `half` the width of its 95 % interval (NaN for
    one seed), by the names of `rows`; the texts are raw: each format escapes them.

    kind: one of rows.KINDS. status: "measured" here, "submitted" and verified, or "paper-reported". by_seed: the values
    behind a mean, in the order of the seeds, and threats: what makes the threat model of each seed that model (both
    empty where a paper reports it). stages: seconds of each stage behind it, by its key.
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

    @property
    def control(self) -> bool:
        """It sees the truth."""
        return self.kind == CONTROL and self.defense != NONE

    @property
    def label(self) -> str:
        """Its name, and in parentheses what else a reader must know."""
        remarks = [*(["control"] if self.control else []), *([self.settings] if self.settings else [])]
        return f"{self.defense} ({'; '.join(remarks)})" if remarks else self.defense

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
        digits = 0 if name == SECONDS or (name == "removed" and single) else 1
        return f"{mean:.{digits}f}" + ("" if single else f" ± {half:.{digits}f}")

    def number(self, name: str) -> tuple[float, float]:
        """Mean and half the width of its interval of `name`, NaN where undefined."""
        return self.mean.get(name, math.nan), self.half.get(name, math.nan)


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Lines that may be compared. k: of the columns top-k, IoU@k, CR@k. group: None where a paper reports them.
    poisoned: whether any image is."""

    title: str
    note: str
    group: Group | None
    k: int
    lines: tuple[BoardLine, ...]
    poisoned: bool = True

    @property
    def rates(self) -> dict[str, str]:
        """How the trained encoders do: title -> name in `BoardLine.mean`."""
        return {name: name for name in (*RATES, LOST, SECONDS)}

    @property
    def scored(self) -> dict[str, str]:
        """How the scores order the images: title -> name in `BoardLine.mean`."""
        return {name: name for name in SCORED} if self.poisoned else {}

    @property
    def removed(self) -> dict[str, str]:
        """How the removed images were chosen: title -> name in `BoardLine.mean`; without poison only how many."""
        return {name: name for name in (REMOVED if self.poisoned else ("removed", CLEAN_REMOVED))}

    @property
    def placed(self) -> dict[str, str]:
        """How well the triggers were located: title -> name in `BoardLine.mean`."""
        return {title.format(k=self.k): f"{self.k}.{name}" for title, name in PLACED.items()} if self.poisoned else {}

    @property
    def columns(self) -> dict[str, str]:
        """All of them but the seconds: title -> name in `BoardLine.mean`."""
        every = {**self.scored, **self.removed, **self.placed, **self.rates}
        return {title: name for title, name in every.items() if name != SECONDS}

    def parts(self) -> list[BoardPart]:
        """Each narrow enough for a page: the detection in up to three, of which the first has its ranks, then the full
        runs. Each has the columns that some line has a number for, and the lines that have one."""
        judged = [line for line in self.lines if not (self.poisoned and _idle(line))]
        order = DETECTION_RANK if self.poisoned else (CLEAN_REMOVED,)
        places = ranks(self.lines, DETECTION_RANK)
        judged.sort(key=lambda line: _place(line, places, order))
        found = [
            _part("Detection: how the scores order the images", self.scored, judged, places, self._colour()),
            _part("Detection: what was removed", self.removed, judged),
            _part("Detection: where the triggers were found", self.placed, judged),
            _part("Full runs: what the new encoders do", self.rates, self.lines, ranks(self.lines, FULL_RANK)),
        ]
        return [part for part in found if part.lines]

    def _colour(self) -> str:
        """What a colour statistic alone reaches, in a sentence; "" where no line is of it."""
        found = [line.cell("AP") for line in self.lines if line.defense == COLOUR and line.cell("AP") != UNDEFINED]
        return f"A colour statistic alone ({COLOUR}) reaches AP {found[0]}." if found else ""


class BoardPart(NamedTuple):
    """Some columns of a leaderboard, title -> name in `BoardLine.mean`, the lines to show them for, kind by kind, and
    the ranks of some of these (none: no column of ranks); note: a remark, or ""."""

    title: str
    columns: Mapping[str, str]
    lines: Sequence[BoardLine]
    ranks: Mapping[BoardLine, int]
    note: str = ""

    def rank(self, line: BoardLine) -> str:
        """As it is printed."""
        return str(self.ranks.get(line, UNDEFINED))

    def kinds(self) -> list[list[BoardLine]]:
        """The lines, in a list for each kind that there is."""
        return [list(same) for _, same in groupby(self.lines, key=lambda line: line.kind)]

    def results(self, line: BoardLine) -> list[SeedResult]:
        """Those behind a line's numbers."""
        return line.results_for(name for name in self.columns.values() if name != SECONDS)


def _part(
    title: str,
    columns: Mapping[str, str],
    lines: Sequence[BoardLine],
    places: Mapping[BoardLine, int] | None = None,
    note: str = "",
) -> BoardPart:
    shown = filled(lines, columns)
    names = [name for name in shown.values() if name != SECONDS]
    there = [line for line in lines if any(line.cell(name) != UNDEFINED for name in names)]
    return BoardPart(title, shown, there, places or {}, note)


def _idle(line: BoardLine) -> bool:
    """Whether it neither scores nor removes an image: a training change, or a control that keeps all."""
    return line.mean.get("removed") == 0 and not any(line.cell(name) != UNDEFINED for name in SCORED)


def _place(line: BoardLine, places: Mapping[BoardLine, int], by: Sequence[str]) -> tuple[Any, ...]:
    """Kind by kind, "none" first among the controls; by rank, then by the numbers that rank, then by ASR."""
    means = []
    for name in (*by, "ASR triggered"):
        mean = line.number(name)[0]
        means += [math.isnan(mean), 0.0 if math.isnan(mean) else -mean if HIGHER[name] else mean]
    kind = (KINDS.index(line.kind), line.defense != NONE)
    return *kind, places.get(line, math.inf), *means, line.defense, line.settings, line.status


def tables(records: Iterable[Record], sources: Iterable[str] = (), files: Iterable[str] = ()) -> list[Leaderboard]:
    """One table per group, in the order of the groups. sources: where each record lies, for links; files: for messages.

    Defenses come first, then baselines, then controls. What was measured here is never averaged with what was sent in.
    Raises BenchError for two results of one line and seed that differ.
    """
    parts: dict[Group, list[RunRow]] = {}
    for row in rows(records, sources, files):
        parts.setdefault(row.group, []).append(row)
    return [_table(group, _title(group, parts), parts[group]) for group in sorted(parts)]


def _title(group: Group, groups: Iterable[Group]) -> str:
    """Its attack, dataset and preset, and the attack's options where those of another table differ."""
    alike = [other.attack_options for other in groups if _same_names(other) == _same_names(group)]
    own = group.attack_options
    differ = [name for name in own if any(other.get(name) != own[name] for other in alike)]
    named = [name for name in differ if not name.endswith("sha256")] or differ
    options = ", ".join(f"{name} {own[name]}" for name in named)
    return f"{group.attack}{f' ({options})' if options else ''} on {group.dataset}, preset {group.preset}"


def _same_names(group: Group) -> tuple[str, str, str]:
    return group.dataset, group.attack, group.preset


def hours(lines: Iterable[BoardLine]) -> float:
    """What all their stages took, those that several share counted once."""
    return sum(_merged(line.stages for line in lines).values()) / 3600


def _merged(every: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Seconds of the stages of all, by their keys."""
    return {key: seconds for stages in every for key, seconds in stages.items()}


def _table(group: Group, title: str, part: Sequence[RunRow]) -> Leaderboard:
    own = [row for row in part if row.status == MEASURED]
    alike: dict[tuple[str, str, str], list[RunRow]] = {}
    for row in part:
        alike.setdefault((row.defense, row.settings, row.status), []).append(row)
    lines = [_line(same) for same in alike.values()]
    places = ranks(lines, FULL_RANK)
    took = f"{hours(lines):.1f} hours of computing in all, a stage that rows share counted once"
    return Leaderboard(
        title=title,
        note=f"Dataset fingerprint {group.fingerprint[:12]}, metric version {group.metric_version}. {took}.",
        group=group,
        k=_common_k(own or part),
        lines=tuple(sorted(lines, key=lambda line: _place(line, places, FULL_RANK))),
        poisoned=any(row.poisoned for row in part),
    )


def _line(same: Sequence[RunRow]) -> BoardLine:
    """The line of rows that differ in their seeds, one a seed."""
    first, ordered = same[0], sorted(same, key=lambda row: row.seed)
    names = dict.fromkeys(name for row in ordered for name in row.values)
    by_seed = {row.seed: {name: _number(row.values.get(name)) for name in names} for row in ordered}
    columns = {name: [values[name] for values in by_seed.values() if not math.isnan(values[name])] for name in names}
    intervals = {name: mean_interval(values) for name, values in columns.items()}
    return BoardLine(
        defense=first.defense,
        settings=first.settings,
        status=first.status,
        kind=max((row.kind for row in same), key=KINDS.index),
        results=tuple(SeedResult(row.seed, row.source) for row in ordered),
        mean={name: mean for name, (mean, _) in intervals.items()},
        half={name: half for name, (_, half) in intervals.items()},
        by_seed=by_seed,
        threats={row.seed: row.threat for row in ordered},
        stages=_merged(row.stages for row in same),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _common_k(part: Sequence[RunRow]) -> int:
    """The largest k up to K for which every locating row has numbers; K where none locates."""
    found = [{int(name.partition(".")[0]) for name in row.values if name.endswith(".accuracy")} for row in part]
    return max((k for k in set.intersection(*filter(None, found)) if k <= K), default=K) if any(found) else K


def filled(lines: Sequence[BoardLine], columns: Mapping[str, str]) -> dict[str, str]:
    """The columns that some line has a number for."""
    return {t: n for t, n in columns.items() if any(line.cell(n) != UNDEFINED for line in lines)}
