"""The first stage: decides which images are poisoned, and how."""

from __future__ import annotations

from collections.abc import Sequence

from bench.api import Dataset, Poison, Split, SplitInfo
from bench.config.config import Config
from bench.data.manifest import Manifest
from bench.errors import BenchError
from bench.plugins.identity import identity
from bench.store import ArtifactBuilder

from .stage import ProgressReport, Stage


def poison_stage(config: Config, dataset: Dataset) -> Stage:
    """Decides which images are poisoned, and how: train.jsonl and val-<trigger>.jsonl."""

    def make(making: ArtifactBuilder, report: ProgressReport) -> None:
        seeds = config.seeds.child("attack")
        attack, classes = config.attack, dataset.classes
        rows = attack.poison_train(_scene(dataset.train, dataset), seeds.child("train"))
        _check_rows(rows, dataset.train, attack.targets(classes), attack.name)
        Manifest(dataset.train.ids, rows).save(making.dir / "train.jsonl")
        for trigger in range(len(attack.targets(classes))):
            rows = attack.poison_val(trigger, _scene(dataset.val, dataset), seeds.child("val", trigger))
            if len(rows) != len(dataset.val):
                raise BenchError(f"attack {attack.name!r} must trigger every validation image, it did {len(rows)}")
            Manifest(dataset.val.ids, rows).save(making.dir / f"val-{trigger}.jsonl")

    return Stage(
        name="poison",
        title="poison the images",
        config={"attack": identity(config.attack), "seed": config.seed},
        inputs={"dataset": dataset.fingerprint},
        make=make,
        work=len(dataset.train),
    )


def _scene(split: Split, dataset: Dataset) -> SplitInfo:
    return SplitInfo(labels=split.labels.copy(), classes=dataset.classes, size=dataset.size)


def _check_rows(rows: Sequence[Poison], split: Split, targets: tuple[int, ...], attack: str) -> None:
    """What the harness holds an attack to: poisons of its own triggers, only on images of their target class."""
    if not rows:
        raise BenchError(f"attack {attack!r} poisoned no image; a larger attack.rate?")
    for row in rows:
        if not 0 <= row.trigger < len(targets) or row.target != targets[row.trigger]:
            raise BenchError(f"attack {attack!r} names trigger {row.trigger} -> class {row.target}, not a pair of its")
        if split.labels[row.index] != row.target:
            raise BenchError(f"attack {attack!r} poisoned image {row.index}, which is not of the target class")
