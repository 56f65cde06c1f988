"""How the paper's parameters scale with image and dataset size: the one table, and the code for it.

S = image width in px, N = number of images. Every value can be set by the user; None means "by the rule".

| parameter  | 224 px, 127k (paper) | rule                                          | 32 px, 2,000 |
|------------|----------------------|-----------------------------------------------|--------------|
| window     | 60 px                | round(60/224 S)                               | 9            |
| clusters   | 1000 (mean size 127) | round(N / 127), from 32, at most N // 16      | 32           |
| flip_set   | 1000                 | 4 per cluster, at most 1000 and N             | 128          |
| top_k      | 20 of about 8,000    | 4 % of the images to be scored, 5 to 20       | 10           |
| patch_min  | 20 px                | window / 3                                    | 3            |
| patch_max  | 80 px                | 4/3 window, must fit between the margins      | 12           |
| margin     | 10 px                | round(10/224 S)                               | 1            |
| iterations | 2000                 | N // 10, 400 to 2000                          | 400          |
| batch      | not given            | 2**24 pixels at once, 64 to 1024 images       | 1024         |

Not scaled: masks 256, samples 2, drop 25 %, the share left out of the classifier's training 10 %.

[?] Why these floors. The search scores about samples / drop = 8 images per cluster, so 32 clusters give about
260 scored images, of which the top 10 must be poisoned; and a cluster should be smaller than the poisoned set
(650 images at mean size 127 in the paper). N // 16 keeps enough unseen images in each cluster. patch_min and
patch_max follow the window, not the width (the same numbers at the paper's size), so that a user who enlarges
the window for a larger trigger gets a classifier that has seen triggers of that size. Iterations: 2000
batches of 32 see half of ImageNet-100 once; 400 see 2,000 images six times.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench import BenchError

PAPER_WIDTH = 224
MEAN_CLUSTER = 127


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The parameters in force for one dataset; pixels are pixels of its images."""

    window: int
    clusters: int
    flip_set: int
    top_k: int
    patch_min: int
    patch_max: int
    margin: int
    iterations: int
    batch: int


def scale(
    size: int,
    count: int,
    *,
    samples: int = 2,
    drop: float = 0.25,
    window: int | None = None,
    clusters: int | None = None,
    flip_set: int | None = None,
    top_k: int | None = None,
    patch_min: int | None = None,
    patch_max: int | None = None,
    margin: int | None = None,
    iterations: int | None = None,
    batch: int | None = None,
) -> Scale:
    """The table above for `count` images of `size` px; a value that is not None replaces the rule's.

    Raises BenchError for a value that cannot work, naming it and its range.
    """
    window = _either(window, max(2, _share(60, size)))
    clusters = _either(clusters, min(max(round(count / MEAN_CLUSTER), 32), max(2, count // 16)))
    margin = _either(margin, _share(10, size))
    plan = sum(samples * live for live in live_counts(clusters, drop))
    found = Scale(
        window=window,
        clusters=clusters,
        flip_set=_either(flip_set, min(1000, 4 * clusters, count)),
        top_k=_either(top_k, min(20, max(5, plan // 25))),
        patch_min=_either(patch_min, max(1, round(window / 3))),
        patch_max=_either(patch_max, max(1, min(round(4 * window / 3), size - 2 * margin))),
        margin=margin,
        iterations=_either(iterations, min(2000, max(400, count // 10))),
        batch=_either(batch, min(1024, max(64, 2**24 // size**2))),
    )
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


def _either(given: int | None, rule: int) -> int:
    return rule if given is None else given


def _share(paper: int, size: int) -> int:
    return round(paper / PAPER_WIDTH * size)


def _check(found: Scale, size: int, count: int) -> None:
    if found.clusters > count:
        raise BenchError(
            f"{count} images cannot fill {found.clusters} clusters: lower `clusters`, or give more images"
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
        "batch": (1, None),
    }
    for name, (low, high) in limits.items():
        value = getattr(found, name)
        if value < low or (high is not None and value > high):
            span = f"from {low} to {high}" if high is not None else f"{low} or more"
            raise BenchError(f"{name}={value} does not fit {count} images of {size} px: expected {span}")
