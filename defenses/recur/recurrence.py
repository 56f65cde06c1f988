"""Which windows come back? How near each one's twins in other images are.

A planted patch is a patch that comes back: photographs hardly ever repeat a patch with structure, a trigger does in
every poisoned image. No label, no cluster and no encoder is needed to see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import Arrays

from .shared import Shared
from .windows import COMPONENTS, Whitening, Windows

NEIGHBOURS = 200
MOST_RANK = NEIGHBOURS // 4  # among the neighbours are several windows of an image
PROBES = 8  # inverted lists looked into for a query
TRAINING_IMAGES = 2000
MANY = 8_000_000  # windows
IN_MEMORY = 500_000  # windows: an index grows to so many, then it goes to a file, and the next begins
QUERIES = 2048  # windows looked up at once: what is held for them beside the index
PLACE = np.dtype([("image", np.int32), ("box", np.float16, 4)])
"""Where a window of the index is."""


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
    are kept in half precision, more than MANY as product codes of 24 bytes; what is beyond IN_MEMORY in mapped files
    in `folder`.
    """

    def __init__(
        self, shared: Shared, sizes: list[float], whiten: Whitening, rng: np.random.Generator, folder: Path
    ) -> None:
        import faiss

        everything = np.arange(len(shared.small))
        empty = _trained(shared, sizes, whiten, rng)
        shards: Any = faiss.IndexShards  # faiss's own types know only one way to make it
        self._parts = shards(empty.d, False, True)  # one after the other, rows numbered through
        part = faiss.clone_index(empty)
        with (folder / "places").open("wb") as places:
            for found, windows in shared.described(everything, sizes, whiten, "images described"):
                part.add(found)
                place = np.empty(len(found), PLACE)
                place["image"], place["box"] = windows
                places.write(place.tobytes())
                if part.ntotal >= IN_MEMORY:
                    self._add(_mapped(part, folder / f"part-{self._parts.count()}"))
                    part = faiss.clone_index(empty)
        self._add(part)
        self._place = np.memmap(folder / "places", PLACE, "r")

    def _add(self, part: Any) -> None:
        part.nprobe = PROBES
        self._parts.add_shard(part)

    def recurrence(self, rows: NDArray[np.float32], windows: Windows, rank: int) -> Recurrence:
        """How near the rank-th nearest *other image* comes to each query window."""
        parts = [slice(start, start + QUERIES) for start in range(0, len(rows), QUERIES)] or [slice(0)]
        found = [self._recurrence(rows[part], Windows(windows.image[part], windows.box[part]), rank) for part in parts]
        return joined(found)

    def _recurrence(self, rows: NDArray[np.float32], windows: Windows, rank: int) -> Recurrence:
        similarity, place = self._parts.search(rows, NEIGHBOURS)
        image = np.where(place >= 0, self._place["image"][place], windows.image[:, None])
        other = image != windows.image[:, None]
        first = other & _first_of_its_image(image)
        order = np.argsort(~first, axis=1, kind="stable")[:, :rank]  # distinct other images, most alike first
        there = np.take_along_axis(first, order, 1)
        score = np.where(there, np.take_along_axis(similarity, order, 1), 0.0)[:, -1]
        twin = self._place[np.take_along_axis(place, order, 1)]
        return Recurrence(windows, score, np.where(there, twin["image"], -1), twin["box"].astype(np.float32))


def _trained(shared: Shared, sizes: list[float], whiten: Whitening, rng: np.random.Generator) -> Any:
    """An index without windows."""
    import faiss

    sample = np.sort(rng.permutation(len(shared.small))[:TRAINING_IMAGES])
    training = np.concatenate([found for found, _ in shared.described(sample, sizes, whiten)])
    count = len(training) * len(shared.small) // len(sample)
    lists = int(np.clip(2 ** round(np.log2(np.sqrt(max(1, count)))), 16, 4096))
    lists = min(lists, max(1, len(training) // 40))
    code = "SQfp16" if count <= MANY else f"PQ{COMPONENTS // 2}"
    index: Any = faiss.index_factory(whiten.basis.shape[1], f"IVF{lists},{code}", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 10
    index.train(training[rng.permutation(len(training))[: 60 * lists]])
    return index


def _mapped(index: Any, file: Path) -> Any:
    """The same index, its lists in a file that the system reads when they are searched."""
    import faiss

    faiss.write_index(index, str(file))
    return faiss.read_index(str(file), faiss.IO_FLAG_MMAP)


def joined(parts: Sequence[Recurrence]) -> Recurrence:
    """Of all windows of `parts`."""
    windows = Windows(*(np.concatenate(column) for column in zip(*(part.windows for part in parts), strict=True)))
    return Recurrence(windows, *(np.concatenate(column) for column in zip(*(part[1:] for part in parts), strict=True)))


def _first_of_its_image(image: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Of rows of image numbers (n, k): where each number stands for the first time in its row."""
    order = np.argsort(image, axis=1, kind="stable")
    ranked = np.take_along_axis(image, order, 1)
    fresh = np.ones_like(ranked, bool)
    fresh[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    found = np.empty_like(fresh)
    np.put_along_axis(found, order, fresh, 1)
    return found
