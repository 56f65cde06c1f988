"""What the parts of a run cost as it grows, and whether `bench plan` gets it right.

    python docs/growth.py measure     # docs/growth.csv and .svg: minutes on one core
    python docs/growth.py check       # docs/growth-check.csv: `bench plan`, then the run that it was about, three times
    python docs/growth.py write       # docs/growth.md from both; --check: exit code 1 where it is not what they give

Seconds are those of the processor in one thread: what else a machine does changes them little. Images are scenes, the
network is the preset laptop's with random weights: what a pass costs does not hang on them.
"""

from __future__ import annotations

import time

if __name__ == "__main__":
    time.monotonic = time.perf_counter = time.process_time  # before bench: its own clocks are held to the same

import argparse
import csv
import dataclasses
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.api import Images, SplitInfo
from bench.config.config import Config, load_config
from bench.data.images import ArrayImages, Subset
from bench.data.manifest import Manifest
from bench.data.scenes import Recipe, SceneImages
from bench.defenses.poisoncam import PoisonCAM
from bench.defenses.search.classifier import build, judge
from bench.defenses.search.clusters import Clustering, Clusters, all_features, k_means
from bench.defenses.search.costs import EACH_ROW, classifier_sample
from bench.defenses.search.flip_test import FlipTest
from bench.estimate.estimate import Estimator
from bench.estimate.trial import defense_view, random_encoder, trial_job
from bench.leaderboard.marks import filled_in
from bench.pipeline.events import silent
from bench.pipeline.pipeline import Pipeline
from bench.pipeline.runner import make_stages
from bench.pipeline.stage import Machine
from bench.plugins.manager import Plugins
from bench.seeds import Seeds
from bench.ssl.linear_probe import fit
from bench.ssl.train import pretrain
from bench.store import Store

HERE = Path(__file__).parent
MACHINE = Machine(accelerator="cpu")
SECONDS = 0.4
"""A point is measured up to five times, or until so much time has gone; the least counts."""
COUNTS = (1024, 2048, 4096, 8192, 16384, 32768)
SIZES = (24, 32, 48, 64, 96)

Ready = tuple[Callable[[], object], float]
"""(run, times): what is timed, and how many times that the point is."""


@dataclass(frozen=True)
class Curve:
    """Seconds of one part against one number. `law`: what `bench plan` takes the exponent to be; None: see `told`."""

    part: str
    axis: str
    values: Sequence[int]
    ready: Callable[[int], Ready]
    law: float | None = 1


# --- what is timed --------------------------------------------------------------------------------


@cache
def config(size: int = 32) -> Config:
    """The preset laptop at another size; its local views keep their share."""
    settings = [f"dataset.size={size}", f"views.local_size={size // 2}"]
    return load_config(Plugins.load(), "laptop", settings=settings)


@cache
def scenes(count: int, size: int = 32) -> Images:
    """So many training images, in memory."""
    recipe = Recipe(size=size, classes=10, object_size=(0.3, 0.5), period=0.16, hue_jitter=0.3)
    return ArrayImages(SceneImages(recipe, count, Seeds(0)).batch(range(count)).numpy())


def first(count: int) -> Images:
    """The first of as many images as any curve needs."""
    return Subset(scenes(COUNTS[-1]), np.arange(count))


def view(images: Images) -> Any:
    """What a defense sees of them."""
    return defense_view(
        config(images.size), PoisonCAM(), images, random_encoder(config(images.size), images.size, MACHINE), MACHINE
    )


def clusters(seen: Any, count: int = 32) -> Clusters:
    """Random centres."""
    centres = torch.nn.functional.normalize(torch.randn(count, seen.encoder.dim, generator=generator()))
    return Clusters(seen.encoder, centres, 1024)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def epoch(images: Images) -> Ready:
    """Five steps of a training on them, standing for an epoch."""
    batch = config().train.batch

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            job = trial_job(config(images.size), images, batch, 6, Path(folder))
            job = dataclasses.replace(job, images=images)
            ticks: list[float] = []
            pretrain(job, lambda *_: ticks.append(time.perf_counter()), 1, "cpu")
            found.append(min(b - a for a, b in pairwise(ticks)))

    found: list[float] = []
    run()
    return Timed(min(found)), len(images) / batch


