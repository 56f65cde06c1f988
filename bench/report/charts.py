"""The page's charts: SVG made by matplotlib, the same bytes for the same values, in the colours of the page.

No text from data is drawn: it could be taken for mathematics, or lack a glyph.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.ssl.schedule import Schedule

COLOURS = {"#010203": "--ink", "#010204": "--line", "#010205": "--first", "#010206": "--second", "#010207": "--soft"}
"""What is drawn -> the variable of the page's style that it becomes: a chart follows a dark page."""
INK, LINE, FIRST, SECOND, SOFT = COLOURS
_STYLE: Any = {
    "svg.hashsalt": "ssl-backdoor-bench",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",  # comes with matplotlib; the page replaces it
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
}
MOST_POINTS = 500
BINS = 30


@dataclass(frozen=True)
class Curve:
    """One training: its name, mean loss of each epoch, and its schedule."""

    name: str
    losses: list[float]
    schedule: Schedule


def read_losses(folder: Path) -> list[float]:
    """The mean loss of each epoch that a training left in `folder`; empty where it left none."""
    from bench.ssl.train import CURVE_FILE

    try:
        found = json.loads((folder / CURVE_FILE).read_text(encoding="utf-8"))["loss_per_epoch"]
        return [float(value) for value in found]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def loss_chart(curves: list[Curve]) -> str:
    """Loss over steps, one line a training; a point is the mean of an epoch."""

    def draw(ax: Axes) -> None:
        for curve, (colour, dash, marker) in zip(curves, _looks(), strict=False):
            epoch, most = curve.schedule.steps_per_epoch, curve.schedule.steps
            ends = [min((number + 1) * epoch, most) for number in range(len(curve.losses))]
            ax.plot(ends, curve.losses, dash, marker=marker, markersize=3, color=colour, label=curve.name)
        ax.set_ylabel("loss (mean of each epoch)")
        _steps(ax)

    return _svg(draw, "loss")


def rate_chart(curves: list[Curve]) -> str:
    """Learning rate over steps."""

    def draw(ax: Axes) -> None:
        for curve, (colour, dash, _) in zip(curves, _looks(), strict=False):
            last = curve.schedule.steps - 1
            steps = np.unique(np.linspace(0, last, min(MOST_POINTS, last + 1)).astype(int))
            ax.plot(steps + 1, [curve.schedule.lr(int(step)) for step in steps], dash, color=colour, label=curve.name)
        ax.set_ylabel("learning rate")
        ax.set_ylim(bottom=0)
        _steps(ax)

    return _svg(draw, "rate")


def score_chart(score: NDArray[np.float64], poisoned: NDArray[np.bool_], keep: NDArray[np.bool_]) -> str:
    """Histogram of the scores (N,): share of the clean and of the poisoned images in each of BINS bins."""
    edges = np.linspace(*_span(score), BINS + 1)

    def draw(ax: Axes) -> None:
        groups = [("clean", ~poisoned, FIRST, "-"), ("poisoned", poisoned, SECOND, "--")]
        for name, group, colour, dash in groups:
            if not group.any():
                continue
            shares = 100 * np.histogram(score[group], edges)[0] / group.sum()
            shares[shares == 0] = np.nan  # no line along the axis
            ax.stairs(shares, edges, fill=True, color=colour, alpha=0.35)
            ax.stairs(shares, edges, color=colour, linestyle=dash, linewidth=1.4, label=name)
        limit = threshold(score, keep)
        if limit is not None:
            ax.axvline(limit, color=INK, linestyle=":", linewidth=1.2, label="removed from here")
        ax.set_xlabel("poison score (higher: more suspicious)")
        ax.set_ylabel("share of its group, %")
        ax.set_ylim(0, 104)

    return _svg(draw, "score")


def threshold(score: NDArray[np.float64], keep: NDArray[np.bool_]) -> float | None:
    """A score that parts what was removed from what was kept; None where none does."""
    if keep.all() or not keep.any() or score[keep].max() >= score[~keep].min():
        return None
    return float((score[keep].max() + score[~keep].min()) / 2)


def _span(score: NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(score.min()), float(score.max())
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _looks() -> list[tuple[str, str, str]]:
    return [(FIRST, "-", "o"), (SECOND, "--", "s")]


def _steps(ax: Axes) -> None:
    ax.set_xlabel("step")
    ax.set_xlim(left=0)


def _svg(draw: Callable[[Axes], None], name: str) -> str:
    """One axes as an <svg> element whose ids begin with `name`."""
    from matplotlib import rc_context, style
    from matplotlib.figure import Figure

    # "default" first: what a user's matplotlibrc says must not show.
    with style.context("default"), rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 2.7), layout="constrained")
        draw(figure.subplots())
        figure.legend(loc="outside upper center", ncols=3)
        return _element(figure, name)


def _element(figure: Figure, name: str) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'((?:id|xlink:href)="#?|url\(#)', rf"\g<1>{name}-", text)
    for colour, variable in COLOURS.items():
        text = text.replace(colour, f"var({variable})")
    return re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', text, count=1)
