"""Which numbers of a column are its best, and which cannot be told apart from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from .ranks import Comparisons
from .rows import CONTROL, FOUND, LOST, OVER, RATES, TESTED, TIMES, higher_is_better

if TYPE_CHECKING:
    from .lines import BoardLine

BEST, ALIKE = "best", "alike"
Marks = Mapping[tuple["BoardLine", str], str]


def marks(every: Sequence[BoardLine], shown: Sequence[BoardLine], names: Iterable[str]) -> Marks:
    """(line, number) -> BEST: no mean of its status is better, as far as the digits show; ALIKE: compared with the best
    one and not told apart from it. Without marks: controls, a number that is undefined in some of a line's seeds, and
    columns in which all are equally good, or no two lines have two seeds in common (but for a paper's numbers).

    every: the lines of the whole table, whose comparisons hold together.
    """
    found: dict[tuple[BoardLine, str], str] = {}
    for name in names:
        if name not in TIMES and higher_is_better(name) is not None:
            compared = Comparisons(every, name)
            for status in dict.fromkeys(line.status for line in shown):
                rivals = [line for line in shown if line.status == status and line.kind != CONTROL]
                found |= {(line, name): mark for line, mark in _column(compared, rivals, name).items()}
    return found


def _column(compared: Comparisons, rivals: Sequence[BoardLine], name: str) -> dict[BoardLine, str]:
    means = {line: line.number(name)[0] for line in rivals if _whole(line, name)}
    if len({f"{mean:.1f}" for mean in means.values()}) < 2:
        return {}
    top = (max if higher_is_better(name) else min)(means, key=means.__getitem__)
    if not any(not one.by_seed or compared.compared(one, other) for one, other in combinations(means, 2)):
        return {}
    best = {line for line, mean in means.items() if f"{mean:.1f}" == f"{means[top]:.1f}"}
    alike = {
        line
        for line in means
        if line not in best and compared.compared(top, line) and compared.better(top, line) is None
    }
    return dict.fromkeys(best, BEST) | dict.fromkeys(alike, ALIKE)


def _whole(line: BoardLine, name: str) -> bool:
    """Whether there is a number for every seed that was run that far."""
    defined = sum(not math.isnan(values.get(name, math.nan)) for values in line.by_seed.values())
    kin: Iterable[str] = RATES if name in RATES or name == LOST else TESTED if name in TESTED else FOUND
    kin = [name] if OVER in name else kin
    return not math.isnan(line.number(name)[0]) and (not line.by_seed or defined == len(line.results_for(kin)))
