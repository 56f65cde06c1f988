"""What statistics of the pixels alone find: their average precision on each attack of matrix files.

    python docs/tools/pixels.py leaderboards/detection-*.toml -o docs/measured/pixels.csv

No encoder is trained. A line for each attack and statistic: the mean over the seeds of the file, in %, the best first.
Three of them are baselines of the tables (`colour`, `palette`, `colour-count`); the others are what else one would try
on a mosaic trigger, none fitted to one.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score
from torch import Tensor

from bench.data.images import Images
from bench.defenses.baselines import Colour, ColourCount, Palette
from bench.defenses.baselines.palette import corners
from bench.matrix.cell import Cell, RunContext
from bench.matrix.file import read_matrix
from bench.pipeline.runner import make_stage
from bench.pipeline.stage import Machine
from bench.plugins.manager import Plugins
from bench.store import Store

BATCH = 500


def third(images: Tensor) -> int:
    """The width of a window: a third of the image's, about a trigger's."""
    return images.shape[-1] // 3


def pure_in_a_window(images: Tensor) -> Tensor:
    """The most pure colours in any window."""
    return F.max_pool2d(corners(images).float(), third(images), 1).sum(1).flatten(1).amax(1)


def variance_in_a_window(images: Tensor) -> Tensor:
    """The largest variance of the pixels of any window."""
    window = third(images)
    return (F.avg_pool2d(images**2, window, 1) - F.avg_pool2d(images, window, 1) ** 2).sum(1).flatten(1).amax(1)


STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {
    "pure colours in a window": pure_in_a_window,
    "pure pixels": lambda images: corners(images).sum((1, 2, 3)),
    "black and white pixels": lambda images: corners(images)[:, [0, 7]].sum((1, 2, 3)),
    "variance in a window": variance_in_a_window,
    "variance": lambda images: images.var((1, 2, 3)),
    "colourfulness": lambda images: (images.amax(1) - images.amin(1)).mean((1, 2)),
    "edges": lambda images: images.diff(dim=2).abs().mean((1, 2, 3)) + images.diff(dim=3).abs().mean((1, 2, 3)),
}


def measured(images: Images, poisoned: np.ndarray) -> dict[str, float]:
    """The average precision of each statistic, in %."""
    parts = defaultdict(list)
    for start in range(0, len(images), BATCH):
        batch = images.batch(range(start, min(start + BATCH, len(images)))).float()
        for name, statistic in STATISTICS.items():
            parts[name].append(statistic(batch))
    scores = {name: torch.cat(part).double().numpy() for name, part in parts.items()}
    scores |= {each.name: each().scores(images) for each in (Colour, Palette, ColourCount)}  # type: ignore[arg-type]
    return {name: 100 * average_precision_score(poisoned, score) for name, score in scores.items()}


def attack_of(cell: Cell, context: RunContext) -> str:
    """Its name; behind it how many targets, or what the file sets for it: "multi-target (2)"."""
    targets = getattr(context.config(cell).attack, "target_classes", ())
    own = [text.removeprefix("attack.") for text in cell.settings if text.startswith("attack.")]
    more = str(len(targets)) if targets else ", ".join(own)
    return f"{cell.attack} ({more})" if more else str(cell.attack)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("matrix", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        context = RunContext(Store(Path(folder)), Machine())
        for path in given.matrix:
            cells = read_matrix(path, Plugins.load())
            for cell in (each for each in cells if each.defense == cells[0].defense):
                pipeline = context.pipeline(cell)
                make_stage(pipeline.poison, context.store, lambda *_, **__: None)
                truth = pipeline.train_manifest.poisoned
                if truth.any():
                    attack = attack_of(cell, context)
                    for name, value in measured(pipeline.poisoned_train, truth).items():
                        found[cell.preset, attack, name].append(value)
                    sys.stdout.write(f"{path.name}: {attack}, seed {cell.seed}\n")
    with given.output.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["preset", "attack", "statistic", "average_precision", "seeds"])
        places = list(dict.fromkeys(key[:2] for key in found))
        for key, values in sorted(found.items(), key=lambda each: (places.index(each[0][:2]), -np.mean(each[1]))):
            lines.writerow([*key, f"{np.mean(values):.1f}", len(values)])


if __name__ == "__main__":
    main()
