"""The view in an order by image content, so that a verdict cannot depend on how the dataset is sorted.

Datasets often lie class by class or poisoned last; k-means and the random picks of the search work on
positions. Sorted by content hash, the same set of images gives the same verdict in any order, and the order
carries no information.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench import Arrays, Encoder, RowFunction, RowMapper, Seeds, Verdict, View

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Ordered:
    """A View whose image i is `view`'s image order[i]; everything else is `view`'s own."""

    def __init__(self, view: View, batch: int, order: NDArray[np.int64] | None = None) -> None:
        self._view, self._batch = view, batch
        self.size: int = view.size
        self.device: torch.device = view.device
        if order is None:
            order = view.step("order", lambda: {"order": content_order(view, batch)})["order"]
        self.order: NDArray[np.int64] = order

    def __len__(self) -> int:
        return len(self._view)

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """The images at these positions of the new order: uint8 (B, 3, size, size) on the CPU."""
        return self._view.batch(self.order[np.asarray(indices, dtype=np.int64)])

    def places(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the images that the view has at `indices` stand in the new order: (n,) int64."""
        return np.argsort(self.order)[np.asarray(indices, dtype=np.int64)]

    @property
    def encoder(self) -> Encoder:
        """The threat model."""
        return self._view.encoder

    def seeds(self, *names: str | int) -> Seeds:
        """The seed node under these names."""
        return self._view.seeds(*names)

    def step(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """`compute()`, kept on disk."""
        return self._view.step(name, compute)

    def map_rows(self, make: Callable[[View], RowFunction]) -> RowMapper:
        """As the view's, for what is made from views in this order."""
        return self._view.map_rows(partial(_make_ordered, make, self.order, self._batch))

    def progress(self, what: str, done: int, total: int) -> None:
        """Tell the user."""
        self._view.progress(what, done, total)

    def restore(self, verdict: Verdict) -> Verdict:
        """`verdict` on the new order, put back into the order of the view that was given."""
        arrays = ("keep", "score", "trigger_score", "boxes")
        given = {name: getattr(verdict, name) for name in arrays}
        changes: dict[str, Any] = {name: self.back(a) for name, a in given.items() if a is not None}
        return dataclasses.replace(verdict, **changes)

    def back(self, values: NDArray[Any]) -> NDArray[Any]:
        """`values` (N, ...) of the images in the new order, in the order of the view that was given."""
        back = np.empty_like(values)
        back[self.order] = values
        return back


def _make_ordered(make: Callable[[View], RowFunction], order: NDArray[np.int64], batch: int, view: View) -> RowFunction:
    return make(Ordered(view, batch, order))


def content_order(view: View, batch: int) -> NDArray[np.int64]:
    """(N,) int64: the indices sorted by the BLAKE2b-64 hash of each image's bytes (equals: by index)."""
    digests = np.empty(len(view), dtype=np.uint64)
    for start in range(0, len(view), batch):
        images = view.batch(np.arange(start, min(start + batch, len(view)))).numpy()
        for row, image in enumerate(images):
            digest = hashlib.blake2b(image.tobytes(), digest_size=8).digest()
            digests[start + row] = int.from_bytes(digest, "little")
        view.progress("reading images", start + len(images), len(view))
    return np.argsort(digests, kind="stable").astype(np.int64)