@dataclass(frozen=True)
class Timed:
    """Something whose time is known already."""

    seconds: float

    def __call__(self) -> None:
        raise AssertionError("its time is known")


def features(images: Images) -> Ready:
    seen = view(images)
    return lambda: all_features(seen, 1024), 1


def means(count: int, centres: int) -> Ready:
    rows = np.random.default_rng(0).standard_normal((count, 128)).astype(np.float32)
    return lambda: k_means(rows, centres, 0), 1


def masking(masks: int, size: int = 32) -> Ready:
    """The map and window of four images."""
    seen = view(Subset(scenes(64, size), np.arange(4)))
    search = PoisonCAM(masks=masks)
    nobody = np.zeros(0, dtype=np.int64)
    locate = search.locator(Clustering(clusters(seen), nobody, nobody.astype(np.float32)), search.settings(size, 2000))
    images, own = seen.batch(np.arange(4)), torch.zeros(4, dtype=torch.long)
    return lambda: locate(images, own, Seeds(0)), 1


def flips(shown: int, count: int = 4, size: int = 32) -> Ready:
    """`count` candidates on a flip set of `shown` images."""
    seen = view(Subset(scenes(1024 if size == 32 else 64, size), np.arange(shown)))
    images, window = seen.batch(np.arange(shown)), PoisonCAM().settings(size, 2000).window
    test = FlipTest(clusters(seen), images)
    patches, own = images[:1, :, :window, :window].repeat(count, 1, 1, 1), torch.zeros(count, dtype=torch.long)
    return lambda: test(patches, own, Seeds(0)), 1


def classifier(images: Images, count: int) -> Ready:
    """The five members' training, by a few batches of one, with the rule's number of batches for `count` images."""
    search = PoisonCAM()
    settings = search.settings(images.size, count)
    units, run = classifier_sample(settings, view(images))
    return run, search.members * settings.iterations / units


def judging(images: Images) -> Ready:
    seen, network = view(images), build(images.size, 0)
    return lambda: judge(seen, [network], 1024), 5


def probe(count: int) -> Ready:
    """The probe's own training on `count` labelled images."""
    rows = torch.rand(count, 128, generator=generator())
    settings = dataclasses.replace(config().probe, epochs=2)
    return lambda: fit(rows, np.arange(count) % 10, 10, settings, Seeds(0)), config().probe.epochs / 2


def poison(count: int) -> Ready:
    """Deciding which of `count` images are poisoned, and writing it down."""
    attack, labels = config().attack, np.arange(count) % 10
    scene = SplitInfo(labels=labels, classes=tuple(map(str, range(10))), size=32)
    ids = [f"train/{number:07d}" for number in range(count)]

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            Manifest(ids, attack.poison_train(scene, Seeds(0))).save(Path(folder) / "train.jsonl")

    return run, 1


CURVES = (
    Curve("training epoch", "images", COUNTS, lambda n: epoch(first(n))),
    Curve("training step", "image size", SIZES, lambda s: (epoch(scenes(64, s))[0], 1), None),
    Curve("features", "images", COUNTS, lambda n: features(first(n))),
    Curve("features", "image size", SIZES, lambda s: features(scenes(64, s)), None),
    Curve("k-means", "images", COUNTS, lambda n: means(n, 64)),
    Curve("k-means", "clusters", (8, 16, 32, 64, 128, 256, 512), lambda k: means(8192, k), None),
    Curve("masking", "masks", (16, 32, 64, 128, 256, 512), masking, None),
    Curve("masking", "image size", SIZES, lambda s: masking(32, s), None),
    Curve("flip test", "flip set", (16, 32, 64, 128, 256, 512, 1024), flips),
    Curve("flip test", "candidates", (1, 2, 4, 8, 16, 32), lambda n: flips(64, n)),
    Curve("flip test", "image size", SIZES, lambda s: flips(32, 4, s), None),
    Curve("poison classifier", "images", COUNTS, lambda n: classifier(first(n), n), None),
    Curve("poison classifier", "image size", SIZES, lambda s: classifier(scenes(64, s), 64 * 16), None),
    Curve("judging", "images", COUNTS, lambda n: judging(first(n))),
    Curve("probe's training", "labelled images", COUNTS[:-1], probe),
    Curve("poisoning", "images", COUNTS, poison),
)


