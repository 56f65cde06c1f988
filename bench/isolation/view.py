"""The `bench.View` that a defense works with, in its process: what it is handed, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

Step = Callable[[str, Callable[[], Arrays]], Arrays]
MakePart = Callable[[View], RowFunction]


class DefenderView:
    """Unlabelled images by index, the declared needs, generators, saved steps."""

    def __init__(
        self,
        images: Images,
        *,
        name: str,
        encoder: Callable[[], Encoder] | None,
        seeds: Seeds,
        step: Step,
        report: Callable[[str, int, int], None],
        device: torch.device,
        team: Callable[[MakePart], RowMapper] | None = None,
    ) -> None:
        self.size, self.device = images.size, device
        self._images, self._name, self._load = images, name, encoder
        self._encoder: Encoder | None = None
        self._seeds, self.step, self.progress = seeds, step, report
        self._team = team

    def __len__(self) -> int:
        return len(self._images)

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """uint8 (B, 3, size, size) on the CPU."""
        return self._images.batch(np.asarray(indices, np.int64))

    @property
    def encoder(self) -> Encoder:
        """The threat model; UndeclaredNeed where the defense does not declare it."""
        if self._load is None:
            raise UndeclaredNeed(
                f"defense {self._name!r} asked for the encoder without declaring it: "
                "add needs: ClassVar[frozenset[str]] = frozenset({'encoder'})"
            )
        if self._encoder is None:
            self._encoder = self._load()
        return self._encoder

    def map_rows(self, make: MakePart) -> RowMapper:
        """See bench.View."""
        return alone(make(self)) if self._team is None else self._team(make)

    def seeds(self, *names: str | int) -> Seeds:
        """The seed node under these names."""
        return self._seeds.child(*names)


@dataclass(frozen=True)
class Seat:
    """All that a process needs for a view of its own; it can be pickled. `encoder` loads it onto a device."""

    images: Images
    name: str
    encoder: Callable[[torch.device], Encoder] | None
    seeds: Seeds

    def view(
        self,
        device: torch.device,
        step: Step | None = None,
        report: Callable[[str, int, int], None] = lambda what, done, total: None,
        team: Callable[[MakePart], RowMapper] | None = None,
    ) -> DefenderView:
        """The view there; without `step` it is that of a part of shared work, which saves none."""
        load = self.encoder
        return DefenderView(
            self.images,
            name=self.name,
            encoder=None if load is None else lambda: load(device),
            seeds=self.seeds,
            step=step or _no_step,
            report=report,
            device=device,
            team=team,
        )


def seated(make: MakePart, seat: Seat, device: torch.device) -> RowFunction:
    """What `make` makes of the seat's view on this device."""
    return make(seat.view(device))


def _no_step(name: str, compute: Callable[[], Arrays]) -> Arrays:
    raise BenchError(f"step {name!r}: a part of shared work has no notebook; keep what the team returns instead")
