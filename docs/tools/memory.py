"""What the harness holds in memory when there are many images: each step in a process of its own, on generated images.

    python docs/tools/memory.py                                    all steps, as in docs/dev/memory.md
    python docs/tools/memory.py --csv docs/measured/memory.csv     and keep it: lines of the same parts are replaced
    python docs/tools/memory.py --rows 130000 --steps manifest probe
    python docs/tools/memory.py --images 20000 --steps recur
    python docs/tools/memory.py --images 100000 --size 32 --steps scan
    python docs/tools/memory.py --images 127000 --size 224 --batches 300 --workers 2 --steps loader

A line for each part of a step: the resident memory at its highest, in MiB, and how much that is above what the process
had when its imports were done.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image
from torch import nn

from bench import Images, Seeds, SplitInfo
from bench.data.images import PoisonedImages, Subset, rows_of
from bench.data.manifest import Manifest
from bench.data.names import Names
from bench.data.scenes import Scenes
from bench.defenses.recur import Recur
from bench.isolation.view import DefenderView
from bench.plugins.manager import Plugins
from bench.ssl.encoder import FrozenEncoder, normalised_features
from bench.ssl.linear_probe import fit, labelled_subset
from bench.ssl.loader import feed
from bench.ssl.schedule import Schedule
from bench.ssl.settings import ProbeSettings, TrainSettings

CLASSES = 100
WIDTH = 16  # px of the many images: 3 x 16 x 16 = 768 numbers, which are their features
DISTINCT = 2000  # scenes drawn for them
CPU = torch.device("cpu")
SEEDS = Seeds(0, "memory")
COLUMNS = ("part", "highest MiB", "above the start MiB", "seconds")


class Meter:
    """Looks at this process and its children some times a second; `rows` holds what each part of the work took."""

    def __init__(self) -> None:
        self._me, self._peak, self._looking = psutil.Process(), 0.0, False
        self.start = self._now()
        self.rows: list[list[str]] = []
        threading.Thread(target=self._watch, daemon=True).start()

    def _now(self) -> float:
        """MiB: resident here, and of the children what they do not share."""
        held = self._me.memory_info().rss
        for child in self._me.children(recursive=True):
            try:
                held += child.memory_full_info().uss
            except psutil.Error:
                continue
        return held / 2**20

    def _watch(self) -> None:
        while True:
            if self._looking:
                self._peak = max(self._peak, self._now())
            time.sleep(0.02)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What is done within counts as `name`."""
        began, self._peak, self._looking = time.monotonic(), self._now(), True
        yield
        peak, seconds = max(self._peak, self._now()), time.monotonic() - began
        self.rows.append([name, f"{peak:.0f}", f"{peak - self.start:.0f}", f"{seconds:.0f}"])