TOLD = {
    ("k-means", "clusters"): f"1, of clusters + {EACH_ROW}",
    ("masking", "masks"): "1, of the masks that differ",
    ("poison classifier", "images"): "1, of the rule's batches",
}


# --- measuring and fitting ------------------------------------------------------------------------


def seconds(ready: Ready) -> float:
    """The least of a few runs; what takes long runs once."""
    run, times = ready
    if isinstance(run, Timed):
        return run.seconds * times
    found: list[float] = []
    while len(found) < 5 and sum(found) < SECONDS:
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return min(found) * times


@dataclass(frozen=True)
class Fit:
    """exponent: the slope of log seconds over log x, by least squares; low, high: of the slopes between neighbours."""

    exponent: float
    low: float
    high: float


def fitted(points: Sequence[tuple[float, float]]) -> Fit:
    """The exponent of (x, seconds)."""
    x, y = np.log(np.array(points)).T
    slopes = np.diff(y) / np.diff(x)
    return Fit(float(np.polyfit(x, y, 1)[0]), float(slopes.min()), float(slopes.max()))


def measure() -> None:
    """All curves."""
    rows = []
    for curve in CURVES:
        seconds(curve.ready(curve.values[0]))  # imports, caches
        for value in curve.values:
            rows.append((curve.part, curve.axis, value, f"{seconds(curve.ready(value)):.6g}"))
            say(*rows[-1])
    write_csv(HERE / "growth.csv", ("part", "axis", "value", "seconds"), rows)
    plot(read_points(), HERE / "growth.svg")


def read_points() -> dict[tuple[str, str], list[tuple[float, float]]]:
    """(part, axis) -> points, of growth.csv."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in read_csv(HERE / "growth.csv"):
        found.setdefault((row["part"], row["axis"]), []).append((float(row["value"]), float(row["seconds"])))
    return found


def plot(found: dict[tuple[str, str], list[tuple[float, float]]], path: Path) -> None:
    """A panel a curve, both axes logarithmic: points, and the fitted line with its exponent."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style = {"svg.hashsalt": "growth", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False}
    with mpl.rc_context({**style, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 10), layout="constrained")
        for axes, ((part, axis), points) in zip(figure.subplots(4, 4).flat, found.items(), strict=False):
            x, y = np.array(points).T
            slope, start = np.polyfit(np.log(x), np.log(y), 1)
            axes.loglog(x, np.exp(start) * x**slope, color="0.6", linewidth=1.5)
            axes.loglog(x, y, "o", color="#0072B2", markersize=5)  # of Okabe and Ito's colours
            axes.set_title(f"{part}: exponent {slope:.2f}", fontsize=9)
            axes.set_xlabel(axis)
            axes.set_xticks(x, [f"{value:g}" for value in x], rotation=45 if x[-1] > 1000 else 0)
            axes.minorticks_off()
        figure.supylabel("seconds")
        figure.savefig(path, metadata={"Date": None})


# --- plans against runs ---------------------------------------------------------------------------

SHORT = ("train.warmup=0", "dataset.val_per_class=30")
RUNS = {
    "900 images, 6 classes, few masks": (
        *SHORT,
        *("dataset.classes=6", "attack.target=5", "dataset.train_per_class=150"),
        *("train.epochs=3", "defense.masks=32", "defense.flip_set=64", "defense.members=2"),
    ),
    "500 images of 48 px": (
        *SHORT,
        *("dataset.size=48", "views.local_size=24", "attack.trigger_size=15", "defense.window=18"),
        *(
            "dataset.train_per_class=50",
            "train.epochs=2",
            "defense.masks=32",
            "defense.flip_set=48",
            "defense.members=2",
        ),
    ),
    "600 images, a heavy search": (
        *SHORT,
        *("dataset.train_per_class=60", "train.epochs=2", "defense.masks=256", "defense.members=1"),
    ),
}
"""The preset laptop with these changes; none of them was used to fit anything."""


