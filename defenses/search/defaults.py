"""How the paper's parameters scale with image and dataset size: the one table, and the code for it.

S = image width in px, N = number of images. Every value can be set by the user; None means "by the rule".

| parameter     | 224 px, 127k (paper) | rule                                       | 32 px, 2,000 |
|---------------|----------------------|--------------------------------------------|--------------|
| window        | 60 px                | round(60/224 S)                            | 9            |
| clusters      | 1000 (mean size 127) | round(N / 127), from 32, at most N // 16   | 32           |
| flip_set      | 1000                 | 4 per cluster, at most 1000 and N          | 128          |
| top_k         | 20 of about 8,000    | 4 % of the images to be scored, 5 to 20    | 10           |
| patch_min     | 20 px                | window / 3, from 8 px, at most window      | 8            |
| patch_max     | 80 px                | 4/3 window, must fit between the margins   | 12           |
| margin        | 10 px                | round(10/224 S)                            | 1            |
| iterations    | 2000                 | N // 10, 300 to 2000                       | 300          |
| learning_rate | 0.01                 | 20 / iterations, 0.01 to 0.03              | 0.03         |
| crops         | 1                    | 1/2 under 128 px                           | 0.5          |
| decoys        | 0                    | 1/2 under 128 px                           | 0.5          |
| batch         | not given            | 2**24 pixels at once, 64 to 1024 images    | 1024         |

Not scaled: masks 256, samples 2, drop 25 %, the share left out of the classifier's training 10 %.

[?] Why so. Search: it scores about samples / drop = 8 images per cluster, so 32 clusters give about 260 scored
images, of which the top 10 must be poisoned; and a cluster should be smaller than the poisoned set (650 images at
mean size 127 in the paper). N // 16 keeps enough unseen images in each cluster.

Classifier: patch_min and patch_max follow the window, not the width (the same numbers at the paper's size), so
that a user who enlarges the window for a larger trigger gets a classifier that has seen triggers of that size.
2000 batches of 32 see half of ImageNet-100 once, 300 see 2,000 images five times; with many more, the classifier
learns the poisoned images left among its negatives by heart (measured with the paper's
values: average precision 0.93 at 400, 0.66 at 1200).

Small images need three departures. A patch too small to be recognised makes every texture suspicious: patch_min
from 8 px. Crops enlarged by interpolation are smoother than the images to be judged, which then all look pasted
on: `crops` is the share of training images that is cropped at all. And a sharp square edge must not give a
positive away: `decoys` is the share of negatives on which a window of another training image is pasted. Measured
on 2,000 CIFAR-10 images with real triggers of 10 px, true patches of 12 px, two networks, 400 batches: of the images
removed 17 % were poisoned with the paper's values (one set), 90 to 98 % with these (four sets, 50 to 200 poisoned), at
recall 99 % or more; with two of ten patches wrong 73 to 83 %.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench import BenchError, counted

PAPER_WIDTH = 224
MEAN_CLUSTER = 127
SMALL = 128  # px: under this width the poison classifier works on small images (see the notes above)
TELLABLE = 8  # px: a 4 x 4 mosaic in fewer has cells under 2 px


def option(default: Any, text: str) -> Any:
    """A dataclass field with a help text."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class ScaledOptions:
    """Options of a search that depend on image and dataset size. None = by the rule."""

    clusters: int | None = option(None, "k-means clusters; by the rule N/127, at least 32")
    window: int | None = option(None, "candidate trigger width, px; by the rule 60/224 of the width")
    flip_set: int | None = option(None, "images of the flip test; by the rule 4 per cluster, at most 1000")
    top_k: int | None = option(None, "top-scored patches the classifier learns from; by the rule 5 to 20")
    iterations: int | None = option(None, "most batches per network; by the rule N/10 in 300..2000")
    learning_rate: float | None = option(None, "of the networks; by the rule 20/iterations in 0.01..0.03")
    crops: float | None = option(None, "share of training images cropped; by the rule 1/2 under 128 px, else 1")
    decoys: float | None = option(None, "share of negatives with a benign patch; 1/2 under 128 px, else 0")
    patch_min: int | None = option(None, "smallest pasted patch, px; by the rule window/3, from 8")
    patch_max: int | None = option(None, "largest pasted patch, px; by the rule 4/3 window")
    margin: int | None = option(None, "pasted patches stay this far from the edges, px; by the rule 10/224")
    batch: int | None = option(None, "images encoded at once; speed and memory only")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The same parameters in force for one dataset; pixels are pixels of its images."""

    window: int
    clusters: int
    flip_set: int
    top_k: int
    patch_min: int
    patch_max: int
    margin: int
    iterations: int
    learning_rate: float
    crops: float
    decoys: float
    batch: int


def scale(size: int, count: int, *, samples: int = 2, drop: float = 0.25, **given: Any) -> Scale:
    """The table above for `count` images of `size` px; a value of `given` that is not None replaces the rule's.

    Raises BenchError for a value that cannot work, naming it and its range; TypeError for a name not in the table.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    either = chosen.setdefault
    window = either("window", max(2, _share(60, size)))
    clusters = either("clusters", min(max(round(count / MEAN_CLUSTER), 32), max(2, count // 16)))
    room = size - 2 * either("margin", _share(10, size))
    iterations = either("iterations", min(2000, max(300, count // 10)))
    either("flip_set", min(1000, 4 * clusters, count))
    either("top_k", min(20, max(5, planned(clusters, samples, drop) // 25)))
    either("patch_min", max(1, min(max(round(window / 3), TELLABLE), window, room)))
    either("patch_max", max(1, min(round(4 * window / 3), room)))
    either("learning_rate", min(0.03, max(0.01, 20 / max(1, iterations))))
    either("crops", 0.5 if size < SMALL else 1.0)
    either("decoys", 0.5 if size < SMALL else 0.0)
    either("batch", min(1024, max(64, 2**24 // size**2)))
    found = Scale(**chosen)
    _check(found, size, count)
    return found


def live_counts(clusters: int, drop: float) -> list[int]:
    """How many clusters are live in each round of the search: `clusters`, then the share `drop` fewer, ...

    Where the share rounds down to 0, one cluster is dropped: the public PatchSearch code stops there instead,
    which leaves the most suspicious clusters searched no further than the rest ([?] our choice).
    """
    counts = []
    while clusters > 0:
        counts.append(clusters)
        clusters -= max(1, int(drop * clusters))
    return counts


def planned(clusters: int, samples: int, drop: float) -> int:
    """How many images the search scores, if no cluster runs out of unseen images."""
    return samples * sum(live_counts(clusters, drop))


def in_range(name: str, value: float, low: float, high: float | None = None, problem: str = "") -> None:
    """Raises BenchError when the value of the option `name` is not from `low` to `high` (None = no limit)."""
    if value < low or (high is not None and value > high):
        span = f"from {low} to {high}" if high is not None else f"{low} or more"
        raise BenchError(f"{name}={value}{problem}: expected {span}")


def _share(paper: int, size: int) -> int:
    return round(paper / PAPER_WIDTH * size)


def _check(found: Scale, size: int, count: int) -> None:
    if found.clusters > count:
        raise BenchError(
            f"{counted(count, 'image')} cannot fill {counted(found.clusters, 'cluster')}: lower `clusters`, or give "
            "more images"
        )
    room = size - 2 * found.margin
    limits = {
        "window": (1, size - 1),
        "clusters": (2, count),
        "flip_set": (1, count),
        "top_k": (1, count // 2),
        "margin": (0, (size - 1) // 2),
        "patch_min": (1, room),
        "patch_max": (found.patch_min, room),
        "iterations": (1, None),
        "crops": (0, 1),
        "decoys": (0, 1),
        "batch": (1, None),
    }
    for name, (low, high) in limits.items():
        in_range(name, getattr(found, name), low, high, f" does not fit {count} images of {size} px")
    if not found.learning_rate > 0:
        raise BenchError(f"learning_rate={found.learning_rate}: expected a number over 0")
