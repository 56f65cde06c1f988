"""Two lines of one table, number by number: which is better, and whether that can be told."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.errors import BenchError, nearest

from .lines import BoardLine
from .naming import short_digests
from .overview import ALL, overviews
from .ranks import Comparisons
from .row import Group
from .rows import higher_is_better
from .statistics import Difference
from .tables import Leaderboard


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One number of two lines: their means, and the difference over the seeds that both have (None: not compared).
    higher_is_better: None where neither is."""

    metric: str
    one: BoardLine
    other: BoardLine
    means: tuple[float, float]
    difference: Difference | None
    higher_is_better: bool | None

    @property
    def verdict(self) -> str:
        """In words."""
        found = self.difference
        if found is None:
            return "not compared: fewer than two common seeds"
        if found.equal:
            return "equal in every seed"
        if not found.apart:
            return "not told apart: two seeds that agree tell nothing" if found.half == 0 else "not told apart"
        first = self.higher_is_better is not False
        leading = self.one if (found.mean > 0) is first else self.other
        if self.higher_is_better is None:
            return f"{leading.label} has more, which is neither better nor worse"
        return f"{leading.label} is better"


def comparisons(table: Leaderboard, one: BoardLine, other: BoardLine) -> list[Comparison]:
    """Every number of the table that both lines have."""
    found = []
    for title, name in table.columns.items():
        means = one.number(name)[0], other.number(name)[0]
        if not any(map(math.isnan, means)):
            made = Comparison(
                metric=title,
                one=one,
                other=other,
                means=means,
                difference=Comparisons(table.lines, name).difference(one, other),
                higher_is_better=higher_is_better(name),
            )
            found.append(made)
    return found


def chosen(
    tables: Sequence[Leaderboard],
    names: Sequence[str],
    *,
    attack: str = "",
    dataset: str = "",
    preset: str = "",
    ssl: str = "",
) -> tuple[Leaderboard, list[BoardLine]]:
    """The only table that has lines of all the names, and these lines.

    attack, dataset, preset, ssl: what the table is of, "" for any; an attack is named as in the tables of all attacks,
    or without what follows its name there; ALL is such a table, of its first part. Raises BenchError where there is no
    such table, or more than one.
    """
    if attack == ALL:
        attack, tables = "", [each.first_part() for each in overviews(tables)]
        if not tables:
            raise BenchError("--attack all: no table is of two attacks or more")
    own = [table for table in tables if table.group is not None]
    named: list[tuple[str, str, Callable[[Leaderboard], list[str]]]] = [
        ("attack", attack, lambda table: [_of(table).attack, table.short]),
        ("dataset", dataset, lambda table: [_of(table).dataset]),
        ("preset", preset, lambda table: [_of(table).preset]),
        ("ssl", ssl, lambda table: [_of(table).ssl]),
    ]
    for option, wanted, of in named:
        known = sorted({name for table in own for name in of(table)})
        own = [table for table in own if not wanted or wanted in of(table)]
        if not own:
            raise BenchError(f"--{option} {wanted}: no table is of that {option}.{nearest(wanted, known)}")
    fitting = [table for table in own if all(_called(table, name) for name in names)]
    if not fitting:
        raise BenchError(_missing(own, names))
    if len(fitting) > 1:
        titles = "".join(f"\n  {table.title}" for table in fitting)
        both = " and ".join(names)
        raise BenchError(f"several tables have {both}; choose by --attack, --dataset, --preset or --ssl:{titles}")
    return fitting[0], [_line(fitting[0], name) for name in names]


def _of(table: Leaderboard) -> Group:
    assert table.group is not None
    return table.group


def _called(table: Leaderboard, name: str) -> list[BoardLine]:
    """The lines with that name, label, or label and status; what stands in parentheses may be cut short anywhere, and
    a hash may be written in full."""
    wanted = short_digests(name)
    exact = [line for line in table.lines if wanted in (line.label, f"{line.label}, {line.status}")]
    if not exact and "(" in wanted:
        exact = [line for line in table.lines if line.label.startswith(wanted.removesuffix(")"))]
    return exact or [line for line in table.lines if name == line.defense]


def _line(table: Leaderboard, name: str) -> BoardLine:
    found = _called(table, name)
    if len(found) > 1:
        labels = "".join(f"\n  {line.label}, {line.status}" for line in found)
        raise BenchError(f"{name} is the name of several lines of {table.title}; name one as it stands there:{labels}")
    return found[0]


def _missing(tables: Sequence[Leaderboard], names: Sequence[str]) -> str:
    known = sorted({line.defense for table in tables for line in table.lines})
    unknown = [name for name in names if not any(_called(table, name) for table in tables)]
    if unknown:
        return f"no line is called {unknown[0]!r}, and no file or folder.{nearest(unknown[0], known)}"
    return f"no table has both {' and '.join(names)}: they were run with other data, attacks or presets"
