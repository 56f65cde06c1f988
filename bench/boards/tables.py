"""From rows to tables: what a reader sees, in numbers; every format renders these."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.records.record import MEASURED, Record

from . import titles
from .best import marks
from .credits import Credit, credits_of
from .lines import BoardLine, SeedResult
from .part import BoardPart
from .ranks import DETECTION_RANK, FULL_RANK, ranks
from .row import Group, RunRow, by_group
from .rows import (
    CONTROL,
    COST,
    KINDS,
    LOST,
    NONE,
    PLACED,
    RATES,
    REMOVED,
    SCORED,
    SECONDS,
    UNDEFINED,
    higher_is_better,
    rows,
)
from .statistics import over_seeds

COLOURS = ("colour", "palette", "colour-count")
"""The baselines that know an image's colours alone."""
SOLVED = 95.0
"""An average precision, in percent, from which on a score is said to solve an attack."""
CLEAN_REMOVED = "clean removed"
SUMMARY = ("AP", "precision", "recall", "ACC", "ASR triggered", LOST)
UNPOISONED = ("removed", CLEAN_REMOVED, "ACC", "ASR triggered")
"""The columns of a table's summary, with poison and without."""
K = 10  # the k shown, or the largest below it that every locating record of a table has
REPORTED = "paper-reported"


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Lines that may be compared. k: of the columns top-k, IoU@k, CR@k. group: None where a paper reports them.
    poisoned: whether any image is.

    title: data and attack in words. about: the names and settings behind these words, in one line, "" where a paper
    reports them. note: what a reader must know of the numbers. facts: what identifies data and code. attack: where it
    comes from, None where its records do not say. short: the attack in a few words; share: of the images that are
    poisoned, in percent; small: a warning that the setting is, or "". undefended: the lines of no defense with all of
    their seeds; among `lines` they have those of the full runs, which they are read beside.
    """

    title: str
    note: str
    group: Group | None
    k: int
    lines: tuple[BoardLine, ...]
    poisoned: bool = True
    about: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    attack: Credit | None = None
    short: str = ""
    share: float = 0.0
    small: str = ""
    undefended: tuple[BoardLine, ...] = ()

    @property
    def several(self) -> bool:
        """Whether it is of several attacks."""
        return False

    @property
    def rates(self) -> dict[str, str]:
        """How the trained encoders do: title -> name in `BoardLine.mean`."""
        return {name: name for name in (*RATES, LOST, COST, SECONDS)}

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
        judged = [line for line in self.by_detection() if not (line.repeats or (self.poisoned and line.idle))]
        places = self.detection_ranks()
        found = [
            self._part("Detection: how the scores order the images", self.scored, judged, places, self._colour()),
            self._part("Detection: what was removed", self.removed, judged),
            self._part("Detection: where the triggers were found", self.placed, judged),
            self._part("Full runs: what the new encoders do", self.rates, self.lines, ranks(self.lines, FULL_RANK)),
        ]
        return [part for part in found if part.lines]

    @property
    def easy(self) -> bool:
        """Whether colours alone solve its attack, so that detection tells nobody apart."""
        return any(line.defense in COLOURS and line.number("AP")[0] >= SOLVED for line in self.lines)

    def guessed(self, line: BoardLine) -> bool:
        """Whether the average precision of a line is not told apart from that of random scores, the share of poison."""
        mean, half = line.number("AP")
        return mean - half <= self.share

    def summary(self) -> BoardPart:
        """The few columns that say most, of every line; in the order of detection, where any line detects something."""
        wanted = SUMMARY if self.poisoned else UNPOISONED
        columns = {title: self.columns[title] for title in wanted}
        title = "Summary: the numbers that say most"
        if any(line.cell(DETECTION_RANK[0]) != UNDEFINED for line in self.lines if line.kind != CONTROL):
            return self._part(title, columns, self.by_detection(), self.detection_ranks())
        return self._part(title, columns, self.lines, ranks(self.lines, FULL_RANK))

    def by_detection(self) -> list[BoardLine]:
        """The lines kind by kind, each in the order of its detection."""
        places, order = self.detection_ranks(), DETECTION_RANK if self.poisoned else (CLEAN_REMOVED,)
        return sorted(self.lines, key=lambda line: _place(line, places, order))

    def detection_ranks(self) -> dict[BoardLine, int]:
        """Those of the lines that detect something of their own; none where the colours alone solve the attack."""
        return {} if self.easy else ranks([line for line in self.lines if not line.repeats], DETECTION_RANK)

    def _part(
        self,
        title: str,
        columns: Mapping[str, str],
        lines: Sequence[BoardLine],
        places: Mapping[BoardLine, int] | None = None,
        note: str = "",
    ) -> BoardPart:
        section, _, what = title.partition(": ")
        shown = filled(lines, columns)
        names = [name for name in shown.values() if name != SECONDS]
        there = [line for line in lines if any(line.cell(name) != UNDEFINED for name in names)]
        return BoardPart(section, what, shown, there, places or {}, note, marks(self.lines, there, shown.values()))

    def _colour(self) -> str:
        """What statistics of the colours alone reach, in a sentence; "" where no line is of one."""
        found = [line for line in self.lines if line.defense in COLOURS and line.cell("AP") != UNDEFINED]
        each = ", ".join(f"{line.cell('AP')} ({line.label})" for line in found)
        why = ", so detection is not ranked" if self.easy else ""
        return f"By the colours alone one reaches AP {each}{why}." if found else ""


def _place(line: BoardLine, places: Mapping[BoardLine, int], by: Sequence[str]) -> tuple[Any, ...]:
    """Kind by kind, "none" first among the controls; by rank, then by the numbers that rank, then by ASR."""
    means = []
    for name in (*by, "ASR triggered"):
        mean = line.number(name)[0]
        means += [math.isnan(mean), 0.0 if math.isnan(mean) else -mean if higher_is_better(name) else mean]
    kind = (KINDS.index(line.kind), line.defense != NONE)
    return *kind, places.get(line, math.inf), *means, line.defense, line.settings, line.status


def of_defenses(records: Iterable[Record], sources: Iterable[str] = (), files: Iterable[str] = ()) -> list[Leaderboard]:
    """One table per group, the default one first. sources: where each record lies, for links; files: for messages.

    Defenses come first, then baselines, then controls. What was measured here is never averaged with what was sent in.
    Raises BenchError for two results of one line and seed that differ.
    """
    parts = by_group(rows(records, sources, files))
    titled, settings = titles.titles(parts), dict[Group, list[RunRow]]()
    for group, part in parts.items():
        settings.setdefault(group.setting, []).extend(part)
    short = {group: words for part in settings.values() for group, words in titles.attacks(part).items()}
    ordered = sorted(parts, key=lambda group: titles.order_of(group, parts[group]))
    return [_table(group, titled[group], short[group], parts[group]) for group in ordered]


def took(lines: Iterable[BoardLine]) -> str:
    """The hours in words."""
    return f"{hours(lines):.1f} hours of computing in all, a stage that rows share counted once"


def hours(lines: Iterable[BoardLine]) -> float:
    """What all their stages took, those that several share counted once."""
    return sum(_merged(line.stages for line in lines).values()) / 3600


def _merged(every: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Seconds of the stages of all, by their keys."""
    return {key: seconds for stages in every for key, seconds in stages.items()}


