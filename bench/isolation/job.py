"""One question to a defense, with all that it may know for the answer: what its process is handed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.api import Arrays, Defense, Encoder
from bench.parallel.shards import Shards
from bench.parallel.threads import computing_with
from bench.seeds import Seeds
from bench.store import StepCache

from .handover import handed_over
from .verdict import taken_apart
from .view import DefenderView, MakePart, row_function

if TYPE_CHECKING:
    import torch

    from bench.api import RowMapper

Method = Literal["clean", "attention", "grouping"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """`method` of the defense, called with a view and `arguments`; it can be pickled.

    folder: holds the images that were handed over (`images`) and the saved steps (`steps`). encoder: loads the threat
    model onto a device, None where the defense does not declare that need. devices: how many of Lightning Fabric's
    `accelerator` the work is shared out over. threads: of the CPU, with which each process
    computes.
    """

    defense: Defense
    method: Method
    arguments: tuple[Any, ...]
    folder: Path
    encoder: Callable[[torch.device], Encoder] | None
    seeds: Seeds
    device: str
    accelerator: str
    devices: int
    threads: int

    def answer(self, report: Callable[[str, int, int], None]) -> tuple[Arrays, dict[str, Any]]:
        """What the defense returns, as arrays and JSON. Raises BenchError where it is not of the promised kind."""
        import torch

        images, name = handed_over(self.folder / "images"), self.defense.name
        view = partial(DefenderView, images, name=name, encoder=self.encoder, seeds=self.seeds)
        with computing_with(self.threads), Shards(self.devices, self.accelerator, self.threads) as shards:

            def share_out(make: MakePart) -> RowMapper:
                return shards.map_rows(partial(row_function, make, view))

            here = view(
                device=torch.device(self.device),
                step=StepCache(self.folder / "steps").step,
                report=report,
                share_out=share_out if self.devices > 1 else None,
            )
            found = getattr(self.defense, self.method)(here, *self.arguments)
        return taken_apart(self.method, found, name)
