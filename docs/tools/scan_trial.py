"""A trial of `bench scan` on real images, for which the truth is known to this script alone.

    python docs/tools/scan_trial.py make ZIP OUT --seed 0          images with a trigger in 250 of them, and their truth
    python docs/tools/scan_trial.py make ZIP OUT --seed 0 --poisoned 0
    python docs/tools/scan_trial.py collect TRIAL -o scans.csv     a line for each TRIAL/NAME with report/ and truth.tsv
    python docs/tools/scan_trial.py runs RECORD ... -o limits.csv  a scan's measures of the searches of finished runs
    python docs/tools/scan_trial.py twins ZIP -o twins.csv         which images are near-duplicates of others

ZIP holds a folder per class below train/ (as in cifar10/train/cat/0001.jpg); all images of one size. `make` writes
OUT/images: one flat folder, random names, every file a PNG, in random order; and OUT/truth.tsv beside it.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image

from bench import BenchError, Seeds, SplitInfo, counted
from bench.data.images import ArrayImages
from bench.data.scenes import Scenes
from bench.pipeline.pipeline import Pipeline
from bench.pipeline.pretrain import encoder_of
from bench.plugins.manager import Plugins
from bench.scan.decide import LIMITS, decide
from bench.scan.evidence import gather
from bench.scan.lists import read_path
from bench.scan.twins import picture_of
from bench.session.opening import reopened


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


# --- make -----------------------------------------------------------------------------------------


def by_class(archive: zipfile.ZipFile) -> dict[str, list[str]]:
    """Class -> its training files, sorted."""
    found: dict[str, list[str]] = {}
    for name in sorted(archive.namelist()):
        parts = PurePosixPath(name).parts
        if len(parts) >= 3 and parts[-3] == "train":
            found.setdefault(parts[-2], []).append(name)
    if len(found) < 2:
        raise BenchError("the archive holds no train/CLASS/FILE of two or more classes")
    return dict(sorted(found.items()))


def shares(total: int, classes: Sequence[str], target: str, of_target: int) -> dict[str, int]:
    """How many images of each class: `of_target` of the target, the rest in equal parts."""
    each, more = divmod(total - of_target, len(classes) - 1)
    others = [name for name in classes if name != target]
    return {target: of_target, **{name: each + (place < more) for place, name in enumerate(others)}}


def pick(
    files: dict[str, list[str]], wanted: dict[str, int], generator: np.random.Generator
) -> Iterator[tuple[str, str]]:
    """(class, file) of `wanted` random files of each class."""
    for name, many in sorted(wanted.items()):
        if many > len(files[name]):
            raise BenchError(f"the class {name!r} has {counted(len(files[name]), 'image')}, {many} are wanted")
        yield from ((name, file) for file in generator.choice(files[name], many, replace=False))


def load(archive: zipfile.ZipFile, files: Sequence[str]) -> torch.Tensor:
    """(N, 3, S, S) uint8."""
    pixels = [np.asarray(Image.open(archive.open(file)).convert("RGB")) for file in files]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()


def make(options: argparse.Namespace) -> None:
    """The folder and its truth."""
    seeds = Seeds(options.seed, "scan trial")
    with zipfile.ZipFile(options.archive) as archive:
        files = by_class(archive)
        classes = tuple(files)
        if options.target not in classes:
            raise BenchError(f"no class {options.target!r}; there are {', '.join(classes)}")
        of_target = options.of_target or options.images // len(classes)
        wanted = shares(options.images, classes, options.target, of_target)
        chosen = list(pick(files, wanted, seeds.child("images").numpy()))
        images = load(archive, [file for _, file in chosen])
    truth = {}
    if options.poisoned:
        attack = Plugins.load().make(
            "attack",
            "htba",
            {
                "target": options.target,
                "rate": options.poisoned / of_target,
                "trigger_seed": options.trigger_seed,
                "trigger_size": options.trigger_size,
            },
        )
        labels = np.array([classes.index(name) for name, _ in chosen])
        rows = attack.poison_train(
            SplitInfo(labels=labels, classes=classes, size=images.shape[-1]), seeds.child("attack")
        )
        where = [row.index for row in rows]
        images[where] = attack.apply(images[where], rows)
        truth = {row.index: row.box for row in rows}
    write(options.out, images, truth, seeds.child("names").numpy())
    say(f"{len(images)} images, {len(truth)} with a trigger -> {options.out / 'images'}")


def write(out: Path, images: torch.Tensor, truth: dict[int, tuple[int, ...]], generator: np.random.Generator) -> None:
    """The images under random names; which of them bear the trigger, and where, in truth.tsv."""
    folder = out / "images"
    folder.mkdir(parents=True)
    lines = ["name\tpoisoned\ttop\tleft\theight\twidth"]
    for index in generator.permutation(len(images)):
        name = f"{generator.bytes(8).hex()}.png"
        Image.fromarray(images[int(index)].permute(1, 2, 0).numpy()).save(folder / name)
        box = truth.get(int(index))
        lines.append("\t".join([name, str(int(box is not None)), *(map(str, box) if box else [""] * 4)]))
    (out / "truth.tsv").write_text("\n".join([lines[0], *sorted(lines[1:])]) + "\n", encoding="utf-8")


# --- collect --------------------------------------------------------------------------------------


def listed(file: Path) -> set[str]:
    """The names in kept.txt or removed.txt."""
    lines = file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return {Path(read_path(line.split("\t")[0])).name for line in lines if not line.startswith("#")}


def truth_of(file: Path) -> set[str]:
    """The names of the images with a trigger."""
    with file.open(encoding="utf-8", newline="") as lines:
        return {row["name"] for row in csv.DictReader(lines, delimiter="\t") if row["poisoned"] == "1"}


def report_of(folder: Path) -> dict[str, Any]:
    """What a scan says, for programs."""
    return dict(json.loads((folder / "report.json").read_text(encoding="utf-8")))


def scored(poisoned: set[str], folder: Path) -> dict[str, object]:
    """One scan against the truth; rates in percent, empty where they are undefined."""
    report, removed, kept = report_of(folder), listed(folder / "removed.txt"), listed(folder / "kept.txt")
    hits = len(removed & poisoned)
    return {
        "images": len(removed | kept),
        "triggered": len(poisoned),
        "seed": report["settings"]["seed"],
        "verdict": report["verdict"],
        "patches": len(report["look"].get("triggers", ())),
        **told(report["evidence"]["top"], report["evidence"]["usual"]),
        "removed": len(removed),
        "recall": percent(hits, len(poisoned)),
        "precision": percent(hits, len(removed)) if poisoned else "",
        "seconds": round(sum(report["seconds"].values())),
    }


def told(top: Mapping[str, float] | None, usual: Mapping[str, float] | None) -> dict[str, str]:
    """The measures of the suspicious windows, then those of any window; empty where nothing was located."""
    groups = (("", top), (" of any window", usual))
    found = {f"{name}{of}": group[name] if group else "" for of, group in groups for name in LIMITS}
    return {name: f"{value:.3f}" if isinstance(value, float) else str(value) for name, value in found.items()}


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else ""


def collect(options: argparse.Namespace) -> None:
    """One line a scan; then how often each verdict was given."""
    folders = sorted(file.parent.parent for file in options.trial.glob("*/report/report.json"))
    if not folders:
        raise BenchError(f"no scan lies in {options.trial}: expected NAME/report/report.json there")
    rows = [{"scan": each.name, **scored(truth_of(each / "truth.tsv"), each / "report")} for each in folders]
    keep(options.output, rows)
    verdicts = Counter(f"{'with a trigger' if row['triggered'] else 'clean'}: {row['verdict']}" for row in rows)
    for verdict, count in sorted(verdicts.items()):
        say(f"{verdict}: {count}")


def runs(options: argparse.Namespace) -> None:
    """One line a search, which several records may share: what `bench scan` would say of it with its threat model."""
    rows: dict[str, dict[str, object]] = {}
    for record in options.records:
        pipeline, _ = reopened(record, options.store)
        if (name := title(pipeline)) in rows:
            continue
        config, data = pipeline.config, pipeline.dataset
        encoder = encoder_of(pipeline.folder(pipeline.threat), config, data.size, pipeline.machine)
        draws = config.seeds.child("scan")
        images, quiet = pipeline.poisoned_train, lambda done, total: None
        found = gather(images, encoder, pipeline.verdict, draws, quiet, picture=picture_of(images))
        if found.top is None or found.usual is None:
            raise BenchError(f"{record}: its defense locates nothing; expected a run with poisoncam or patchsearch")
        truth = pipeline.train_manifest.trigger
        of_each = " and ".join(str((truth[found.suspects] == number).sum()) for number in pipeline.triggers)
        shown = truth[found.suspects[found.alike]]  # what the largest group bears
        bearers, hits = (truth == shown[0]) & (truth >= 0), (truth == shown[0]) & found.holders & (truth >= 0)
        row = {"run": name, "images": len(data.train), "verdict": decide(found).finding.value}
        row |= {"suspects of each trigger": of_each, "one patch": str(len(set(shown)) == 1 and shown[0] >= 0)}
        row |= told(asdict(found.top), asdict(found.usual))
        row |= {"recall": percent(int(hits.sum()), int(bearers.sum()))}
        rows[name] = {**row, "precision": percent(int(hits.sum()), int(found.holders.sum()))}
        say(" ".join(map(str, rows[name].values())))
    keep(options.output, [rows[name] for name in sorted(rows)])


# --- twins ----------------------------------------------------------------------------------------


def twins(options: argparse.Namespace) -> None:
    """Different images that are taken for near-duplicates; and changed copies that are not."""
    rows: list[dict[str, object]] = []
    with zipfile.ZipFile(options.archive) as archive:
        files = by_class(archive)
        for seed in range(3):
            wanted = dict.fromkeys(files, options.images // len(files))
            draws = Seeds(seed, "twins")
            chosen = [file for _, file in pick(files, wanted, draws.child("images").numpy())]
            images = load(archive, chosen)
            rows.append(different(f"photographs, seed {seed}", images))
            drawn = (
                Scenes(size=32, train_per_class=options.images // 10, val_per_class=1, seed=seed).load().train.images
            )
            rows.append(different(f"scenes, seed {seed}", drawn.batch(range(len(drawn)))))
            if seed == 0:
                rows += [changed(images, how, draws.child(how).numpy()) for how in CHANGES]
    keep(options.output, rows)


def different(name: str, images: torch.Tensor) -> dict[str, object]:
    """Of N different images: how many are taken for another one."""
    count = len(images)
    joined = int((picture_of(ArrayImages(images.numpy())) != np.arange(count)).sum())
    return {"images": name, "pairs": count * (count - 1) // 2, "change": "", "taken for one picture": joined}


def changed(images: torch.Tensor, how: str, generator: np.random.Generator) -> dict[str, object]:
    """Of N images, each beside its changed copy: how many copies are taken for the image that they are of."""
    copies = [CHANGES[how](Image.fromarray(each.permute(1, 2, 0).numpy()), generator) for each in images]
    pixels = np.stack([np.asarray(copy.convert("RGB")).transpose(2, 0, 1) for copy in copies])
    picture = picture_of(ArrayImages(np.concatenate([images.numpy(), pixels])))
    found = int((picture[: len(images)] == picture[len(images) :]).sum())
    return {"images": "photographs, seed 0", "pairs": len(images), "change": how, "taken for one picture": found}


def compressed(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=50)
    return Image.open(file)


def noisy(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image) + generator.normal(0, 8, (image.height, image.width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


CHANGES: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "JPEG 50": compressed,
    "darker by a fifth": lambda image, _: image.point(lambda value: int(value * 0.8)),
    "noise, deviation 8 of 255": noisy,
    "scaled to 24 px and back": lambda image, _: image.resize((24, 24)).resize(image.size),
}


# --- all ------------------------------------------------------------------------------------------


def title(pipeline: Pipeline) -> str:
    """Attack, targets, images with a trigger, defense, seed."""
    config, classes = pipeline.config, pipeline.dataset.classes
    targets = " and ".join(classes[target] for target in config.attack.targets(classes))
    count = pipeline.train_manifest.poisoned.sum()
    return f"{config.attack.name} ({targets}), {count} triggered, {config.defense.name}, seed {config.seed}"


def keep(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """As CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    making = commands.add_parser("make", help="a folder to scan, and its truth")
    making.add_argument("archive", type=Path, metavar="ZIP")
    making.add_argument("out", type=Path)
    making.add_argument("--images", type=int, default=5000)
    making.add_argument("--poisoned", type=int, default=250, help="with the trigger; 0: a clean folder")
    making.add_argument("--target", default="automobile", help="the class that bears it")
    making.add_argument("--of-target", type=int, help="images of that class; an equal share of all")
    making.add_argument("--trigger-seed", type=int, default=1)
    making.add_argument("--trigger-size", type=float, default=10, help="px")
    making.add_argument("--seed", type=int, default=0, help="draws images, places and names")
    making.set_defaults(run=make)
    collecting = commands.add_parser("collect", help="all scans of a trial, as CSV")
    collecting.add_argument("trial", type=Path, help="holds a folder for each scan, with truth.tsv and report/")
    collecting.set_defaults(run=collect)
    measuring = commands.add_parser("runs", help="the measures of a scan on finished runs, as CSV")
    measuring.add_argument("records", type=Path, nargs="+")
    measuring.add_argument("--store", type=Path, help="where the runs' stages lie")
    measuring.set_defaults(run=runs)
    pairing = commands.add_parser("twins", help="which images are taken for near-duplicates, as CSV")
    pairing.add_argument("archive", type=Path, metavar="ZIP")
    pairing.add_argument("--images", type=int, default=1000)
    pairing.set_defaults(run=twins)
    for command in (collecting, measuring, pairing):
        command.add_argument("-o", "--output", type=Path, required=True)
    return parser.parse_args(words)


if __name__ == "__main__":
    chosen = arguments()
    try:
        chosen.run(chosen)
    except BenchError as error:
        sys.exit(f"scan_trial: {error}")
