"""All attacks of one setting in one table: a line for each defense, a column for each attack.

What a defense is worth is what it does against all of them, so lines are ranked by their means over the attacks, seed
by seed, unless the colours alone solve too many of them. Made of the tables of the single attacks; nothing is computed
anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from .best import marks
from .lines import BoardLine, SeedResult
from .part import BoardPart
from .ranks import by_means, ranks
from .row import Group
from .rows import KINDS, LOST, NONE, OVER, UNDEFINED, higher_is_better
from .statistics import over_seeds
from .tables import CLEAN_REMOVED, COLOURS, SOLVED, Leaderboard, took

TOO_MANY = 1 / 3
"""The share of attacks up to which colours may solve them in a table that ranks detection."""
MEAN, WORST = "mean", "worst"
PARTS = {"AP": ("Detection", "average precision by attack"), LOST: ("Full runs", "points lost by attack")}
"""The number that a part shows -> its section, and what it is in words."""


@dataclass(frozen=True, kw_only=True)
class Overview(Leaderboard):
    """A table whose columns are attacks. made: its parts; lines: those of all parts; tables: of the single attacks."""

    made: tuple[BoardPart, ...]
    tables: tuple[Leaderboard, ...]

    @property
    def several(self) -> bool:
        return True

    @property
    def columns(self) -> dict[str, str]:
        return {title: name for part in self.made for title, name in part.columns.items()}

    def parts(self) -> list[BoardPart]:
        """Detection and full runs, as far as there are any."""
        return list(self.made)

    def summary(self) -> BoardPart:
        return self.made[0]

    def by_detection(self) -> list[BoardLine]:
        return list(self.lines)

    @property
    def easy(self) -> bool:
        """Whether its first part has no ranks because the colours alone solve too many of its attacks."""
        return self.made[0].easy

    def first_part(self) -> Overview:
        """With that part alone, so that a defense has one line."""
        return replace(self, made=self.made[:1], lines=tuple(self.made[0].lines))


ALL = "all"
"""What stands for the attack where all are meant."""


def overviews(tables: Iterable[Leaderboard]) -> list[Overview]:
    """One for each setting in which some number of PARTS is there for two or more attacks; last the easy ones."""
    settings: dict[Group, list[Leaderboard]] = {}
    for table in tables:
        if table.group is not None and not table.several:
            settings.setdefault(table.group.setting, []).append(table)
    made = [_overview(group, part) for group, part in settings.items()]
    return sorted((each for each in made if each.made), key=lambda each: each.easy)


def _overview(group: Group, tables: Sequence[Leaderboard]) -> Overview:
    first = tables[0]
    parts = tuple(filter(None, (_part(number, tables) for number in PARTS)))
    return Overview(
        title=f"{first.title.partition('; ')[0]}; defenses against all attacks",
        about=first.about,
        note=" ".join(filter(None, [first.small, f"{took(line for table in tables for line in table.lines)}."])),
        group=group,
        k=first.k,
        lines=tuple(line for part in parts for line in part.lines),
        made=parts,
        tables=tuple(tables),
    )


def _part(number: str, tables: Sequence[Leaderboard]) -> BoardPart | None:
    """That of one number, None unless two attacks have it: their columns, mean and worst, and in detection how much is
    removed where nothing is poisoned."""
    measured = [table for table in tables if table.poisoned and _having(number, table)]
    if len(measured) < 2:
        return None
    clean = [table for table in tables if not table.poisoned] if number == "AP" else []
    attacks = [table.short for table in measured]
    numbers = dict.fromkeys(attacks, number) | {table.short: CLEAN_REMOVED for table in clean}
    columns = {over: f"{number}{OVER}{over}" for over in (MEAN, WORST, *attacks)}
    marked = list(columns.values())  # not what follows: to remove nothing at all is easy
    columns |= {f"{table.short}: clean removed, %": f"{CLEAN_REMOVED}{OVER}{table.short}" for table in clean}
    lines = across(
        ((table.short, line) for table in (*measured, *clean) for line in _having(numbers[table.short], table)),
        numbers,
        attacks,
    )
    note, easy = _solved(measured) if number == "AP" else ("", False)
    places = {} if easy else ranks(lines, [f"{number}{OVER}{MEAN}"])
    lines.sort(key=lambda line: _place(line, places, number))
    section, what = PARTS[number]
    return BoardPart(section, what, columns, lines, places, note, marks(lines, lines, marked), easy=easy)


def _having(number: str, table: Leaderboard) -> list[BoardLine]:
    """The lines that have it; what was detected only of those that detect something of their own."""
    lines = table.lines if number == LOST else [line for line in table.lines if not line.repeats]
    return [line for line in lines if line.cell(number) != UNDEFINED]


def across(lines: Iterable[tuple[str, BoardLine]], numbers: Mapping[str, str], over: Sequence[str]) -> list[BoardLine]:
    """One line for each defense of several tables. lines: each with the title of its table; numbers: title -> the
    number that is taken of it, here "NUMBER | TITLE"; over: the titles, all of one number, whose mean and worst are
    taken of the seeds that have all of them. A seed that has none of these is left out."""
    alike: dict[tuple[str, str, str], dict[str, BoardLine]] = {}
    for title, line in lines:
        alike.setdefault((line.defense, line.settings, line.status), {})[title] = line
    return [_across(found, numbers, over) for found in alike.values()]


def _across(found: Mapping[str, BoardLine], numbers: Mapping[str, str], over: Sequence[str]) -> BoardLine:
    """That of one defense. found: title -> its line there."""
    first = next(iter(found.values()))
    by_seed: dict[int, dict[str, float]] = {}
    for title, line in found.items():
        for seed, values in line.by_seed.items():
            if not math.isnan(value := values.get(numbers[title], math.nan)):
                by_seed.setdefault(seed, {})[f"{numbers[title]}{OVER}{title}"] = value
    number = numbers[over[0]]
    worst: Any = min if higher_is_better(number) else max
    by_seed = {
        seed: values for seed, values in by_seed.items() if any(f"{number}{OVER}{each}" in values for each in over)
    }
    for values in by_seed.values():
        own = [values[name] for title in over if (name := f"{number}{OVER}{title}") in values]
        if len(own) == len(over):
            values |= {f"{number}{OVER}{MEAN}": fmean(own), f"{number}{OVER}{WORST}": worst(own)}
    by_seed = dict(sorted(by_seed.items()))
    mean, half = over_seeds(by_seed)
    return replace(
        first,
        kind=max((line.kind for line in found.values()), key=KINDS.index),
        results=tuple(SeedResult(seed, "") for seed in by_seed),
        mean=mean,
        half=half,
        by_seed=by_seed,
        threats={seed: _threats(found, over, seed) for seed in by_seed},
        stages={},
        attack="",
        group=None,
    )


def _threats(found: Mapping[str, BoardLine], over: Sequence[str], seed: int) -> dict[str, object]:
    """The threat model behind each column of a line; behind the mean and the worst those of all attacks."""
    threats: dict[str, object] = {title: line.threats.get(seed) for title, line in found.items()}
    return threats | dict.fromkeys((MEAN, WORST), tuple(threats.get(title) for title in over))


def _place(line: BoardLine, places: Mapping[BoardLine, int], number: str) -> tuple[object, ...]:
    means = by_means(line, [f"{number}{OVER}{MEAN}"])
    return KINDS.index(line.kind), line.defense != NONE, places.get(line, math.inf), means, line.label


def _solved(tables: Iterable[Leaderboard]) -> tuple[str, bool]:
    """On how many attacks a statistic of the colours alone does well, in a sentence, and whether on too many for a
    rank; "" where none was run."""
    found = [
        [line for line in table.lines if line.defense in COLOURS and line.cell("AP") != UNDEFINED] for table in tables
    ]
    tried = [lines for lines in found if lines]
    if not tried:
        return "", False
    names = " or ".join(name for name in COLOURS if any(line.defense == name for lines in tried for line in lines))
    solved = sum(max(line.number("AP")[0] for line in lines) >= SOLVED for lines in tried)
    easy = solved > TOO_MANY * len(found)
    note = f"The colours alone ({names}) reach AP {SOLVED:.0f} on {solved} of {len(tried)} attacks"
    return f"{note}, over a third: no ranks here." if easy else f"{note}.", easy
