"""The page's images: suspects with where the defense looks, what it got wrong, and a sheet of its clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.api import Box, Defense, Grouping
from bench.pipeline.pipeline import Pipeline
from bench.report.attention import Look, isolated_for, look_through, most_suspicious
from bench.report.html import data_uri, heated

THUMB = 96
"""px: the width from which the images of a sheet are made smaller."""
CLUSTERS, MEMBERS, WRONG = 12, 6, 12


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One training image: its number, class name, PNG as a data URI, truth, verdict, scores, boxes in its pixels.

    heats: (defense, data URI) of the maps laid over it.
    """

    index: int
    label: str
    source: str
    poisoned: bool
    kept: bool
    score: float | None
    trigger_score: float | None
    true: Box | None
    found: Box | None
    heats: Sequence[tuple[str, str]] = ()

    @property
    def alt(self) -> str:
        """For who cannot see it."""
        truth, verdict = "poisoned" if self.poisoned else "clean", "kept" if self.kept else "removed"
        return f"training image {self.index}, {truth}, {verdict}"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One group of a defense: number, score (None where none of its images was scored), and some of its images."""

    number: int
    score: float | None
    size: int
    poisoned: int
    removed: int
    pictures: Sequence[Picture]


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """The highest-scored groups, how many there are, and what their score is."""

    shown: Sequence[Cluster]
    count: int
    rule: str


class Album:
    """The training images of a run as the page shows them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline, self.size = pipeline, pipeline.dataset.size
        self._truth, self._verdict = pipeline.train_manifest, pipeline.verdict

    def pictures(self, indices: NDArray[np.int64], looks: Sequence[Look] = (), small: bool = False) -> list[Picture]:
        """The images at `indices`, with the maps of `looks`; `small`: no wider than THUMB."""
        if not len(indices):
            return []
        pixels = self._pipeline.poisoned_train.batch(indices).permute(0, 2, 3, 1).numpy()
        return [self._picture(int(index), pixels[row], row, looks, small) for row, index in enumerate(indices)]

    def _picture(self, index: int, pixels: NDArray[np.uint8], row: int, looks: Sequence[Look], small: bool) -> Picture:
        truth, verdict, data = self._truth, self._verdict, self._pipeline.dataset
        return Picture(
            index=index,
            label=data.classes[data.train.labels[index]],
            source=data_uri(_smaller(pixels) if small else pixels),
            poisoned=bool(truth.poisoned[index]),
            kept=bool(verdict.keep[index]),
            score=_value(verdict.score, index),
            trigger_score=_value(verdict.trigger_score, index),
            true=_box(truth.boxes, index) if truth.poisoned[index] else None,
            found=_box(verdict.boxes, index),
            heats=[(look.name, data_uri(heated(pixels, look.maps[row]))) for look in looks],
        )

    def clusters(self, grouping: Grouping) -> Clusters:
        """The groups with the highest scores, of equals the larger; of each the most suspicious images."""
        labels, verdict = grouping.labels, self._verdict
        sizes = np.bincount(labels, minlength=len(grouping.score))
        ranks = np.lexsort((-sizes, -np.nan_to_num(grouping.score, nan=-np.inf)))
        filled = [int(number) for number in ranks if sizes[number]]
        scores = [each for each in (verdict.trigger_score, verdict.score) if each is not None]
        suspicion = np.nan_to_num(scores[0], nan=-np.inf) if scores else np.zeros(len(labels))
        shown = []
        for number in filled[:CLUSTERS]:
            members = np.flatnonzero(labels == number)
            first = members[np.argsort(-suspicion[members], kind="stable")[:MEMBERS]]
            score = float(grouping.score[number])
            shown.append(
                Cluster(
                    number=number,
                    score=None if np.isnan(score) else score,
                    size=len(members),
                    poisoned=int(self._truth.poisoned[members].sum()),
                    removed=int((~verdict.keep[members]).sum()),
                    pictures=self.pictures(first.astype(np.int64), small=True),
                )
            )
        return Clusters(shown=shown, count=len(filled), rule=grouping.rule)


@dataclass(frozen=True, eq=False)
class Seen:
    """What the defenses of a page see: suspects with their maps, and the clusters of the run's own defense."""

    suspects: Sequence[Picture]
    clusters: Clusters | None


def seen(pipeline: Pipeline, album: Album, others: Sequence[Defense], count: int) -> Seen:
    """The `count` most suspicious images with the maps of the run's defense and of `others`, and the clusters."""
    chosen, looks, clusters = most_suspicious(pipeline, count), [], None
    own = pipeline.config.defense.filter
    for defense in [*([own] if isinstance(own, Defense) else []), *others]:
        with isolated_for(pipeline, defense) as isolated:
            looks.append(look_through(isolated, defense, chosen))
            grouping = isolated.grouping(pipeline.verdict) if defense is own else None
        clusters = album.clusters(grouping) if grouping is not None else clusters
    return Seen(album.pictures(chosen, [each for each in looks if each is not None]), clusters)


def _smaller(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image

    if len(pixels) <= THUMB:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((THUMB, THUMB), Image.Resampling.LANCZOS))


def _value(values: NDArray[np.float64] | None, index: int) -> float | None:
    return None if values is None or np.isnan(values[index]) else float(values[index])


def _box(boxes: NDArray[np.int64] | None, index: int) -> Box | None:
    if boxes is None or (boxes[index] < 0).any():
        return None
    top, left, height, width = (int(value) for value in boxes[index])
    return top, left, height, width
