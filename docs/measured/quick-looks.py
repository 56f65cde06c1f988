"""What the quick look (`recur` without its question to the encoder) makes of drawn images that no table has.

    python docs/measured/quick-looks.py > docs/measured/quick-looks.csv

Clean ones of other seeds; and 600 of 64 px, of which 60, all of one class, have the same patch of 14 px: plain ones,
and letterboxed ones, with a black bar of 16 px above and below, with the patch in the picture or in a bar. Nothing is
trained.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.config.config import load_config
from bench.data.vivid import sticker
from bench.plugins.manager import Plugins

PATCHED, BAR, SIDE = 60, 16, 14


def drawn(preset: str, *settings: str) -> Iterator[NDArray[np.uint8]]:
    """The training images of a preset: (3, size, size) each."""
    images = load_config(Plugins.load(), preset, settings=settings).dataset.load().train.images
    for index in range(len(images)):
        yield images.batch([index])[0].numpy()


def patched(seed: int, top: tuple[int, int], bars: bool = True, many: int = PATCHED) -> Iterator[NDArray[np.uint8]]:
    """600 images of 64 px, the first `many` with a patch whose upper edge lies in `top`."""
    rng, patch = np.random.default_rng(seed), sticker(SIDE, np.random.default_rng(0))
    settings = (f"dataset.seed={seed}", "dataset.size=64", "dataset.train_per_class=60")
    for index, image in enumerate(drawn("laptop", *settings)):
        if bars:
            image[:, :BAR], image[:, -BAR:] = 0, 0
        if index < many:
            row, left = int(rng.integers(*top)), int(rng.integers(0, 64 - SIDE))
            image[:, row : row + SIDE, left : left + SIDE] = patch
        yield image


def looked(images: Iterator[NDArray[np.uint8]]) -> tuple[int, list[int]]:
    """How many images there are, and which of them the quick look takes out."""
    with tempfile.TemporaryDirectory() as name:
        folder, count = Path(name), 0
        (folder / "images").mkdir()
        for count, image in enumerate(images, 1):
            Image.fromarray(image.transpose(1, 2, 0)).save(folder / "images" / f"{count - 1:05}.png")
        size = str(image.shape[1])
        command = ("bench", "scan", "images", "--quick", "--size", size, "--output", "report")
        subprocess.run([sys.executable, "-m", *command], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        lines = (folder / "report" / "removed.txt").read_text().splitlines()
        return count, [int(Path(line.split("\t")[0]).stem) for line in lines if not line.startswith("#")]


def main() -> None:
    """Writes the CSV."""
    inside, seeds = (BAR, 64 - BAR - SIDE + 1), range(1, 4)
    sets = {
        "clean laptop": [drawn("laptop", f"dataset.seed={seed}") for seed in range(1, 6)],
        "clean vivid": [drawn("vivid", f"dataset.seed={seed}") for seed in range(1, 6)],
        "clean 64 px": [patched(seed, inside, bars=False, many=0) for seed in seeds],
        "patched 64 px": [patched(seed, inside, bars=False) for seed in seeds],
        "patched in the picture between bars": [patched(seed, inside) for seed in seeds],
        "patched in a bar": [patched(seed, (0, BAR - SIDE + 1)) for seed in seeds],
    }
    sys.stdout.write("set,dataset seed,images,with a patch,found,clean removed\n")
    for name, each in sets.items():
        for seed, images in enumerate(each, 1):
            count, removed = looked(images)
            there = PATCHED if "patched" in name else 0
            found = sum(index < there for index in removed)
            sys.stdout.write(f"{name},{seed},{count},{there},{found},{len(removed) - found}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
