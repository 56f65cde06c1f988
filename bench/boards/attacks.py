"""What each attack does to encoders that nobody defends: the attacks and SSL methods of one preset and data set in one
table. Made of the tables of the single attacks; nothing is computed anew."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .lines import BoardLine, SeedResult
from .part import ATTACK, BoardPart
from .row import Group
from .rows import CLEAN_SET, DEFENSE, NONE, ORACLE, UNDEFINED
from .statistics import over_seeds
from .tables import Leaderboard, filled, took

ATTACKS = "Attacks"
SHARE, ACC, ASR, NATURAL, AFTER = COLUMNS = ("poisoned, %", "ACC", "ASR", "natural ASR", "ASR after oracle")
"""What is shown of each; `words.py` says what they mean."""
_TRIGGERED = "ASR triggered"


@dataclass(frozen=True, kw_only=True)
class AttackBoard(Leaderboard):
    """A table whose lines are attacks."""

    @property
    def several(self) -> bool:
        return True

    @property
    def columns(self) -> dict[str, str]:
        return filled(self.lines, {name: name for name in COLUMNS})

    def parts(self) -> list[BoardPart]:
        """One, without ranks: no attack is better than another."""
        return [BoardPart(ATTACKS, "encoders before any defense", self.columns, self.lines, {}, lines_are=ATTACK)]

    def summary(self) -> BoardPart:
        return self.parts()[0]

    def by_detection(self) -> list[BoardLine]:
        return list(self.lines)


def attack_boards(tables: Iterable[Leaderboard]) -> list[AttackBoard]:
    """One for each preset and data set with the ASR of two or more attacks, or SSL methods."""
    found: dict[Group, list[Leaderboard]] = {}
    for table in tables:
        if table.group is not None and table.poisoned and not table.several and _undefended(table):
            found.setdefault(table.group.setting._replace(ssl=""), []).append(table)
    return [_board(group, part) for group, part in found.items() if len(part) > 1]


def _undefended(table: Leaderboard) -> list[BoardLine]:
    every = table.undefended or [line for line in table.lines if line.defense == NONE]
    return [line for line in every if line.cell(_TRIGGERED) != UNDEFINED]


def _board(group: Group, part: Sequence[Leaderboard]) -> AttackBoard:
    first = part[0]
    methods = {table.group.ssl for table in part if table.group}
    about = [each for each in first.about.split("; ") if len(methods) == 1 or not each.startswith("SSL method")]
    return AttackBoard(
        title=f"{first.title.partition('; ')[0]}; the attacks, without a defense",
        about="; ".join(about),
        note=" ".join(filter(None, [first.small, f"{took(line for table in part for line in table.lines)}."])),
        group=group._replace(attack=ATTACKS),
        k=first.k,
        lines=tuple(_line(table, line, len(methods) > 1) for table in part for line in _undefended(table)),
    )


def _line(table: Leaderboard, undefended: BoardLine, with_method: bool) -> BoardLine:
    """The attack of a table, and what the controls of the same status say of it."""
    taken = {ACC: (NONE, "ACC"), ASR: (NONE, _TRIGGERED), NATURAL: (CLEAN_SET, _TRIGGERED), AFTER: (ORACLE, _TRIGGERED)}
    by_seed: dict[int, dict[str, float]] = {}
    for name, (defense, number) in taken.items():
        for line in (*table.undefended, *table.lines):
            if (line.defense, line.status, line.settings) == (defense, undefended.status, undefended.settings):
                for seed, values in line.by_seed.items():
                    by_seed.setdefault(seed, {})[name] = values.get(number, math.nan)
    mean, half = over_seeds(by_seed)
    return replace(
        undefended,
        defense=table.short,
        settings="; ".join(filter(None, [table.group.ssl if with_method and table.group else "", undefended.settings])),
        kind=DEFENSE,
        results=tuple(SeedResult(seed, "") for seed in by_seed),
        mean=mean | {SHARE: table.share},
        half=half,
        by_seed=by_seed,
        stages={},
        credits={table.short: table.attack} if table.attack else {},
    )
