"""What a trigger search spends its time on, and a little of each to time (`bench plan`; docs/growth.md has the curves).

| cost              | amount                                            | grows with                     |
|-------------------|---------------------------------------------------|--------------------------------|
| features          | N and the flip set                                | images                         |
| k-means           | N x (clusters + 32)                               | images^2 while clusters = N/127|
| masking, Grad-CAM | images scored x passes of the locator             | clusters x masks               |
| flip test         | images scored x images of the flip set            | clusters x flip set            |
| poison classifier | members x batches                                 | images, within limits          |
| judging           | members x N                                       | images                         |

The 32 of k-means is what a row costs besides the clusters that it is held against, measured.
Not counted: reading and hashing the images, and what is written.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import normalize

from bench import Cost, Sample, View

from .classifier import BATCH, CHECK_EVERY, FLAT_CHECKS, TrainingData, build, judge, train
from .clusters import Clustering, Clusters, all_features, k_means
from .flip_test import FlipTest
from .quick import quickened
from .search import GROUP, TriggerSearch

if TYPE_CHECKING:
    from .defaults import Scale

EACH_ROW = 32  # k-means: clusters that a row costs as much as, besides those there are
ROWS_VALUES = 2**21  # of the rows that k-means is timed on


def costs(search: TriggerSearch, count: int, size: int) -> tuple[Cost, ...]:
    """The table above for `count` images of `size` px."""
    settings, scored = search.settings(size, count), search.scored(size, count)
    how = "" if search.search == "exact" else f" ({search.search})"
    return (
        Cost("features", count + settings.flip_set, partial(_features, settings)),
        Cost("k-means", count * (settings.clusters + EACH_ROW), partial(_k_means, settings, count)),
        Cost(f"{search.locates}{how}", scored * search.encoded(size), partial(_locating, search, settings)),
        Cost(f"flip test{how}", scored * search.flips(settings), partial(_flip_test, search, settings)),
        Cost("poison classifier", search.members * _batches(settings.iterations), partial(classifier_sample, settings)),
        Cost("judging", search.members * count, partial(_judging, settings)),
    )


def _batches(most: int) -> float:
    """How many batches a member learns from. It stops somewhere between the first chance to and the last batch: their
    geometric mean. Measured (records of the laptop preset): 200 to 300 of 300, 256 on average."""
    return sqrt(min(most, CHECK_EVERY * FLAT_CHECKS) * most)


def _features(settings: Scale, view: View) -> Sample:
    return len(view), lambda: all_features(view, settings.batch)


def _k_means(settings: Scale, count: int, view: View) -> Sample:
    """On as many rows as there will be, as far as that takes no time: more than fit the cache cost more each."""
    clusters, rows = min(settings.clusters, 64), min(count, ROWS_VALUES // view.encoder.dim)
    features = _unit(max(rows, clusters), view.encoder.dim)
    run = partial(k_means, features.numpy(), clusters, 0, gpu=view.device.type == "cuda")
    return len(features) * (clusters + EACH_ROW), run


def _locating(search: TriggerSearch, settings: Scale, view: View) -> Sample:
    lighter = search.lighter(len(view))
    count = min(len(view), GROUP, max(1, len(view) // lighter.passes))
    locate, own = lighter.locator(_clustering(search, settings, view), settings), _nowhere(count, view)
    images = view.batch(np.arange(count)).to(view.device)
    return count * lighter.encoded(view.size), lambda: locate(images, own, view.seeds("sample"))


def _flip_test(search: TriggerSearch, settings: Scale, view: View) -> Sample:
    shown = min(settings.flip_set, len(view))
    count = min(GROUP, max(1, len(view) // shown))
    images = view.batch(np.arange(shown)).to(view.device)
    clusters = _clustering(search, settings, view).clusters
    flip, own = FlipTest(clusters, images, search.flip_kind, halving=search.search == "coarse"), _nowhere(count, view)
    patches = images[:1, :, : settings.window, : settings.window].repeat(count, 1, 1, 1)
    share = search.flips(settings) / settings.flip_set
    return count * shown * share, lambda: flip(patches, own, view.seeds("sample"))


def classifier_sample(settings: Scale, view: View) -> Sample:
    batches = max(2, min(CHECK_EVERY, len(view) // (BATCH // 2)))
    images = view.batch(np.arange(min(len(view), 2 * settings.top_k)))
    lesson = TrainingData(
        patches=images[:, :, : settings.window, : settings.window],
        pool=np.arange(len(view)),
        held_out=images,
        truth=np.arange(len(images)) < len(images) // 2,
    )
    return batches, lambda: train(view, lesson, replace(settings, iterations=batches), view.seeds("sample"), "sample")


def _judging(settings: Scale, view: View) -> Sample:
    network = build(view.size, 0).to(view.device)
    return len(view), lambda: judge(view, [network], settings.batch)


def _clustering(search: TriggerSearch, settings: Scale, view: View) -> Clustering:
    """Random centres: what passes cost does not hang on where they lie."""
    clusters = Clusters(view.encoder, _unit(settings.clusters, view.encoder.dim).to(view.device), settings.batch)
    nobody = np.zeros(0, dtype=np.int64)
    return Clustering(quickened(clusters, search.search), nobody, nobody.astype(np.float32))


def _unit(rows: int, dim: int) -> torch.Tensor:
    return normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(0)))


def _nowhere(count: int, view: View) -> torch.Tensor:
    return torch.zeros(count, dtype=torch.long, device=view.device)
