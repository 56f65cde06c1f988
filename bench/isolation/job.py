"""One question to a defense, with all that it may know for the answer: what its process is handed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.api import Arrays, Encoder, Judge
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

Method = Literal["clean", "attention", "grouping", "score", "verdict"]
IMAGES, KNOWN, STEPS = "images", "known", "steps"


@dataclass(frozen=True, kw_only=True)
class Job:
    """`method` of the defense, called with a view and `arguments`; it can be pickled.

    folder: holds the images that were handed over (IMAGES; of a detector also those that it knows, KNOWN) and the saved
    steps (STEPS). encoder: loads the threat model onto a device, None where the defense does not declare that need.
    devices: how many of Lightning Fabric's `accelerator` the work is shared out over. threads: of the CPU, with which
    each process computes.
    """

    defense: Judge
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

        with computing_with(self.threads), Shards(self.devices, self.accelerator, self.threads) as shards:

            def opened(images: str, seeds: Seeds, steps: Path) -> DefenderView:
                view = partial(
                    DefenderView,
                    handed_over(self.folder / images),
                    name=self.defense.name,
                    encoder=self.encoder,
                    seeds=seeds,
                )

                def share_out(make: MakePart) -> RowMapper:
                    return shards.map_rows(partial(row_function, make, view))

                return view(
                    device=torch.device(self.device),
                    step=StepCache(steps).step,
                    report=report,
                    share_out=share_out if self.devices > 1 else None,
                )

            views = [opened(IMAGES, self.seeds, self.folder / STEPS)]
            if self.method == "score":
                steps = self.folder / STEPS / KNOWN
                steps.mkdir(parents=True, exist_ok=True)
                views.append(opened(KNOWN, self.seeds.child(KNOWN), steps))
            found = getattr(self.defense, self.method)(*views, *self.arguments)
        return taken_apart(self.method, found, self.defense.name)
