"""What `recur` does to every image, shared out over the devices of a run: describing windows, matching a template.

The results are those of one device bit for bit: images are taken in the same batches, whoever computes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import Arrays, ProgressCallback, RowFunction, RowMapper

from .trigger import TURNS, Matches, Template, match
from .windows import BATCH, Copies, Whitening, Windows, described, floats

if TYPE_CHECKING:
    from bench import View

AT_ONCE = 16  # batches described before they go into the index: what is held beside it
MATCHED = 256  # images matched at once


class Describing(NamedTuple):
    """A request: the windows of the images at `indices` (n,). Row i is an object, the list of what `described` yields
    of their i-th batch of BATCH images."""

    indices: NDArray[np.int64]
    sizes: list[float]
    whitening: Arrays


class Matching(NamedTuple):
    """A request: the best place of a template (3, h, w) float32, upright or turned, in each of the images at `indices`
    (n,), a row each."""

    indices: NDArray[np.int64]
    template: NDArray[np.float32]
    turned: bool


class Making:
    """Makes the row function of a view: on this device with the copies that are there, in other processes, which get
    none, with their own."""

    def __init__(self, small: Copies | None = None) -> None:
        self._small = small

    def __reduce__(self) -> tuple[type[Making], tuple[()]]:
        return Making, ()

    def __call__(self, view: View) -> RowFunction:
        small = self._small or Copies(view)

        def rows(what: Any, start: int, stop: int, done: ProgressCallback) -> Arrays:
            answer = _described if isinstance(what, Describing) else _matched
            return answer(small, what, start, stop, done)

        return rows


class Shared:
    """A view's images as copies, and the devices that work on them, which are opened when they are first needed."""

    def __init__(self, view: View) -> None:
        self.small, self._view = Copies(view), view

    @cached_property
    def _rows(self) -> RowMapper:
        return self._view.map_rows(Making(self.small))

    def described(
        self, indices: NDArray[np.int64], sizes: list[float], whiten: Whitening, title: str = ""
    ) -> Iterator[tuple[NDArray[np.float32], Windows]]:
        """See `described`; `title`: what is reported as done, image by image, "" for nothing."""
        for first in range(0, len(indices), AT_ONCE * BATCH):
            part = indices[first : first + AT_ONCE * BATCH]

            def tell(batches: int, before: int = first) -> None:
                if title:
                    self._view.progress(title, min(before + batches * BATCH, len(indices)), len(indices))

            what = Describing(part, sizes, whiten.arrays())
            for batch in self._rows(what, -(-len(part) // BATCH), 1, tell)["windows"]:
                yield from batch

    def match(self, template: Template, indices: NDArray[np.int64]) -> Matches:
        """See `trigger.match`, on the images at `indices`."""
        what = Matching(indices, template.pixels.numpy(), template.turned)
        return Matches(**self._rows(what, len(indices), MATCHED, lambda done: None))


def _described(small: Copies, what: Describing, start: int, stop: int, done: ProgressCallback) -> Arrays:
    whiten, found = Whitening.restored(what.whitening), np.empty(stop - start, object)
    for row in range(start, stop):
        batch = what.indices[row * BATCH : (row + 1) * BATCH]
        found[row - start] = list(described(small, batch, what.sizes, whiten))
        done(1)
    return {"windows": found}


def _matched(small: Copies, what: Matching, start: int, stop: int, done: ProgressCallback) -> Arrays:
    import torch

    template = torch.from_numpy(what.template)
    # One array each: small results kept from every batch would lie between its large ones, and hold their memory.
    count = stop - start
    found = Matches(np.empty(count, np.float32), np.empty((count, 4), np.int64), np.empty(count, np.float32))
    for low in range(start, stop, MATCHED):
        rows = what.indices[low : min(low + MATCHED, stop)]
        place = slice(low - start, low - start + len(rows))
        part = match(floats(small, rows), template, TURNS if what.turned else ())
        found.score[place], found.box[place], found.turn[place] = part
        done(len(rows))
    return found._asdict()
