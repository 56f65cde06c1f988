"""What `bench plan --preset paper-imagenet100 --on GPUS` estimates, without ImageNet: docs/measured/plan-on.csv.

    python docs/tools/plan_on.py -o docs/measured/plan-on.csv     # some minutes on one core, 4 GB

The operations are those of two images drawn by `scenes`, which cost as much as any of their size; IMAGES stands for the
training set of ImageNet-100.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import Defense
from bench.config.config import load_config
from bench.estimate.gpus import count_operations, read_fleet
from bench.pipeline.pipeline import Pipeline
from bench.pipeline.stage import Machine
from bench.plugins.manager import Plugins
from bench.ssl.schedule import Schedule
from bench.store import Store

IMAGES = 127_000
FLEETS = ("4xrtx3090", "h200")
FEW = ("dataset.classes=10", "dataset.train_per_class=2", "dataset.val_per_class=1")


def pipeline(preset: str, settings: Sequence[str], folder: Path) -> Pipeline:
    """The preset on a few scenes of its size."""
    config = load_config(Plugins.load(), preset, choices={"dataset": "scenes"}, settings=settings)
    return Pipeline(config, config.dataset.load(), Store(folder), Machine(accelerator="cpu"))


def rows(run: Pipeline) -> Iterator[dict[str, object]]:
    """One for each of FLEETS: operations, and the time of a training and of a search of IMAGES images."""
    training, encoding = count_operations(run)
    config, defense = run.config, run.config.defense.filter
    assert isinstance(defense, Defense)
    shown = Schedule(config.train, IMAGES, config.seeds).steps * config.train.batch
    passes = defense.forwards(IMAGES, run.dataset.size)
    for name in FLEETS:
        speed = read_fleet(name).speed
        yield {
            "machine": name,
            "gigaflops to train on an image": f"{training / 1e9:.1f}",
            "gigaflops to encode it": f"{encoding / 1e9:.1f}",
            "hours of a training": f"{shown * training / speed / 3600:.1f}",
            "million encoder passes": f"{passes / 1e6:.1f}",
            "minutes of the search": f"{passes * encoding / speed / 60:.0f}",
        }


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--preset", default="paper-imagenet100")
    parser.add_argument("--set", action="append", default=list(FEW), metavar="NAME=VALUE", help="as for bench plan")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        found = list(rows(pipeline(options.preset, options.set, Path(folder))))
    with options.output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


if __name__ == "__main__":
    main()