def compare(settings: Sequence[str]) -> Iterator[tuple[str, float, float]]:
    """(stage, planned, taken) of each stage of that run."""
    chosen = load_config(Plugins.load(), "laptop", settings=settings)
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Pipeline(chosen, chosen.dataset.load(), Store(Path(folder)), MACHINE)
        planned = Estimator(pipeline).rows()
        for row, stage in zip(planned, make_stages(pipeline, silent), strict=True):
            meta = pipeline.store.meta(stage.name, stage.key) or {}
            yield stage.title, row.seconds or 0.0, float(meta["seconds"])


def check() -> None:
    """All of RUNS."""
    rows = []
    for name, settings in RUNS.items():
        for stage, planned, taken in compare(settings):
            rows.append((name, stage, f"{planned:.3g}", f"{taken:.3g}"))
            say(*rows[-1])
    write_csv(HERE / "growth-check.csv", ("run", "stage", "planned", "taken"), rows)


# --- writing --------------------------------------------------------------------------------------


def written(text: str) -> str:
    """A page with the two tables between its marks."""
    for name, lines in (("curves", curve_lines()), ("check", check_lines())):
        text = filled_in(text, name, "\n".join(lines))
    return text


def write(check: bool = False) -> bool:
    """growth.md; with `check` nothing is written. False where it is not what the two CSV files give."""
    path = HERE / "growth.md"
    old = path.read_text(encoding="utf-8")
    new = written(old)
    if not check:
        path.write_text(new, encoding="utf-8")
    elif new != old:
        say(f"{path.name} is stale: python docs/growth.py write")
    return new == old or not check


def curve_lines() -> Iterator[str]:
    """A line a curve; k-means a second time, against what a plan takes it to be in proportion to."""
    yield "| part | against | from, to | seconds | exponent | between neighbours | `bench plan` takes |"
    yield "|---|---|---|---|---|---|---|"
    laws = {(curve.part, curve.axis): curve.law for curve in CURVES}
    for (part, axis), points in read_points().items():
        law = laws[part, axis]
        yield curve_line(part, axis, points, told(part, axis) if law is None else f"{law:g}")
        if (part, axis) == ("k-means", "clusters"):
            yield curve_line(part, f"clusters + {EACH_ROW}", [(count + EACH_ROW, took) for count, took in points], "1")


def curve_line(part: str, axis: str, points: Sequence[tuple[float, float]], takes: str) -> str:
    """One curve: first and last point, and its exponents."""
    found, (low, fast), (high, slow) = fitted(points), points[0], points[-1]
    return (
        f"| {part} | {axis} | {low:,.0f} to {high:,.0f} | {fast:.3g} to {slow:.3g} | {found.exponent:.2f} | "
        f"{found.low:.2f} to {found.high:.2f} | {takes} |"
    )


def told(part: str, axis: str) -> str:
    """What a plan takes where it has no exponent."""
    return TOLD.get((part, axis), "a trial at that size")


def check_lines() -> Iterator[str]:
    """A line a stage, and one for each run in all."""
    yield "| run | stage | planned, s | taken, s | ratio |"
    yield "|---|---|---|---|---|"
    rows = read_csv(HERE / "growth-check.csv")
    for run in dict.fromkeys(row["run"] for row in rows):
        own = [(row["stage"], float(row["planned"]), float(row["taken"])) for row in rows if row["run"] == run]
        total = ("**in all**", sum(each[1] for each in own), sum(each[2] for each in own))
        for stage, planned, taken in (*own, total):
            yield f"| {run} | {stage} | {planned:.1f} | {taken:.1f} | {planned / taken:.2f} |"


def write_csv(path: Path, heading: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([heading, *rows])


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def say(*words: object) -> None:
    sys.stdout.write("  ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main(words: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("measure", "check", "write"))
    parser.add_argument("--check", action="store_true", help="of `write`: compare, write nothing")
    options = parser.parse_args(words)
    if options.what == "write":
        return int(not write(options.check))
    if options.check:
        parser.error("--check is for `write`")
    {"measure": measure, "check": check}[options.what]()
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
