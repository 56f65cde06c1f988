"""What the parts of a run take on this machine: images a second, share of the machine's peak, memory.

    python docs/tools/profile_run.py --preset laptop
    python docs/tools/profile_run.py --preset smoke --images 128 --accelerator cpu

Nothing is kept: the encoder is a random one, and no image is poisoned. The peak is that of a float32 matrix product;
operations are those of matrix products and convolutions, as torch counts them. How long a defense takes: see `bench
plan`, and the "stages" of a record.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench import Images
from bench.config.config import Config, load_config
from bench.data.images import Subset
from bench.estimate.pace import random_encoder, trial_job
from bench.parallel.at_once import in_order
from bench.pipeline.stage import Machine
from bench.plugins.manager import Plugins
from bench.ssl.train import pretrain
from bench.store import highest_mb

STEPS = 6
SIDE = 1024


def seconds(run: Callable[[], object], device: torch.device, times: int = 3) -> float:
    """Of one call: the median of `times`, after one that warms up."""
    found = []
    for _ in range(times + 1):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - start)
    return statistics.median(found[1:])


def operations(run: Callable[[], object]) -> int:
    """Floating-point operations of one call."""
    with in_order(), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def peak(device: torch.device) -> float:
    """Floating-point operations a second of a float32 matrix product."""
    one, two = torch.rand(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(device)
    return 2 * SIDE**3 / seconds(lambda: one @ two, device, 10)


def training(config: Config, images: Images, machine: Machine, batch: int) -> Callable[[], object]:
    """A few steps of the configuration's training."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            job = trial_job(config, images, batch, STEPS, Path(folder))
            pretrain(job, lambda *_: None, 1, machine.accelerator)

    return run


def parts(config: Config, images: Images, machine: Machine) -> Iterator[tuple[str, int, Callable[[], object]]]:
    """(title, images handled, what to time): reading, training, encoding."""
    batch = min(config.train.batch, len(images))
    rows = np.arange(batch)
    yield "read", len(images), lambda: images.batch(np.arange(len(images)))
    yield f"train, {STEPS} steps", STEPS * batch, training(config, images, machine, batch)
    encoder, once = random_encoder(config, images.size, machine), images.batch(rows)
    yield "encode", batch, lambda: encoder(once)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="SECTION.OPTION=VALUE")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--accelerator", default="auto")
    given = parser.parse_args(arguments)
    config, machine = (
        load_config(Plugins.load(), given.preset, settings=given.settings),
        Machine(accelerator=given.accelerator),
    )
    every = config.dataset.load().train.images
    images, highest = Subset(every, np.arange(min(given.images, len(every)))), peak(machine.device)
    sys.stdout.write(f"{'part':<16}{'ms':>10}{'images/s':>12}{'of peak':>9}{'MB':>8}\n")
    for title, count, run in parts(config, images, machine):
        each = seconds(run, machine.device)
        share = operations(run) / each / highest
        line = f"{title:<16}{1e3 * each:>10,.1f}{count / each:>12,.0f}{share:>9.0%}{highest_mb():>8,.0f}\n"
        sys.stdout.write(line)
    sys.stdout.write(f"Peak: {highest / 1e9:,.0f} GFLOP/s on {machine.device}.\n")


if __name__ == "__main__":
    main()
