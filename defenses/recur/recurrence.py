"""Which windows come back? How near each one's twins in other images are.

A planted patch is a patch that comes back: photographs hardly ever repeat a patch with structure, a trigger does in
every poisoned image. No label, no cluster and no encoder is needed to see it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import Arrays

from .shared import Shared
from .windows import COMPONENTS, Whitening, Windows

NEIGHBOURS = 200
PROBES = 8  # inverted lists looked into for a query
TRAINING_IMAGES = 2000
MANY = 8_000_000  # windows


class Recurrence(NamedTuple):
    """Of n query windows: the windows, their score (n,), and for each its nearest twin in each of up to m other
    images, most alike first: image (n, m), -1 where there is none, and box (n, m, 4)."""

    windows: Windows
    score: NDArray[np.float32]
    twin_image: NDArray[np.int64]
    twin_box: NDArray[np.float32]

    def arrays(self) -> Arrays:
        """All of it, for a step."""
        return {**self.windows._asdict(), **{name: getattr(self, name) for name in self._fields[1:]}}

    @classmethod
    def of(cls, arrays: Arrays) -> Recurrence:
        """What `arrays` made."""
        return cls(Windows(arrays["image"], arrays["box"]), *(arrays[name] for name in cls._fields[1:]))


class Index:
    """The windows of a view, searchable by descriptor.

    faiss with inverted lists, trained on the windows of a sample of images; then all are added, a batch at a time. Few
    are kept in half precision, more than MANY as product codes of 24 bytes.
    """

    def __init__(self, shared: Shared, sizes: list[float], whiten: Whitening, rng: np.random.Generator) -> None:
        import faiss

        everything = np.arange(len(shared.small))
        sample = np.sort(rng.permutation(len(everything))[:TRAINING_IMAGES])
        training = np.concatenate([found for found, _ in shared.described(sample, sizes, whiten)])
        count = len(training) * len(everything) // len(sample)
        lists = int(np.clip(2 ** round(np.log2(np.sqrt(max(1, count)))), 16, 4096))
        lists = min(lists, max(1, len(training) // 40))
        code = "SQfp16" if count <= MANY else f"PQ{COMPONENTS // 2}"
        index: Any = faiss.index_factory(whiten.basis.shape[1], f"IVF{lists},{code}", faiss.METRIC_INNER_PRODUCT)
        index.cp.niter = 10
        index.train(training[rng.permutation(len(training))[: 60 * lists]])
        index.nprobe = PROBES
        self._index = index
        images, boxes = [], []
        for found, windows in shared.described(everything, sizes, whiten, "images described"):
            self._index.add(found)
            images.append(windows.image.astype(np.int32))
            boxes.append(windows.box.astype(np.float16))
        self._image, self._box = np.concatenate(images), np.concatenate(boxes)

    def recurrence(self, rows: NDArray[np.float32], windows: Windows, rank: int) -> Recurrence:
        """How near the rank-th nearest *other image* comes to each query window."""
        similarity, place = self._index.search(rows, NEIGHBOURS)
        image = np.where(place >= 0, self._image[place], windows.image[:, None])
        other = image != windows.image[:, None]
        first = other & _first_of_its_image(image)
        order = np.argsort(~first, axis=1, kind="stable")[:, :rank]  # distinct other images, most alike first
        there = np.take_along_axis(first, order, 1)
        score = np.where(there, np.take_along_axis(similarity, order, 1), 0.0)[:, -1]
        twin = np.take_along_axis(place, order, 1)
        return Recurrence(windows, score, np.where(there, self._image[twin], -1), self._box[twin].astype(np.float32))


def _first_of_its_image(image: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Of rows of image numbers (n, k): where each number stands for the first time in its row."""
    order = np.argsort(image, axis=1, kind="stable")
    ranked = np.take_along_axis(image, order, 1)
    fresh = np.ones_like(ranked, bool)
    fresh[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    found = np.empty_like(fresh)
    np.put_along_axis(found, order, fresh, 1)
    return found
