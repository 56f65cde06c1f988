"""Scatter plots of a leaderboard as numbers that templates/plot.html draws."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.boards import BoardLine
from bench.boards.escaping import url
from bench.report.plot import Axis, Frame

if TYPE_CHECKING:
    from .row import SiteRow

_MARK = 7.0  # half a marker's width, with some air
_LABEL = (8.0, 12.0)  # width of a digit, height of a label
_LEAST_SPAN = 20.0  # percent that an axis shows at least


@dataclass(frozen=True, kw_only=True)
class Dot:
    """The result of one seed: where, and the address and words of its run."""

    x: float
    y: float
    href: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Point:
    """A line's mean (x, y), the ends of its intervals, its seeds, and where its number stands, in the SVG's units."""

    row: SiteRow
    x: float
    y: float
    across: tuple[float, float] | None
    along: tuple[float, float] | None
    dots: tuple[Dot, ...]
    words: str
    label: tuple[float, float] = (0.0, 0.0)
    leader: bool = False


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """One scatter plot."""

    name: str
    frame: Frame
    points: tuple[Point, ...]


def scatter(name: str, rows: Sequence[SiteRow], *, x: str, y: str) -> Scatter:
    """`y` over `x` of the rows that have both, by their names in `BoardLine.mean`."""
    shown = [row for row in rows if not any(math.isnan(row.line.number(name)[0]) for name in (x, y))]
    lines = [row.line for row in shown]
    frame = Frame(across=_fitted(x, lines), along=_fitted(y, lines))
    points = [_point(frame, row, x, y) for row in shown]
    return Scatter(name=name, frame=frame, points=tuple(_labelled(frame, points)))


def _drawn(line: BoardLine, name: str) -> tuple[float, float]:
    """Mean and half its interval, 0 where there is none."""
    mean, half = line.number(name)
    return mean, 0.0 if math.isnan(half) else half


def _fitted(name: str, lines: Iterable[BoardLine]) -> Axis:
    """An axis around all means, intervals and seeds, its ends at multiples of 5, within 0 and 100."""
    ends: list[float] = []
    for line in lines:
        mean, half = _drawn(line, name)
        ends += [mean - half, mean + half, *(values[name] for values in line.by_seed.values() if name in values)]
    ends = [min(max(end, 0.0), 100.0) for end in ends if not math.isnan(end)] or [0.0, 100.0]
    low, high = 5 * math.floor(min(ends) / 5), 5 * math.ceil(max(ends) / 5)
    while high - low < _LEAST_SPAN:
        low, high = low - 5, high + 5
    return Axis(title=f"{name}, percent", low=max(0, low), high=min(100, high))


def _point(frame: Frame, row: SiteRow, x: str, y: str) -> Point:
    (across, aside), (along, up) = _drawn(row.line, x), _drawn(row.line, y)
    return Point(
        row=row,
        x=frame.x(across),
        y=frame.y(along),
        across=(frame.x(across - aside), frame.x(across + aside)) if aside else None,
        along=(frame.y(along - up), frame.y(along + up)) if up else None,
        dots=tuple(_dots(frame, row, x, y)),
        words=f"{row.number}: {row.name}, {x} {row.line.cell(x)}, {y} {row.line.cell(y)}",
    )


def _dots(frame: Frame, row: SiteRow, x: str, y: str) -> Iterator[Dot]:
    results = [result for result in row.line.results if result.seed is not None and result.source]
    for result in results if len(results) > 1 else ():
        values = row.line.by_seed[result.seed or 0]
        if not math.isnan(values[x]) and not math.isnan(values[y]):
            words = f"{row.name}, seed {result.seed}: {x} {values[x]:.1f}, {y} {values[y]:.1f}"
            yield Dot(x=frame.x(values[x]), y=frame.y(values[y]), href=url(result.source), words=words)


# --- labels ---------------------------------------------------------------------------------------


def _labelled(frame: Frame, points: Sequence[Point]) -> Iterable[Point]:
    """The points with a place for each one's number: the nearest that covers no marker and no number."""
    taken = [(point.x - _MARK, point.y - _MARK, point.x + _MARK, point.y + _MARK) for point in points]
    for point in points:
        x, y, far = _free(frame, point, taken)
        taken.append(_box(x, y, point.row.number))
        yield replace(point, label=(x, y), leader=far)


def _free(frame: Frame, point: Point, taken: Sequence[tuple[float, ...]]) -> tuple[float, float, bool]:
    """Middle of the label, and whether it is so far off that a line must lead to it."""
    turns = [math.radians(degrees) for degrees in (-45, 45, -135, 135, 0, 180, -90, 90)]
    for radius in (14, 22, 32, 44, 58, 74):
        for turn in turns:
            x, y = round(point.x + radius * math.cos(turn), 1), round(point.y + radius * math.sin(turn), 1)
            box = _box(x, y, point.row.number)
            inside = box[0] > frame.left and box[2] < frame.right and box[1] > frame.top and box[3] < frame.bottom
            if inside and not any(_meet(box, other) for other in taken):
                return x, y, radius > 14
    return point.x, point.y - 14, False


def _box(x: float, y: float, number: int) -> tuple[float, float, float, float]:
    half, up = _LABEL[0] * len(str(number)) / 2 + 1, _LABEL[1] / 2
    return x - half, y - up, x + half, y + up


def _meet(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
