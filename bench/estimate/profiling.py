"""`bench profile`: what the parts of a run take on this machine, measured on a sample of its images.

Nothing is kept: the encoder is a random one, the images are not poisoned, no artifact is made. Times do not depend on
either, but for the number of images that a search scores.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import Arrays, Defense, Images
from bench.config.config import Config
from bench.data.images import Subset
from bench.pipeline.stage import Machine
from bench.store import highest_mb

from .trial import clocked, defense_view, random_encoder, trial_job

if TYPE_CHECKING:
    import torch

    from bench.ssl.encoder import FrozenEncoder
    from bench.ssl.train import Job

STEPS = 8  # of a training, of which all but the first two are timed
SIDE = 1024  # of the matrices whose product is the machine's peak; on a GPU four times as wide


@dataclass(frozen=True, kw_only=True)
class Part:
    """One line. images: handled in `seconds`, None where that says nothing. operations: floating-point operations of
    matrix products and convolutions, as torch counts them. memory: highest so far, MB."""

    title: str
    seconds: float
    images: int | None
    operations: int
    memory: float

    @property
    def rate(self) -> float | None:
        """Images a second."""
        return None if self.images is None or not self.seconds else self.images / self.seconds

    def share(self, peak: float) -> float:
        """Of `peak` operations a second, how much was used: 0 to 1."""
        return self.operations / max(self.seconds, 1e-9) / peak


def machine_peak(device: torch.device) -> float:
    """Floating-point operations a second of a float32 matrix product: the best of ten."""
    import torch

    side = 4 * SIDE if device.type == "cuda" else SIDE
    one, two = torch.rand(2, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    return 2 * side**3 / min(clocked(lambda: one @ two, device) for _ in range(10))


def profile(config: Config, images: Images, machine: Machine, count: int) -> Iterator[Part]:
    """The parts in the order of a run: reading, one training step and what it consists of, encoding, the defense."""
    some = Subset(images, np.arange(min(count, len(images))))
    whole = np.arange(len(some))
    yield part("read the images", len(some), lambda: some.batch(whole), machine.device)
    yield from training(config, some, machine)
    encoder = random_encoder(config, images.size, machine)
    once = some.batch(whole[: config.train.batch])
    yield part("encode", len(once), lambda: encoder(once), machine.device)
    if isinstance(config.defense.filter, Defense):
        yield from defense(config, config.defense.filter, some, encoder, machine)


def part(title: str, images: int | None, run: Callable[[], object], device: torch.device) -> Part:
    """`run` once, counted, then three times, timed: the median."""
    operations = counted(run)
    seconds = statistics.median(clocked(run, device) for _ in range(3))
    return Part(title=title, seconds=seconds, images=images, operations=operations, memory=_memory(device))


def counted(run: Callable[[], object]) -> int:
    """Floating-point operations of what `run` does, by torch's own counter."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def _memory(device: torch.device) -> float:
    if device.type == "cuda":
        import torch

        return float(torch.cuda.max_memory_allocated(device) / 1e6)
    return highest_mb()


# --- training -------------------------------------------------------------------------------------


def training(config: Config, images: Images, machine: Machine) -> Iterator[Part]:
    """A step of the real loop, then the same work in parts, each by itself."""
    batch = min(config.train.batch, len(images))
    with tempfile.TemporaryDirectory() as folder:
        job = trial_job(config, images, batch, STEPS, Path(folder))
        made = list(_step_parts(job, machine))
        step = whole_step(job, machine)
    title = f"training step, {step / made[0].seconds:.2f} times its forward and backward"
    operations = sum(one.operations for one in made)
    yield Part(title=title, seconds=step, images=batch, operations=operations, memory=_memory(machine.device))
    yield from made


def whole_step(job: Job, machine: Machine) -> float:
    """Seconds of a step of the training loop: the median."""
    from bench.ssl.train import pretrain

    ticks: list[float] = []
    pretrain(job, lambda *_: ticks.append(time.perf_counter()), 1, machine.accelerator)
    return float(np.median(np.diff(ticks)[1:]))


def _step_parts(job: Job, machine: Machine) -> Iterator[Part]:
    """Forward and backward, views, optimiser: what a step of `job` consists of."""
    from bench.ssl.train import make_fabric, make_learner, make_optimiser, make_views, view_specs

    fabric, learner, batch = make_fabric(job.train, 1, machine.accelerator), make_learner(job), job.train.batch
    fabric.launch()
    model, optimiser = fabric.setup(learner, make_optimiser(learner, job.train))
    images = job.images.batch(np.arange(batch)).to(fabric.device).float() / 255
    specs = view_specs(job.views, job.images.size)

    def views() -> Any:
        return make_views(images, specs, job, 0, slice(0, batch))

    ready = views()

    def bare() -> None:
        learner.zero_grad(set_to_none=False)  # the optimiser below needs gradients
        fabric.backward(model(ready))

    def update() -> None:
        optimiser.step()
        learner.after_step(0.5)  # type: ignore[operator]

    device = fabric.device
    yield part("- forward and backward", batch, bare, device)
    yield part("- views", batch, views, device)
    yield part("- optimiser and momentum encoder", None, update, device)


# --- the defense -------------------------------------------------------------------------------------


def defense(config: Config, chooser: Defense, images: Images, encoder: FrozenEncoder, machine: Machine) -> list[Part]:
    """A part for each kind of step that the defense saves ("search-000", "search-001" ... are one kind).

    Counted while timed: the counter takes some tens of microseconds for each operation.
    """
    kinds: dict[str, list[Part]] = {}

    def step(name: str, compute: Callable[[], Arrays]) -> Arrays:
        found: list[Arrays] = []
        start = time.perf_counter()
        operations = counted(lambda: found.append(compute()))
        seconds, (arrays,) = time.perf_counter() - start, found
        made = Part(
            title=name.rstrip("-0123456789"),
            seconds=seconds,
            images=_handled(arrays, len(images)),
            operations=operations,
            memory=_memory(machine.device),
        )
        kinds.setdefault(made.title, []).append(made)
        return arrays

    chooser.clean(defense_view(config, chooser, images, encoder, machine, step))
    return [_sum(f"{chooser.name}: {title}", same) for title, same in kinds.items()]


def _handled(arrays: Arrays, count: int) -> int | None:
    """How many images a saved step is about: what "indices" lists, or all where an array has a row for each."""
    if "indices" in arrays:
        return len(arrays["indices"])
    return count if any(array.shape[:1] == (count,) for array in arrays.values()) else None


def _sum(title: str, same: list[Part]) -> Part:
    images = [one.images for one in same if one.images is not None]
    return Part(
        title=title,
        seconds=sum(one.seconds for one in same),
        images=sum(images) if images else None,
        operations=sum(one.operations for one in same),
        memory=max(one.memory for one in same),
    )