def _table(group: Group, title: str, short: str, part: Sequence[RunRow]) -> Leaderboard:
    own = [row for row in part if row.status == MEASURED]
    alike: dict[tuple[str, str, str], list[RunRow]] = {}
    for row in part:
        alike.setdefault((row.defense, row.settings, row.status), []).append(row)
    alone = {row.verdict for row in part if "+" not in row.defense} - {None}
    every = [replace(line_of(same), repeats=_repeats(same, alone)) for same in alike.values()]
    lines = [_beside(line, every) if line.defense == NONE else line for line in every]
    places = ranks(lines, FULL_RANK)
    return Leaderboard(
        title=title,
        about=titles.about(part),
        note=" ".join(filter(None, [titles.small(part), f"{took(lines)}."])),
        facts=titles.facts(part),
        attack=credits_of((row.record for row in part), "attack").get(group.attack),
        group=group,
        short=short,
        share=titles.share(part),
        small=titles.small(part),
        k=_common_k(own or part),
        lines=tuple(sorted(lines, key=lambda line: _place(line, places, FULL_RANK))),
        poisoned=any(row.poisoned for row in part),
        undefended=tuple(line for line in every if line.defense == NONE),
    )


def _beside(line: BoardLine, every: Iterable[BoardLine]) -> BoardLine:
    """The line of no defense over the seeds of the full runs of its status, all of them where there are none."""
    others = (other for other in every if other.defense != NONE and other.status == line.status)
    seeds = {result.seed for other in others for result in other.results_for(RATES)} & line.by_seed.keys()
    return of_seeds(line, seeds) if seeds else line


def of_seeds(line: BoardLine, seeds: Collection[int | None]) -> BoardLine:
    """A line as those seeds alone make it."""
    by_seed = {seed: values for seed, values in line.by_seed.items() if seed in seeds}
    mean, half = over_seeds(by_seed)
    results = tuple(result for result in line.results if result.seed in seeds)
    return replace(line, by_seed=by_seed, mean=mean, half=half, results=results)


def _repeats(same: Sequence[RunRow], alone: Collection[str | None]) -> bool:
    """Whether a line's rows are of a combination and removed what single defenses did. alone: the verdicts of these."""
    return "+" in same[0].defense and all(row.verdict in alone for row in same)


def line_of(same: Sequence[RunRow]) -> BoardLine:
    """The line of rows that differ in their seeds, one a seed."""
    first, ordered = same[0], sorted(same, key=lambda row: row.seed)
    names = dict.fromkeys(name for row in ordered for name in row.values)
    by_seed = {row.seed: {name: _number(row.values.get(name)) for name in names} for row in ordered}
    mean, half = over_seeds(by_seed)
    return BoardLine(
        defense=first.defense,
        settings=first.settings,
        status=first.status,
        kind=max((row.kind for row in same), key=KINDS.index),
        results=tuple(SeedResult(row.seed, row.source) for row in ordered),
        mean=mean,
        half=half,
        by_seed=by_seed,
        threats={row.seed: row.threat for row in ordered},
        stages=_merged(row.stages for row in same),
        credits=credits_of((row.record for row in ordered), "defense"),
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


def anchors(tables: Iterable[Leaderboard]) -> list[str]:
    """An address in a page for each table: its names in plain letters, and a number where another has the same."""
    found: list[str] = []
    for table in tables:
        group = table.group
        method = group.ssl if group and group.ssl != titles.FIRST["ssl"] else ""
        text = f"{group.attack} {group.dataset} {group.preset} {method}" if group else table.title
        plain = slug(text)
        same = sum(re.fullmatch(rf"{plain}(--\d+)?", each) is not None for each in found)
        found.append(f"{plain}--{same + 1}" if same else plain)
    return found


def slug(text: str) -> str:
    """A name in plain letters, up to 80, for addresses and files."""
    return re.sub("[^a-z0-9]+", "-", text.lower())[:80].strip("-") or "table"
