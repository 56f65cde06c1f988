"""A study's figure: SVG and PNG, the same bytes for the same values. Its look is in figure.mplstyle."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .study import Panel, Study
from .table import caveat, curves, not_run, panels, seeds_of, setting_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HATCHES = ("", "///", "...", "xxx")
WIDTH, HEIGHT = 3.6, 2.7  # inches of a panel: two side by side fill a page
STYLE = Path(__file__).with_name("figure.mplstyle")


def draw(study: Study, table: pd.DataFrame) -> dict[str, bytes]:
    """{"svg": ..., "png": ...} of the figure."""
    from matplotlib import style

    with style.context(["default", STYLE]):  # "default": what a user's matplotlibrc says must not show
        figure = _figure(study, table)
        return {"svg": _save(figure, "svg"), "png": _save(figure, "png")}


def _save(figure: Figure, kind: str) -> bytes:
    out = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    figure.savefig(out, format=kind, metadata=metadata)
    return out.getvalue()


def _figure(study: Study, table: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    bars, drawn = study.across == "lines", panels(study, table)
    shape = _shape(len(drawn), bars)
    figure = Figure(figsize=(WIDTH * shape[1], HEIGHT * shape[0] + 0.9), layout="constrained")
    axes = list(figure.subplots(*shape, squeeze=False, sharey=bars).flat)
    handles: dict[str, Any] = {}
    ran = set(table.loc[table["status"] == "", "line"])
    for panel, ax in zip(drawn, axes, strict=False):
        found = curves(study, panel, table)
        handles |= _bars(study, panel, found, ran, ax) if bars else _lines(study, panel, found, ax)
    for ax in axes[len(drawn) :]:
        ax.remove()
    _heading(study, handles, figure)
    figure.supxlabel(_foot(table, shape[1]), fontsize=7)
    return figure


def _shape(panels: int, bars: bool) -> tuple[int, int]:
    """Rows and columns."""
    columns = panels if bars or panels < 4 else 2 if panels == 4 else 3
    return -(-panels // columns), columns


def _heading(study: Study, handles: dict[str, Any], figure: Figure) -> None:
    """The title; with a legend it is the legend's, since the two would lie on each other."""
    title = f"{study.title} (after the PoisonCAM paper's {study.figure})" if study.figure else study.title
    if not any(handles) or (len(handles) < 2 and study.across == "steps"):  # nothing to tell apart by name
        figure.suptitle(title, fontsize=10)
        return
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside upper center",
        ncols=max(1, len(handles)) if len(handles) < 4 else 2,
        title=title,
        title_fontsize=10,
        frameon=False,
        handlelength=3.2,  # long enough to see the dashes
    )


def _foot(table: pd.DataFrame, columns: int) -> str:
    """What was run, what was not, what the bars mean."""
    seeds = seeds_of(table)
    spread = f"error bars: standard deviation over {len(seeds)} seeds" if len(seeds) > 1 else "one seed"
    texts = [f"{setting_words(table)}; {spread}", caveat(table), *not_run(table)]
    return "\n".join(line for text in texts for line in textwrap.wrap(text, 66 * columns))


def _lines(study: Study, panel: Panel, found: Mapping[str, pd.DataFrame], ax: Axes) -> dict[str, Any]:
    handles = {
        name: ax.errorbar(points.index, points["mean"], _error(points), markersize=4.5, linewidth=1.4)
        for name, points in found.items()
    }
    _x_axis(study, panel, found, ax)
    _y_axis(panel, found, ax)
    return handles


def _ends(points: pd.DataFrame) -> Any:
    """Where the error bars end."""
    return points["mean"] + points["spread"].fillna(0)


def _error(points: pd.DataFrame) -> Any:
    """The length of the error bars; None where there is no spread at all."""
    spread = points["spread"].fillna(0)
    return spread if spread.any() else None


def _x_axis(study: Study, panel: Panel, found: Mapping[str, pd.DataFrame], ax: Axes) -> None:
    from matplotlib.ticker import NullLocator

    ticks = sorted({float(x) for points in found.values() for x in points.index})
    if study.log and ticks:
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xlabel("search number (top k)" if panel.over_k else study.x)


def _y_axis(panel: Panel, found: Mapping[str, pd.DataFrame], ax: Axes) -> None:
    ax.set_ylabel(panel.axis)
    if panel.unit == "%":
        ax.set_ylim(-4, 104)
    elif found:
        most = max(_ends(points).max() for points in found.values())
        ax.set_ylim(0, 1.08 * most or 1)
    if not found:
        ax.text(0.5, 0.5, "no values", transform=ax.transAxes, ha="center", color="#555555")


def _bars(
    study: Study, panel: Panel, found: Mapping[str, pd.DataFrame], ran: Container[str], ax: Axes
) -> dict[str, Any]:
    """A group of bars for each line of the study, from the top; where one has no values, whether it `ran`."""
    labels = [line.label for line in study.lines]
    height = 0.8 / max(1, len(found))
    handles = {}
    for number, (name, points) in enumerate(found.items()):
        at = [labels.index(str(x)) - 0.4 + height * (number + 0.5) for x in points.index]
        handles[name] = ax.barh(
            at,
            points["mean"],
            height=height * 0.9,
            xerr=_error(points),
            hatch=HATCHES[number % len(HATCHES)],
            edgecolor="white",
        )
        for place, end, mean in zip(at, _ends(points), points["mean"], strict=True):
            ax.annotate(f"{mean:.1f}", (end, place), (3, 0), textcoords="offset points", va="center", fontsize=7)
    for place, label in enumerate(labels):
        if not any(label in points.index for points in found.values()):
            ax.text(
                2,
                place,
                "undefined" if label in ran else "not run",
                va="center",
                fontsize=7,
                style="italic",
                color="#555555",
            )
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    if panel.unit == "%":
        ax.set_xlim(0, 115)
        ax.set_xticks(range(0, 101, 20))
    elif found:
        ax.set_xlim(0, 1.3 * max(_ends(points).max() for points in found.values()) or 1)
    ax.set_xlabel(panel.axis)
    ax.grid(visible=False, axis="y")
    return handles