class Stamped(Images):
    """`count` images that all differ: DISTINCT scenes in turn, with the index written into the first pixels."""

    def __init__(self, count: int) -> None:
        scenes = Scenes(size=WIDTH, classes=CLASSES).split("train", DISTINCT // CLASSES)
        self._scenes, self.size, self._count = scenes.images, WIDTH, count

    def __len__(self) -> int:
        return self._count

    def batch(self, indices: Sequence[int]) -> torch.Tensor:
        rows = rows_of(indices, self._count)
        images = self._scenes.batch(rows % len(self._scenes))
        images[:, 0, 0, :4] = torch.from_numpy(rows.astype("<u4").view(np.uint8).reshape(-1, 4))
        return images


def poisoned(images: Images, rate: float = 0.5) -> tuple[Images, Manifest]:
    """The images as the attack leaves them, a share of class 0 with a trigger, and the truth about them."""
    names = tuple(f"class {number}" for number in range(CLASSES))
    attack = Plugins.load().make("attack", "htba", {"target": 0, "rate": rate})
    labels = np.arange(len(images)) % CLASSES
    rows = attack.poison_train(SplitInfo(labels=labels, classes=names, size=images.size), SEEDS.child("attack"))
    ids = Names(f"train/n{index % CLASSES:08d}/n{index % CLASSES:08d}_{index}.JPEG" for index in range(len(images)))
    return PoisonedImages(images, rows, attack.apply), Manifest(ids, rows)


# --- the steps ------------------------------------------------------------------------------------


def loader(meter: Meter, options: argparse.Namespace) -> None:
    """Shuffled batches of poisoned scenes, as a training reads them."""
    with meter.part("open the data set, poison it"):
        split = Scenes(size=options.size, classes=CLASSES).split("train", options.images // CLASSES)
        images, _ = poisoned(split.images)
        plan = Schedule(TrainSettings(batch=options.batch, epochs=1, warmup=0), len(images), SEEDS)
    many = min(options.batches, plan.steps)
    for first, last in itertools.pairwise((0, many // 3, 2 * many // 3, many)):
        batches = [plan.indices(number) for number in range(first, last)]
        with meter.part(f"batches {first + 1} to {last}"):
            for batch in feed(images, batches, CPU, options.workers):
                assert batch.shape == (options.batch, 3, options.size, options.size)


def manifest(meter: Meter, options: argparse.Namespace) -> None:
    """The truth about all rows: made, written, read."""
    with meter.part("poison"):
        _, truth = poisoned(Stamped(options.rows))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.jsonl"
        with meter.part("write it"):
            truth.save(path)
        del truth
        with meter.part("read it"):
            again = Manifest.load(path)
    with meter.part("its columns"):
        assert len(again) == len(again.poisoned) == len(again.trigger) == len(again.target) == len(again.boxes)


def probe(meter: Meter, options: argparse.Namespace) -> None:
    """Linear evaluation with every image labelled, on an encoder that takes no time: 768 pixels are the features."""
    images, labels = Stamped(options.rows), np.arange(options.rows) % CLASSES
    rows = labelled_subset(labels, 1.0, SEEDS)
    encoder = FrozenEncoder(nn.Flatten(), 3 * WIDTH * WIDTH, CPU)
    with meter.part("features"):
        features = normalised_features(encoder, Subset(images, rows))
    with meter.part("fit, one epoch"):
        fitted = fit(features, labels[rows], CLASSES, ProbeSettings(epochs=1, fraction=1.0), SEEDS)
    with meter.part("predict 50,000 images"):
        fitted.predict(features[:50_000])


def recur(meter: Meter, options: argparse.Namespace) -> None:
    """The defense `recur` without an encoder on poisoned scenes: a share of one class in a hundred."""
    images, truth = poisoned(
        Scenes(size=options.size, classes=CLASSES).split("train", options.images // CLASSES).images, options.rate
    )
    parts: dict[str, Any] = {}

    def step(name: str, compute: Callable[[], Any]) -> Any:
        with meter.part("which windows recur") if name == "recurrence" else contextlib.nullcontext():
            parts[name] = compute()
        return parts[name]

    view = DefenderView(images, name="recur", encoder=None, seeds=SEEDS.sealed(), device=CPU, step=step)
    with meter.part("all of it"):
        verdict = Recur(effect=False).clean(view)
    hit = int((~verdict.keep & truth.poisoned).sum())
    sys.stderr.write(f"{truth.poisoned.sum()} poisoned, {hit} of them among the {(~verdict.keep).sum()} removed\n")


def scan(meter: Meter, options: argparse.Namespace) -> None:
    """`bench scan --quick` of JPEG files of poisoned scenes: what its processes hold that is on no disk, over what each
    holds when its libraries are imported. Pages of mapped files, which the system takes back when it wants, do not
    count."""
    scenes = Scenes(size=options.size, classes=CLASSES).split("train", options.images // CLASSES).images
    images, _ = poisoned(scenes, options.rate)
    imports = "import faiss, torch; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", imports], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as bare:
        assert bare.stdin is not None
        assert bare.stdout is not None
        bare.stdout.readline()
        start = anonymous(bare.pid)
        bare.stdin.write("\n")
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "files")
        for first in range(0, len(images), 1000):
            here = files / str(first)
            here.mkdir(parents=True)
            batch = images.batch(np.arange(first, min(first + 1000, len(images))))
            for number, pixels in enumerate(batch.permute(0, 2, 3, 1).numpy()):
                Image.fromarray(pixels).save(here / f"{number}.jpg", quality=90)
        began, highest = time.monotonic(), {"the command": 0.0, "the search": 0.0}
        command = ["scan", "--quick", str(files), "--output", f"{folder}/out", "--store", f"{folder}/store"]
        with subprocess.Popen([sys.executable, "-m", "bench", *command], stdout=sys.stderr) as child:
            process = psutil.Process(child.pid)
            while child.poll() is None:
                with contextlib.suppress(psutil.Error, OSError):
                    highest["the command"] = max(highest["the command"], anonymous(child.pid))
                    for worker in process.children(recursive=True):
                        highest["the search"] = max(highest["the search"], anonymous(worker.pid))
                time.sleep(0.1)
        seconds = f"{time.monotonic() - began:.0f}"
    meter.rows += [[part, f"{held:.0f}", f"{held - start:.0f}", seconds] for part, held in highest.items()]


def anonymous(process: int) -> float:
    """MiB that a process holds and that are on no disk (Linux)."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0


STEPS: dict[str, Callable[[Meter, argparse.Namespace], None]] = {
    "loader": loader,
    "manifest": manifest,
    "probe": probe,
    "recur": recur,
    "scan": scan,
}


# --- all of them ----------------------------------------------------------------------------------


def in_its_own_process(name: str, words: Sequence[str]) -> list[list[str]]:
    """The rows of one step."""
    command = [sys.executable, __file__, *words, "--step", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return list(json.loads(done.stdout))


def keep(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """As CSV: rows of parts that the file has are replaced there, others added at its end."""
    kept: dict[str, Sequence[str]] = {}
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            kept = {row[0]: row for row in list(csv.reader(file))[1:]}
    kept |= {row[0]: row for row in rows}
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *kept.values()])


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=["loader", "manifest", "probe"])
    parser.add_argument("--step", choices=STEPS, help="this one, in this process; its rows as JSON")
    parser.add_argument("--csv", type=Path, help="keep what was measured in this file")
    parser.add_argument("--rows", type=int, default=1_300_000, help="of the steps `manifest` and `probe`")
    parser.add_argument("--images", type=int, default=127_000, help="of the steps `loader`, `recur` and `scan`")
    parser.add_argument("--size", type=int, default=224, help="their width, px")
    parser.add_argument(
        "--rate",
        type=float,
        default=0.5,
        help="share of one class in a hundred that is poisoned for `recur` and `scan`",
    )
    parser.add_argument("--batches", type=int, default=300, help="that it reads")
    parser.add_argument("--batch", type=int, default=16, help="images in each")
    parser.add_argument("--workers", type=int, default=0, help="processes that read")
    words = sys.argv[1:] if words is None else words
    options = parser.parse_args(words)
    if options.step:
        torch.set_num_threads(1)
        meter = Meter()
        STEPS[options.step](meter, options)
        sys.stdout.write(json.dumps(meter.rows))
        return
    for name in options.steps:
        of_what = f"{options.images} images of {options.size} px, {options.rate:g} of a class"
        titles = {
            "loader": f"loader, {options.workers} workers",
            "recur": f"recur, {of_what}",
            "scan": f"scan, {of_what}",
        }
        title = titles.get(name, name)
        rows = [[f"{title} / {part}", *numbers] for part, *numbers in in_its_own_process(name, words)]
        sys.stdout.writelines(f"{'  '.join(row)}\n" for row in rows)
        if options.csv is not None:
            keep(options.csv, rows)


if __name__ == "__main__":
    main()
