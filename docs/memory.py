"""What the harness holds in memory when there are many images: each step in a process of its own, on generated images.

    python docs/memory.py                                          all steps, as in docs/memory.md
    python docs/memory.py --csv docs/measured/memory.csv           and keep it: lines of the same parts are replaced
    python docs/memory.py --rows 130000 --steps manifest clean probe
    python docs/memory.py --steps loader --images 127000 --size 224 --batches 300

A line for each part of a step: the resident memory at its highest, in MiB, and how much that is above what the process
had when its imports were done. A step ends by itself where it would take more than --limit GiB.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import nn

from bench import Images, Seeds, SplitInfo
from bench.data.images import PoisonedImages, Subset, rows_of
from bench.data.manifest import Manifest
from bench.data.names import Names
from bench.data.scenes import Scenes
from bench.isolation.handover import hand_over, handed_over, places_of
from bench.isolation.verdict import check_verdict, kept_digest, read_verdict, write_verdict
from bench.isolation.view import DefenderView
from bench.plugins.manager import Plugins
from bench.records.inputs import found
from bench.ssl.encoder import FrozenEncoder, normalised_features
from bench.ssl.linear_probe import fit, labelled_subset
from bench.ssl.loader import feed
from bench.ssl.probe_settings import ProbeSettings
from bench.ssl.schedule import Schedule
from bench.ssl.settings import TrainSettings
from bench.store.store import StepCache, highest_mb

CLASSES = 100
WIDTH = 16  # px of the many images: 3 x 16 x 16 = 768 numbers, which are their features
DISTINCT = 2000  # scenes drawn for them
CPU = torch.device("cpu")
SEEDS = Seeds(0, "memory")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


# --- the measure ----------------------------------------------------------------------------------


class Meter:
    """Looks at this process and its children some times a second; `rows` holds what each part of the work took."""

    def __init__(self, limit_mb: float) -> None:
        self._me, self._limit, self._peak = psutil.Process(), limit_mb, 0.0
        self.start = self._now()
        self.rows: list[dict[str, object]] = []
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
            self._peak = max(self._peak, self._now())
            if self._peak > self._limit:
                sys.stderr.write(f"{self._peak:.0f} MiB is over the limit\n")
                os._exit(3)
            time.sleep(0.02)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What is done within counts as `name`."""
        began, self._peak = time.monotonic(), self._now()
        yield
        peak = max(self._peak, self._now())
        self.rows.append({"part": name, "peak": peak, "above": peak - self.start, "seconds": time.monotonic() - began})


def step(options: argparse.Namespace) -> None:
    """One step, in this process; its measures as JSON."""
    torch.set_num_threads(options.threads)
    meter = Meter(1024 * options.limit)
    STEPS[options.step](meter, options)
    say(json.dumps({"start": meter.start, "highest": highest_mb(), "rows": meter.rows}))


# --- the images -----------------------------------------------------------------------------------


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


def poisoned(images: Images) -> tuple[Images, Manifest]:
    """The images as the attack leaves them, half of class 0 with a trigger, and the truth about them."""
    names = tuple(f"class {number}" for number in range(CLASSES))
    attack = Plugins.load().make("attack", "htba", {"target": 0})
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
    edges = (0, many // 3, 2 * many // 3, many)
    for first, last in itertools.pairwise(edges):
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


def encoder() -> FrozenEncoder:
    """One that takes no time: an image's 768 numbers are its features."""
    return FrozenEncoder(nn.Flatten(), 3 * WIDTH * WIDTH, CPU)


class Parts:
    """A run's progress reports, as parts of the meter."""

    def __init__(self, meter: Meter) -> None:
        self._meter, self._what, self._open = meter, "", None

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self._what:
            self.close()
            self._what, self._open = what, self._meter.part(NAMES.get(what, what))
            self._open.__enter__()

    def close(self) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)


NAMES = {"features": "features, k-means, assignment"}


