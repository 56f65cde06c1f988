"""From rows to tables: what a reader sees, in numbers; every format renders these."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any, NamedTuple

from bench.records.record import MEASURED, Record

from .rows import FOUND, GAP, NONE, PLACED, RATES, SECONDS, UNDEFINED, Group, RunRow, rows

K = 10  # the k shown, or the largest below it that every locating record of a table has
REPORTED = "paper-reported"


class SeedResult(NamedTuple):
    """One result behind a line: its seed (None: not known), and where its record lies, relative to the table ("":
    nowhere)."""

    seed: int | None
    source: str


@dataclass(frozen=True, kw_only=True)
class BoardLine:
    """One defense, in one way, of one status. `mean` and `spread` (sample standard deviation over the seeds, NaN for
    one) by the names of `rows`; the texts are raw: each format escapes them.

    status: "measured" here, "submitted" and verified, or "paper-reported". control: it sees the truth. by_seed: the
    values behind a mean, in the order of the seeds (none where a paper reports it). stages: seconds of each stage
    behind it, by its key.
    """

    defense: str
    settings: str = ""
    status: str
    control: bool = False
    results: tuple[SeedResult, ...]
    mean: Mapping[str, float]
    spread: Mapping[str, float] = field(default_factory=dict)
    by_seed: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    stages: Mapping[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Its name, and in parentheses what else a reader must know."""
        remarks = [*(["control"] if self.control else []), *([self.settings] if self.settings else [])]
        return f"{self.defense} ({'; '.join(remarks)})" if remarks else self.defense

    @property
    def seeds(self) -> int:
        """How many seeds it is the mean over; 0 where that is not known."""
        return len({result.seed for result in self.results} - {None})

    def cell(self, name: str) -> str:
        """The mean of `name`, with its spread where there are several seeds."""
        mean, spread = self.number(name)
        if math.isnan(mean):
            return UNDEFINED
        single = math.isnan(spread)
        digits = 0 if name == SECONDS or (name == "removed" and single) else 1
        return f"{mean:.{digits}f}" + ("" if single else f" ± {spread:.{digits}f}")

    def number(self, name: str) -> tuple[float, float]:
        """Mean and spread of `name`, NaN where undefined."""
        return self.mean.get(name, math.nan), self.spread.get(name, math.nan)


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Lines that may be compared. k: of the columns top-k, IoU@k, CR@k. group: None where a paper reports them."""

    title: str
    note: str
    group: Group | None
    k: int
    lines: tuple[BoardLine, ...]

    @property
    def rates(self) -> dict[str, str]:
        """How the trained encoders do: title -> name in `BoardLine.mean`."""
        return {name: name for name in (*RATES, GAP, SECONDS)}

    @property
    def found(self) -> dict[str, str]:
        """How well the poisoned images were separated from the clean ones: title -> name in `BoardLine.mean`."""
        return {name: name for name in FOUND}

    @property
    def placed(self) -> dict[str, str]:
        """How well the triggers were located: title -> name in `BoardLine.mean`."""
        return {title.format(k=self.k): f"{self.k}.{name}" for title, name in PLACED.items()}

    def parts(self) -> list[BoardPart]:
        """Each narrow enough for a page. The first has all lines and every rate; the others have the columns that some
        line has a number for, and the lines that have one."""
        always = {name: name for name in RATES} | filled(self.lines, self.rates)
        rates = {title: name for title, name in self.rates.items() if title in always}
        found = [BoardPart("What the encoders do", rates, self.lines)]
        for title, columns in (("What was removed", self.found), ("Where the triggers were found", self.placed)):
            shown = filled(self.lines, columns)
            lines = tuple(line for line in self.lines if any(line.cell(name) != UNDEFINED for name in shown.values()))
            found += [BoardPart(title, shown, lines)] if lines else []
        return found


class BoardPart(NamedTuple):
    """Some columns of a leaderboard, title -> name in `BoardLine.mean`, and the lines to show them for."""

    title: str
    columns: Mapping[str, str]
    lines: Sequence[BoardLine]


def tables(records: Iterable[Record], sources: Iterable[str] = ()) -> list[Leaderboard]:
    """One table per group, in the order of the groups. sources: where each record lies.

    "none" comes first, then by rising ASR under the trigger; controls come last. What was measured here is never
    averaged with what was sent in.
    """
    parts: dict[Group, list[RunRow]] = {}
    for row in rows(records, sources):
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
    took = f"{hours(lines):.1f} hours of computing in all, a stage that rows share counted once"
    return Leaderboard(
        title=title,
        note=f"Dataset fingerprint {group.fingerprint[:12]}, metric version {group.metric_version}. {took}.",
        group=group,
        k=_common_k(own or part),
        lines=tuple(sorted(lines, key=_rank)),
    )


def _line(same: Sequence[RunRow]) -> BoardLine:
    """The line of rows that differ in their seeds; several of one seed are one, their mean."""
    first, names = same[0], dict.fromkeys(name for row in same for name in row.values)
    by_seed = {
        seed: {name: _mean(row.values.get(name) for row in same if row.seed == seed) for name in names}
        for seed in sorted({row.seed for row in same})
    }
    columns = {name: [values[name] for values in by_seed.values() if not math.isnan(values[name])] for name in names}
    return BoardLine(
        defense=first.defense,
        settings=first.settings,
        status=first.status,
        control=any(row.control for row in same),
        results=tuple(sorted({SeedResult(row.seed, row.source) for row in same})),
        mean={name: _mean(values) for name, values in columns.items()},
        spread={name: stdev(values) if len(values) > 1 else math.nan for name, values in columns.items()},
        by_seed=by_seed,
        stages=_merged(row.stages for row in same),
    )


def _mean(values: Iterable[float | None]) -> float:
    """Of the values that are defined; NaN where none is."""
    defined = [float(value) for value in values if value is not None]
    return fmean(defined) if defined else math.nan


def _rank(line: BoardLine) -> tuple[Any, ...]:
    """No defense first, then by rising ASR, lines without one last; controls behind all."""
    asr = line.mean["ASR triggered"]
    undefined = math.isnan(asr)
    place = (line.defense != NONE, line.control, undefined, 0.0 if undefined else asr)
    return *place, line.defense, line.settings, line.status


def _common_k(part: Sequence[RunRow]) -> int:
    """The largest k up to K for which every locating row has numbers; K where none locates."""
    found = [{int(name.partition(".")[0]) for name in row.values if name.endswith(".accuracy")} for row in part]
    return max((k for k in set.intersection(*filter(None, found)) if k <= K), default=K) if any(found) else K


def filled(lines: Sequence[BoardLine], columns: Mapping[str, str]) -> dict[str, str]:
    """The columns that some line has a number for."""
    return {t: n for t, n in columns.items() if any(line.cell(n) != UNDEFINED for line in lines)}
