"""The picture of a run: the images suspected most, where each defense looks, what it found, where the trigger is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Defense
from bench.errors import BenchError
from bench.isolation.process import IsolatedDefense
from bench.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOUND, TRUE = "white", "gold"


@dataclass(frozen=True, eq=False)
class Look:
    """Where one defense looks on n images: its name, maps (n, S, S), windows (n, 4)."""

    name: str
    maps: NDArray[np.float32]
    boxes: NDArray[np.int64]


def most_suspicious(pipeline: Pipeline, count: int) -> NDArray[np.int64]:
    """Indices of the `count` images with the highest trigger score, or score where the defense locates nothing, or
    (no scores at all) the first poisoned ones. Raises BenchError for a run that judges no training images."""
    if pipeline.config.defense.only_judges:
        raise BenchError(
            f"nothing to show: {pipeline.config.defense.name} judges no training images; `bench report` without a "
            "picture's name makes the page of its scores"
        )
    verdict = pipeline.verdict
    score = verdict.trigger_score if verdict.trigger_score is not None else verdict.score
    if score is None:
        return np.flatnonzero(pipeline.train_manifest.poisoned)[:count].astype(np.int64)
    return np.argsort(-np.nan_to_num(score, nan=-np.inf), kind="stable")[:count].astype(np.int64)


def look(pipeline: Pipeline, defense: Defense, indices: NDArray[np.int64]) -> Look | None:
    """`defense` on the images at `indices`, by the threat model; None where it locates nothing."""
    with isolated_for(pipeline, defense) as isolated:
        return look_through(isolated, defense, indices)


def look_through(isolated: IsolatedDefense, defense: Defense, indices: NDArray[np.int64]) -> Look | None:
    """`look` by a defense that has its images already."""
    found = isolated.attention(indices) if len(indices) else None
    return None if found is None else Look(defense.name, *found)


@contextmanager
def isolated_for(pipeline: Pipeline, defense: Defense) -> Iterator[IsolatedDefense]:
    """`defense` on a run's images, with saved steps that are thrown away in the end."""
    with tempfile.TemporaryDirectory() as folder:
        yield pipeline.judged_by(defense).isolated(Path(folder), pipeline.store.root)


def gallery(pipeline: Pipeline, defenses: Sequence[Defense], count: int = 10) -> Figure:
    """One column per image; the image, then one row per locating defense: its map, its window, the true trigger."""
    indices = most_suspicious(pipeline, count)
    if not len(indices):
        raise BenchError("nothing to show: the run's defense scores no image, and none is poisoned")
    found = [look(pipeline, defense, indices) for defense in defenses]
    looks = [each for each in found if each is not None]
    if not looks:
        names = ", ".join(defense.name for defense in defenses)
        raise BenchError(f"nothing to show: {names} locates no trigger. Name one that does, as in --maps poisoncam.")
    images = pipeline.poisoned_train.batch(indices).permute(0, 2, 3, 1).numpy()
    truth = pipeline.train_manifest
    boxes = [truth.boxes[i] if truth.poisoned[i] and (truth.boxes[i] >= 0).all() else None for i in indices]
    return _sheet(images, looks, boxes)


def _sheet(images: NDArray[np.uint8], looks: Sequence[Look], truth: Sequence[Any]) -> Figure:
    from matplotlib.figure import Figure

    rows, columns = 1 + len(looks), len(images)
    figure = Figure(figsize=(1.1 * columns + 1.2, 1.1 * rows + 0.45), dpi=150, layout="constrained")
    axes: Any = figure.subplots(rows, columns, squeeze=False)
    for column, pixels in enumerate(images):
        _bare(axes[0, column]).imshow(pixels, interpolation="nearest")
        for row, each in enumerate(looks, 1):
            place = _bare(axes[row, column])
            place.imshow(pixels.mean(-1), cmap="gray", interpolation="nearest", vmin=0, vmax=255)
            place.imshow(each.maps[column], cmap="inferno", alpha=0.75, interpolation="bilinear")
            _frame(place, truth[column], TRUE, "--")
            _frame(place, each.boxes[column], FOUND, "-")
    for row, title in enumerate(["image", *(each.name for each in looks)]):
        axes[row, 0].set_ylabel(title, fontsize=8)
    figure.supxlabel("most suspicious first; white: window found, dashed yellow: the true trigger", fontsize=8)
    return figure


def _bare(axes: Axes) -> Axes:
    axes.set_xticks([])
    axes.set_yticks([])
    return axes


def _frame(axes: Axes, box: Any, colour: str, style: str) -> None:
    """The outline of (top, left, height, width) in pixels; nothing for None."""
    from matplotlib.patches import Rectangle

    if box is not None:
        top, left, height, width = (float(value) for value in box)
        corner = (left - 0.5, top - 0.5)
        axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colour, linestyle=style, linewidth=1.4))
