"""The tables of runs that choose no images: test-time detectors, attack by attack, and encoder tests, over encoders.

One table of each for a data set, a preset and a version of the metrics. Their lines are in no other table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.records.metrics import ENCODER, TEST_TIME, area
from bench.records.record import Record, fingerprint, only_judges, pace

from . import titles
from .best import Marks, marks
from .lines import COUNTS, BoardLine, SeedResult
from .naming import flat_config, name_settings
from .overview import MEAN, WORST, across
from .part import BoardPart
from .ranks import by_means, ranks
from .row import Group, RunRow, by_group
from .rows import KINDS, OVER, PACE, TESTED, measured_first, one_a_seed, row_of
from .tables import K, Leaderboard, line_of, took

DETECTORS, ENCODERS = "Test-time detectors", "Encoder verdicts"
AREA, SCORE = "AUROC over encoders", "encoder's score"
COLUMNS = {DETECTORS: (*TESTED, PACE), ENCODERS: (AREA, *COUNTS)}
_TOLD = next(iter(TESTED))
_LINES = {DETECTORS: "detector", ENCODERS: "test"}
_WHAT = {
    DETECTORS: "test images with a trigger told from those without",
    ENCODERS: "encoders trained on poison told from those that were not",
}


@dataclass(frozen=True, kw_only=True)
class JudgedBoard(Leaderboard):
    """A table whose lines are of several attacks. judges: DETECTORS or ENCODERS. overall: a line for each detector,
    over all attacks; attacks: those of `overall` that poison, in words, and clean: those that do not."""

    judges: str
    overall: tuple[BoardLine, ...] = ()
    attacks: tuple[str, ...] = ()
    clean: tuple[str, ...] = ()

    @property
    def several(self) -> bool:
        return True

    @property
    def columns(self) -> dict[str, str]:
        return {name: name for name in COLUMNS[self.judges]}

    def parts(self) -> list[BoardPart]:
        """One, in which the best numbers are marked attack by attack; of detectors before it all attacks in one."""
        found: Marks = {}
        if self.judges == DETECTORS:
            for attack in dict.fromkeys(line.attack for line in self.lines):
                same = [line for line in self.lines if line.attack == attack]
                found = {**found, **marks(same, same, self.columns.values())}
        whole = BoardPart(self.judges, _WHAT[self.judges], self.columns, self.lines, {}, "", found, _LINES[self.judges])
        return [self._all_attacks(), whole] if self.overall else [whole]

    def _all_attacks(self) -> BoardPart:
        columns = {over: f"{_TOLD}{OVER}{over}" for over in (MEAN, WORST, *self.attacks)}
        places, best = ranks(self.overall, [columns[MEAN]]), marks(self.overall, self.overall, columns.values())
        clean = {f"{attack}: no backdoor": f"{_TOLD}{OVER}{attack}" for attack in self.clean}
        return BoardPart(
            self.judges,
            f"{_TOLD} by attack",
            columns | clean,
            self.overall,
            places,
            marks=best,
            lines_are=_LINES[self.judges],
            neutral=clean.values(),
        )

    def summary(self) -> BoardPart:
        return self.parts()[0]

    def by_detection(self) -> list[BoardLine]:
        return [*self.overall, *self.lines]


def judged(records: Iterable[Record], sources: Iterable[str] = (), files: Iterable[str] = ()) -> list[JudgedBoard]:
    """The tables. Arguments and errors: as of `tables`."""
    rows: dict[str, RunRow] = {}
    for record, source, file in measured_first(records, sources, files):
        if only_judges(record):
            row = _row(record, source, file)
            rows.setdefault(row.identity, row)
    table = list(rows.values())
    name_settings(table)
    parts: dict[tuple[Any, ...], list[RunRow]] = {}
    for row in one_a_seed(table):
        judges = ENCODERS if SCORE in row.values else DETECTORS
        group = row.group._replace(attack=judges, options="{}")
        parts.setdefault((group, judges), []).append(row)
    return [_board(group, judges, part) for (group, judges), part in sorted(parts.items(), key=lambda each: each[0])]


def _row(record: Record, source: str, file: str) -> RunRow:
    row = row_of(record, record["stages"], flat_config(record), fingerprint(record), (source, file))
    metrics = record["metrics"]
    if ENCODER in metrics:
        row.values = {SCORE: metrics[ENCODER]["score"]}
        return row
    found = metrics[TEST_TIME]
    row.values = {title: found.get(name) for title, name in TESTED.items()}
    row.values[PACE] = 1000 * pace(record)
    return row


def _board(group: Group, judges: str, part: Sequence[RunRow]) -> JudgedBoard:
    lines = _detector_lines(part) if judges == DETECTORS else _encoder_lines(part)
    overall, attacks, clean = _overall(part, lines) if judges == DETECTORS else ((), (), ())
    return JudgedBoard(
        title=f"{titles.images(part)}; {judges.lower()}",
        about=titles.about(part),
        note=" ".join(filter(None, [titles.small(part), f"{took(lines)}."])),
        facts={name: text for name, text in titles.facts(part).items() if not name.startswith("attack")},
        group=group,
        k=K,
        lines=tuple(lines),
        poisoned=any(row.poisoned for row in part),
        judges=judges,
        overall=overall,
        attacks=attacks,
        clean=clean,
    )


def _alike(part: Sequence[RunRow], by_attack: bool) -> list[list[RunRow]]:
    found: dict[tuple[Any, ...], list[RunRow]] = {}
    for row in part:
        attack = (row.group.attack, row.group.options) if by_attack else ()
        found.setdefault((*attack, row.defense, row.settings, row.status), []).append(row)
    return list(found.values())


def _detector_lines(part: Sequence[RunRow]) -> list[BoardLine]:
    """A line for each attack, detector and status; detectors before baselines, attack by attack, the best first."""
    words = titles.attacks(part)
    made = []
    for same in _alike(part, by_attack=True):
        group = same[0].group
        made.append(replace(line_of(same), attack=words[group], group=group))

    def place(line: BoardLine) -> tuple[Any, ...]:
        mean = line.number(next(iter(TESTED)))[0]
        return KINDS.index(line.kind), line.attack, math.isnan(mean), -mean if not math.isnan(mean) else 0, line.label

    return sorted(made, key=place)


def _overall(
    part: Sequence[RunRow], lines: Sequence[BoardLine]
) -> tuple[tuple[BoardLine, ...], tuple[str, ...], tuple[str, ...]]:
    """Of each detector a line over all attacks, the attacks that poison, and the others; none if fewer than two do."""
    words, groups = titles.attacks(part), by_group(part)
    ordered = sorted(groups, key=lambda group: titles.order_of(group, groups[group]))
    poison = {words[group]: groups[group][0].poisoned > 0 for group in ordered}
    poisoning = [attack for attack, poisons in poison.items() if poisons]
    if len(poisoning) < 2:
        return (), (), ()
    made = across(((line.attack, line) for line in lines), dict.fromkeys(poison, _TOLD), poisoning)
    made.sort(key=lambda line: (KINDS.index(line.kind), by_means(line, [f"{_TOLD}{OVER}{MEAN}"]), line.label))
    return tuple(made), tuple(poisoning), tuple(attack for attack in poison if not poison[attack])


def _encoder_lines(part: Sequence[RunRow]) -> list[BoardLine]:
    """A line for each encoder test and status: the AUROC over its encoders, each counted once, whatever attack and seed
    they are of. It has no interval: encoders of several attacks are no sample of anything."""
    words, made = titles.attacks(part), []
    for same in _alike(part, by_attack=False):
        once: Mapping[Any, RunRow] = {row.threat[0] or row.identity: row for row in reversed(same)}
        score = np.array([float(row.values[SCORE] or 0.0) for row in once.values()])
        poisoned = np.array([row.poisoned > 0 for row in once.values()])
        found = area(poisoned, score)
        counts = (float(poisoned.sum()), float((~poisoned).sum()))
        mean = {AREA: math.nan if found is None else found, **dict(zip(COUNTS, counts, strict=True))}
        line = line_of(same)
        results = tuple(SeedResult(row.seed, row.source, words[row.group]) for row in same)
        made.append(replace(line, mean=mean, half={}, by_seed={}, threats={}, results=results))
    return sorted(made, key=lambda line: (KINDS.index(line.kind), line.label))