def clean(meter: Meter, options: argparse.Namespace) -> None:
    """PoisonCAM asked as a run asks it, with few clusters, masks and batches; its verdict kept, read and measured."""
    with meter.part("the images and their truth"):
        images, truth = poisoned(Stamped(options.rows))
    defense = Plugins.load().make(
        "defense",
        "poisoncam",
        {"clusters": options.clusters, "masks": 8, "flip_set": 64, "members": 1, "iterations": 40},
    )
    parts = Parts(meter)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with meter.part("the images, handed over"):
            order = hand_over(images, SEEDS.child("view"), folder / "images", lambda what, done, total: None)
        view = DefenderView(
            handed_over(folder / "images"),
            name=defense.name,
            encoder=lambda device: encoder(),
            seeds=SEEDS.child("defense"),
            device=CPU,
            step=StepCache(folder / "steps").step,
            report=parts,
        )
        verdict = defense.clean(view)
        parts.close()
        with meter.part("the verdict: checked, kept, read, measured"):
            checked = check_verdict(verdict, len(images), WIDTH, defense.name)
            places = places_of(order)
            moved = {key: values[places] for key, values in checked.arrays().items()}
            write_verdict(replace(checked, **moved), folder)
            verdict = read_verdict(folder)
            kept_digest(verdict.keep)
            measured = found(truth, verdict, (0,))
    assert measured["detection"]["auroc"] is not None


def probe(meter: Meter, options: argparse.Namespace) -> None:
    """Linear evaluation with every image labelled."""
    images, labels = Stamped(options.rows), np.arange(options.rows) % CLASSES
    rows = labelled_subset(labels, 1.0, SEEDS)
    with meter.part("features"):
        features = normalised_features(encoder(), Subset(images, rows))
    with meter.part("fit, one epoch"):
        fitted = fit(features, labels[rows], CLASSES, ProbeSettings(epochs=1, fraction=1.0), SEEDS)
    with meter.part("predict 50,000 images"):
        fitted.predict(features[:50_000])


STEPS: dict[str, Callable[[Meter, argparse.Namespace], None]] = {
    "loader": loader,
    "manifest": manifest,
    "clean": clean,
    "probe": probe,
}


# --- all of them ----------------------------------------------------------------------------------


COLUMNS = ("part", "highest MiB", "above the start MiB", "seconds")


def table(options: argparse.Namespace) -> None:
    """Every step in a process of its own; what they took is said, and kept where --csv says."""
    for name in options.steps:
        words = [sys.executable, __file__, "--step", name]
        words += [f"--{key}={getattr(options, key)}" for key in NUMBERS]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        title = f"{name}, {options.workers} workers" if name == "loader" else name
        rows = lines(title, json.loads(done.stdout.splitlines()[-1]))
        for row in rows:
            say("  ".join(row))
        if options.csv is not None:
            keep(options.csv, rows)


def lines(title: str, told: Mapping[str, Any]) -> list[list[str]]:
    """COLUMNS of each part of a step, then of the step."""
    found = [
        [f"{title} / {row['part']}", *(f"{row[name]:.0f}" for name in ("peak", "above", "seconds"))]
        for row in told["rows"]
    ]
    return [*found, [f"{title} / the process, by the system's count", f"{told['highest']:.0f}", "", ""]]


def keep(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """As CSV: rows of parts that the file has are replaced there, others added at its end."""
    kept: dict[str, Sequence[str]] = {}
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            kept = {row[0]: row for row in list(csv.reader(file))[1:]}
    kept |= {row[0]: row for row in rows}
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *kept.values()])


NUMBERS = {
    "rows": (1_300_000, "rows of the steps but `loader`"),
    "clusters": (32, "of the search"),
    "images": (127_000, "of the step `loader`"),
    "size": (224, "their width, px"),
    "batches": (300, "that it reads"),
    "batch": (16, "images in each"),
    "workers": (0, "processes that read"),
    "threads": (1, "of torch"),
    "limit": (10, "GiB that no step may take"),
}


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--step", choices=STEPS, help="this one, in this process")
    parser.add_argument("--csv", type=Path, help="keep what was measured in this file")
    for name, (default, text) in NUMBERS.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=text)
    return parser.parse_args(words)


def main(options: argparse.Namespace) -> None:
    step(options) if options.step else table(options)


if __name__ == "__main__":
    main(arguments())
