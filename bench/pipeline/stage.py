"""What every stage of a run is: a pure function of its configuration, its inputs' hashes and its own code version.

poison -> pretrain -> probe                         the attack without defense
       -> clean -> pretrain -> probe                the same, after a defense
       -> detect, or judge                          test images, or the encoder, judged: the end
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bench.store import ArtifactBuilder, key_of

if TYPE_CHECKING:
    import torch

    from bench.parallel.nodes import NodeGroup
    from bench.parallel.shards import Shards
    from bench.ssl.settings import TrainSettings


class ProgressReport(Protocol):
    """`done` of `total` units of `what` are through; `numbers`: what was measured there, for trackers."""

    def __call__(self, what: str, done: int, total: int, /, **numbers: float) -> None: ...


VERSIONS = {"poison": 1, "pretrain": 2, "import": 1, "probe": 2, "clean": 3, "control": 1}
"""Of each stage's code; raised where a change of the code changes what the stage makes."""
VERSIONS |= {"detect": 1, "judge": 1}
VERSIONS |= {"images": 1, "evidence": 1}  # of bench/scan


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where stages run: Lightning Fabric's accelerator name, and how many devices a training, a search and the features
    of a probe take. group: the processes that a training spans, on machines with so many devices; None: on this one.
    in_place: for debugging, a defense runs in this process instead of one of its own."""

    accelerator: str = "auto"
    devices: int = 1
    group: NodeGroup | None = None
    in_place: bool = False

    @property
    def training_devices(self) -> int:
        """How many a training takes, on all machines together."""
        return self.group.count if self.group else self.devices

    def check(self, train: TrainSettings) -> None:
        """Raises BenchError where a training with these settings cannot run on it. For the CPU no torch is loaded."""
        if self.accelerator not in ("auto", "cpu"):
            self.device  # noqa: B018 - raises where there is none
        train.per_device(self.training_devices)
        if train.sync_batchnorm and self.training_devices > 1:
            from bench.ssl.train import check_sync_batchnorm

            check_sync_batchnorm(train, self.training_devices, self.device)

    def precision(self, train: TrainSettings) -> str:
        """What `train.precision` means here: "32" or "bf16"."""
        if train.precision != "auto":
            return str(train.precision)
        from bench.ssl.train import resolve_precision

        return resolve_precision("auto", self.device)

    def together(self, stage: Stage, folder: Path) -> contextlib.AbstractContextManager[NodeGroup | None]:
        """Around the training of a stage in this work folder: with the other machines, if any."""
        if self.group is None:
            return contextlib.nullcontext()
        return self.group.training(stage.key, folder.relative_to(folder.parents[1]).as_posix())

    @cached_property
    def device(self) -> torch.device:
        """The device of everything that is not shared out."""
        from bench.parallel.devices import open_fabric

        device: torch.device = open_fabric(accelerator=self.accelerator, devices=1).device
        return device

    def shards(self, threads: int) -> Shards:
        """Shares rows out over the devices, each computing with so many CPU threads, within a `with` block."""
        from bench.parallel.shards import Shards

        return Shards(self.devices, self.accelerator, threads)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One artifact to be: `name` for the store, `title` for people, `make(making, report)` to make it.

    config: all that it depends on besides its `inputs`. "threads" in it: with how many CPU threads it is made; there is
    none where its numbers cannot depend on them.
    """

    name: str
    title: str
    config: dict[str, Any]
    inputs: dict[str, str]
    make: Callable[[ArtifactBuilder, ProgressReport], None] = field(repr=False)
    work: int = 0
    """Its amount of work in its own unit (training: images seen), for estimates."""

    def computing(self) -> contextlib.AbstractContextManager[None]:
        """Around its `make`, wherever that is called: this process computes with the threads of its key."""
        if "threads" not in self.config:
            return contextlib.nullcontext()
        from bench.parallel.threads import computing_with

        return computing_with(self.config["threads"])

    @property
    def key(self) -> str:
        return key_of(self.name, VERSIONS[self.name], self.config, self.inputs)
