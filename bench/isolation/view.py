"""The `bench.View` that a defense works with, in its process: what it is handed, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.api import Arrays, Encoder, Images, RowFunction, RowMapper, View
from bench.errors import BenchError, UndeclaredNeed
from bench.parallel.rows import alone
from bench.seeds import Seeds

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MakePart = Callable[[View], RowFunction]


def no_step(name: str, compute: Callable[[], Arrays]) -> Arrays:
    """The steps of a view in a process that does a part of shared work: BenchError."""
    raise BenchError(f"step {name!r}: a part of shared work saves no steps; keep what map_rows returns instead")


class DefenderView:
    """Unlabelled images by index, the declared needs, generators, saved steps.

    `encoder` loads it onto a device (None: the need is not declared); `share_out` has other processes make rows (None:
    this one makes them).
    """

    def __init__(
        self,
        images: Images,
        *,
        name: str,
        encoder: Callable[[torch.device], Encoder] | None,
        seeds: Seeds,
        device: torch.device,
        step: Callable[[str, Callable[[], Arrays]], Arrays] = no_step,
        report: Callable[[str, int, int], None] = lambda what, done, total: None,
        share_out: Callable[[MakePart], RowMapper] | None = None,
    ) -> None:
        self.size, self.device, self.step, self.progress = images.size, device, step, report
        self._images, self._name, self._load, self._seeds = images, name, encoder, seeds
        self._encoder: Encoder | None = None
        self._share_out = share_out

    def __len__(self) -> int:
        return len(self._images)

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """uint8 (B, 3, size, size) on the CPU."""
        return self._images.batch(np.asarray(indices))

    @property
    def encoder(self) -> Encoder:
        """The threat model; UndeclaredNeed where the defense does not declare it."""
        if self._load is None:
            raise UndeclaredNeed(
                f"defense {self._name!r} asked for the encoder without declaring it: "
                "add needs: ClassVar[frozenset[str]] = frozenset({'encoder'})"
            )
        if self._encoder is None:
            self._encoder = self._load(self.device)
        return self._encoder

    def map_rows(self, make: MakePart) -> RowMapper:
        """See bench.View."""
        return alone(make(self)) if self._share_out is None else self._share_out(make)

    def seeds(self, *names: str | int) -> Seeds:
        """The seed node under these names."""
        return self._seeds.child(*names)


def row_function(make: MakePart, view: partial[DefenderView], device: torch.device) -> RowFunction:
    """What `make` makes of the view that `view` opens on this device; for other processes, so it can be pickled."""
    return make(view(device=device))
