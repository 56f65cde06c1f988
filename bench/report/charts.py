"""The charts of a run's page: losses and learning rates of its trainings, and how its scores are distributed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .plot import Axis, Frame

if TYPE_CHECKING:
    from bench.ssl.schedule import Schedule

MOST_POINTS = 500
BINS = 30
LOOKS = ("first", "second")


@dataclass(frozen=True)
class Curve:
    """One training: its name, mean loss of each epoch, and its schedule."""

    name: str
    losses: list[float]
    schedule: Schedule


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is drawn for one name of the legend: a path, and dots on it, in the SVG's units.

    look: its class in the page's style, one of LOOKS or "limit". filled: the path is an area."""

    name: str
    look: str
    path: str
    dots: Sequence[tuple[float, float]] = ()
    filled: bool = False


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A frame and what is drawn in it."""

    frame: Frame
    shapes: Sequence[Shape]


def read_losses(folder: Path) -> list[float]:
    """The mean loss of each epoch that a training left in `folder`; empty where it left none."""
    from bench.ssl.train import CURVE_FILE

    try:
        found = json.loads((folder / CURVE_FILE).read_text(encoding="utf-8"))["loss_per_epoch"]
        return [float(value) for value in found]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def loss_chart(curves: Sequence[Curve]) -> Chart:
    """Loss over steps, one line a training; a point is the mean of an epoch."""
    lines = []
    for curve in curves:
        epoch, most = curve.schedule.steps_per_epoch, curve.schedule.steps
        lines.append([(min((place + 1) * epoch, most), loss) for place, loss in enumerate(curve.losses)])
    values = [loss for curve in curves for loss in curve.losses]
    low, high = min(values), max(values)
    margin = (high - low) / 20 or max(abs(high), 1.0) / 20
    along = Axis(title="loss (mean of each epoch)", low=low - margin, high=high + margin)
    return _lines(curves, lines, along, dots=True)


def rate_chart(curves: Sequence[Curve]) -> Chart:
    """Learning rate over steps."""
    lines = []
    for curve in curves:
        last = curve.schedule.steps - 1
        steps = np.unique(np.linspace(0, last, min(MOST_POINTS, last + 1)).astype(int))
        lines.append([(int(step) + 1, curve.schedule.lr(int(step))) for step in steps])
    highest = max(rate for line in lines for _, rate in line)
    return _lines(curves, lines, Axis(title="learning rate", low=0, high=highest or 1.0), dots=False)


def _lines(curves: Sequence[Curve], lines: Sequence[Sequence[tuple[float, float]]], along: Axis, dots: bool) -> Chart:
    """A line a curve, of points (step, value)."""
    steps = max(curve.schedule.steps for curve in curves)
    frame = _frame(Axis(title="step", low=0, high=steps), along)
    shapes = []
    for curve, look, line in zip(curves, LOOKS, lines, strict=False):
        places = [(frame.x(step), frame.y(value)) for step, value in line]
        shapes.append(Shape(name=curve.name, look=look, path=_path(places), dots=places if dots else ()))
    return Chart(frame=frame, shapes=shapes)


def _frame(across: Axis, along: Axis) -> Frame:
    return Frame(across=across, along=along, height=280, left=66)


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in places)


def score_chart(
    score: NDArray[np.float64],
    poisoned: NDArray[np.bool_],
    keep: NDArray[np.bool_],
    names: tuple[str, str] = ("clean", "poisoned"),
) -> Chart:
    """Histogram of the scores (N,): share of the clean and of the poisoned images in each of BINS bins. names: of the
    two, for the legend."""
    low, high = float(score.min()), float(score.max())
    low, high = (low, high) if high > low else (low - 0.5, low + 0.5)
    edges = np.linspace(low, high, BINS + 1)
    across = Axis(title="poison score (higher: more suspicious)", low=low, high=high)
    frame = _frame(across, Axis(title="share of its group, %", low=0, high=100))
    shapes = []
    for name, look, group in zip(names, LOOKS, (~poisoned, poisoned), strict=True):
        if group.any():
            shares = 100 * np.histogram(score[group], edges)[0] / group.sum()
            shapes.append(Shape(name=name, look=look, path=_bars(frame, edges, shares), filled=True))
    limit = threshold(score, keep)
    if limit is not None:
        path = f"M{frame.x(limit)} {frame.top}V{frame.bottom}"
        shapes.append(Shape(name="removed from here", look="limit", path=path))
    return Chart(frame=frame, shapes=shapes)


def _bars(frame: Frame, edges: NDArray[np.float64], shares: NDArray[np.float64]) -> str:
    """A bar for each bin that holds an image; nothing is drawn for the others."""
    floor = frame.y(0)
    return "".join(
        f"M{frame.x(left)} {floor}V{frame.y(share)}H{frame.x(right)}V{floor}"
        for left, right, share in zip(edges[:-1], edges[1:], shares, strict=True)
        if share > 0
    )


def threshold(score: NDArray[np.float64], keep: NDArray[np.bool_]) -> float | None:
    """A score that parts what was removed from what was kept; None where none does."""
    if keep.all() or not keep.any() or score[keep].max() >= score[~keep].min():
        return None
    return float((score[keep].max() + score[~keep].min()) / 2)
