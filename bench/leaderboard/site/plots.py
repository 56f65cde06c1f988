"""Scatter plots as numbers that a template draws as SVG.

Drawn by a template, not by matplotlib: its SVG differs between versions (then `--check` would), and carries style
attributes that a strict policy forbids. The page's own style colours these.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.leaderboard import NONE, BoardLine
from bench.leaderboard.rows import FOUND, RATES
from bench.records.record import Record

if TYPE_CHECKING:
    from .tables import Row

WIDTH, HEIGHT = 480, 340
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 14, 44
_MARK = 7.0  # half a marker's width, with some air
_LABEL = (8.0, 12.0)  # width of a digit, height of a label
_LEAST_SPAN = 20.0  # percent that an axis shows at least
_PAD = 0.04  # of an axis, so that no marker is cut off at its ends


@dataclass(frozen=True, kw_only=True)
class Axis:
    """From low to high, percent, with ticks."""

    title: str
    low: float
    high: float

    @property
    def ticks(self) -> list[int]:
        step = next((step for step in (5, 10) if self.high - self.low <= 8 * step), 20)
        return list(range(math.ceil(self.low / step) * step, math.floor(self.high) + 1, step))

    def share(self, value: float) -> float:
        """Where on the axis, 0 to 1; beyond its ends is at them."""
        place = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return _PAD + (1 - 2 * _PAD) * place


@dataclass(frozen=True, kw_only=True)
class Dot:
    """The result of one seed: where, and the address and words of its run."""

    x: float
    y: float
    href: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Point:
    """A line's mean (x, y), the ends of its spread, its seeds, and where its number stands; all in the SVG's units."""

    row: Row
    x: float
    y: float
    across: tuple[float, float] | None
    along: tuple[float, float] | None
    dots: tuple[Dot, ...]
    words: str
    label: tuple[float, float] = (0.0, 0.0)
    leader: bool = False


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One scatter plot. `x` and `y` give where a value of an axis is drawn."""

    name: str
    across: Axis
    along: Axis
    points: tuple[Point, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM

    def x(self, value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * self.across.share(value), 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * self.along.share(value), 1)


def scatter(name: str, lines: Sequence[tuple[Row, BoardLine]], runs: Mapping[str, Record], *, x: str, y: str) -> Plot:
    """`y` over `x` of the lines that have both, by their names in `BoardLine.mean`. runs: records by their address."""
    shown = [(row, line) for row, line in lines if not math.isnan(_mean(line, x)) and not math.isnan(_mean(line, y))]
    along = Axis(title=f"{y}, percent", low=0, high=100) if y in FOUND else _fitted(y, [line for _, line in shown])
    plot = Plot(name=name, across=Axis(title=f"{x}, percent", low=0, high=100), along=along, points=())
    points = [_point(plot, row, line, runs, x, y) for row, line in shown]
    return Plot(name=name, across=plot.across, along=plot.along, points=tuple(_labelled(points)))


def _mean(line: BoardLine, name: str) -> float:
    return line.mean.get(name, math.nan)


def _spread(line: BoardLine, name: str) -> float:
    spread = line.spread.get(name, math.nan)
    return 0.0 if math.isnan(spread) else spread


def _fitted(name: str, lines: Iterable[BoardLine]) -> Axis:
    """An axis around all means and spreads, its ends at multiples of 5."""
    ends = [_mean(line, name) + sign * _spread(line, name) for line in lines for sign in (-1, 1)] or [0.0, 100.0]
    low, high = 5 * math.floor(min(ends) / 5), 5 * math.ceil(max(ends) / 5)
    while high - low < _LEAST_SPAN:
        low, high = low - 5, high + 5
    return Axis(title=f"{name}, percent", low=max(0, low), high=min(100, high))


def _point(plot: Plot, row: Row, line: BoardLine, runs: Mapping[str, Record], x: str, y: str) -> Point:
    across, along = _mean(line, x), _mean(line, y)
    aside, up = _spread(line, x), _spread(line, y)
    return Point(
        row=row,
        x=plot.x(across),
        y=plot.y(along),
        across=(plot.x(across - aside), plot.x(across + aside)) if aside else None,
        along=(plot.y(along - up), plot.y(along + up)) if up else None,
        dots=tuple(_dots(plot, row, line, runs, x, y)),
        words=f"{row.number}: {row.name}, {x} {line.cell(x)}, {y} {line.cell(y)}",
    )


def _dots(plot: Plot, row: Row, line: BoardLine, runs: Mapping[str, Record], x: str, y: str) -> Iterable[Dot]:
    for result in line.results:
        run = runs.get(result.source)
        if run is not None and len(line.results) > 1:
            across, along = _value(run, line, x), _value(run, line, y)
            if across is not None and along is not None:
                words = f"{row.name}, seed {result.seed}: {x} {across:.1f}, {y} {along:.1f}"
                yield Dot(x=plot.x(across), y=plot.y(along), href=result.source, words=words)


def _value(run: Mapping[str, Any], line: BoardLine, name: str) -> float | None:
    metrics = run["metrics"]
    if name in FOUND:
        return None if line.defense == NONE else metrics["detection"][FOUND[name]]
    which, rate = RATES[name]
    value: float | None = metrics["none" if line.defense == NONE else "defended"][which][rate]
    return value


# --- labels ---------------------------------------------------------------------------------------


def _labelled(points: Sequence[Point]) -> Iterable[Point]:
    """The points with a place for each one's number: the nearest that covers no marker and no number."""
    from dataclasses import replace

    taken = [(point.x - _MARK, point.y - _MARK, point.x + _MARK, point.y + _MARK) for point in points]
    for point in points:
        x, y, far = _free(point, taken)
        taken.append(_box(x, y, point.row.number))
        yield replace(point, label=(x, y), leader=far)


def _free(point: Point, taken: Sequence[tuple[float, ...]]) -> tuple[float, float, bool]:
    """Middle of the label, and whether it is so far off that a line must lead to it."""
    turns = [math.radians(degrees) for degrees in (-45, 45, -135, 135, 0, 180, -90, 90)]
    for radius in (14, 22, 32, 44, 58, 74):
        for turn in turns:
            x, y = round(point.x + radius * math.cos(turn), 1), round(point.y + radius * math.sin(turn), 1)
            box = _box(x, y, point.row.number)
            inside = box[0] > LEFT and box[2] < WIDTH - RIGHT and box[1] > TOP and box[3] < HEIGHT - BOTTOM
            if inside and not any(_meet(box, other) for other in taken):
                return x, y, radius > 14
    return point.x, point.y - 14, False


def _box(x: float, y: float, number: int) -> tuple[float, float, float, float]:
    half, up = _LABEL[0] * len(str(number)) / 2 + 1, _LABEL[1] / 2
    return x - half, y - up, x + half, y + up


def _meet(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
