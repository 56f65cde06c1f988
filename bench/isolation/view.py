"""The harness's side of `bench.View`: what a defense is handed, and nothing else."""

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
from bench.ssl.loader import resident

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Report = Callable[[str, int, int], None]
Step = Callable[[str, Callable[[], Arrays]], Arrays]
MakePart = Callable[[View], RowFunction]


class DefenderView:
    """Unlabelled images by index, the declared needs, generators, a notebook.

    Closures hold the rest, so that no attribute leads to labels, file names or the manifest by accident.
    """

    def __init__(
        self,
        images: Images,
        *,
        name: str,
        encoder: Callable[[], Encoder] | None,
        seeds: Seeds,
        step: Step,
        report: Report,
        device: torch.device,
        team: Callable[[MakePart], RowMapper] | None = None,
    ) -> None:
        self.size, self.device = images.size, device
        self._length, self._read = len(images), _reader(images)
        self._name, self._load = name, encoder
        self._encoder: Encoder | None = None
        self._seeds, self.step, self.progress = seeds, step, report
        self._team = team

    def __len__(self) -> int:
        return self._length

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """uint8 (B, 3, size, size) on the CPU."""
        return self._read(np.asarray(indices, np.int64))

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
        return self.elsewhere(make) or alone(make(self))

    def elsewhere(self, make: MakePart) -> RowMapper | None:
        """A team of other processes; None where this one works alone."""
        return None if self._team is None else self._team(make)

    def seeds(self, *names: str | int) -> Seeds:
        """The seed node under these names."""
        return self._seeds.child(*names)


@dataclass(frozen=True)
class Seat:
    """All that another process needs for a view of its own; it can be pickled. `encoder` loads it onto a device."""

    images: Images
    name: str
    encoder: Callable[[torch.device], Encoder] | None
    seeds: Seeds

    def view(self, device: torch.device) -> DefenderView:
        """The view there: without a notebook, and nobody is told of its progress."""
        load = self.encoder
        return DefenderView(
            self.images,
            name=self.name,
            encoder=None if load is None else lambda: load(device),
            seeds=self.seeds,
            step=_no_step,
            report=lambda what, done, total: None,
            device=device,
        )


def seated(make: MakePart, seat: Seat, device: torch.device) -> RowFunction:
    """What `make` makes of the seat's view on this device."""
    return make(seat.view(device))


def _no_step(name: str, compute: Callable[[], Arrays]) -> Arrays:
    raise BenchError(f"step {name!r}: a part of shared work has no notebook; keep what the team returns instead")


def _reader(images: Images) -> Callable[[NDArray[np.int64]], Tensor]:
    """Reads batches; from one tensor where the set is small."""
    kept = resident(images, "cpu")
    if kept is None:
        return images.batch
    import torch

    return lambda indices: kept[torch.from_numpy(indices)]
