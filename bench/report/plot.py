"""The frame of a chart as numbers that templates/plot.html draws as SVG: axes, and where a value is drawn.

Drawn by a template, not by matplotlib: the page's own style colours it, a point can be a link that the page's filter
hides, and no style attribute is needed, which the policy of a site's pages forbids.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

LEFT, RIGHT, TOP, BOTTOM = 46, 14, 14, 44
_PAD = 0.04  # of an axis, so that no marker is cut off at its ends


@dataclass(frozen=True, kw_only=True)
class Axis:
    """From low to high, with ticks at round numbers."""

    title: str
    low: float
    high: float

    @property
    def step(self) -> float:
        """The distance of two ticks: 1, 2 or 5 times a power of ten, so that there are at most nine."""
        least = (self.high - self.low) / 8
        power = 10.0 ** math.floor(math.log10(least))
        return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))

    @property
    def ticks(self) -> list[float]:
        first, last = math.ceil(self.low / self.step - 1e-9), math.floor(self.high / self.step + 1e-9)
        return [round(number * self.step, 12) for number in range(first, last + 1)]

    def share(self, value: float) -> float:
        """Where on the axis, 0 to 1; beyond its ends is at them."""
        place = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return _PAD + (1 - 2 * _PAD) * place


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Two axes. `x` and `y` give where a value is drawn, in the SVG's units."""

    across: Axis
    along: Axis
    width: int = 480
    height: int = 340
    left: int = LEFT

    @cached_property
    def right(self) -> int:
        return self.width - RIGHT

    @property
    def top(self) -> int:
        return TOP

    @cached_property
    def bottom(self) -> int:
        return self.height - BOTTOM

    def x(self, value: float) -> float:
        return round(self.left + (self.right - self.left) * self.across.share(value), 1)

    def y(self, value: float) -> float:
        return round(self.bottom - (self.bottom - TOP) * self.along.share(value), 1)
