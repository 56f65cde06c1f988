"""The first stage: decides which images are poisoned, and how."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from bench.api import Attack, Dataset, Poison, Split, SplitInfo
from bench.config.config import Config
from bench.data.images import Subset
from bench.data.manifest import Manifest
from bench.errors import BenchError, counted
from bench.plugins.identity import identity
from bench.store import ArtifactBuilder

from .stage import ProgressReport, Stage

log = logging.getLogger(__name__)


def poison_stage(config: Config, dataset: Dataset) -> Stage:
    """Decides which images are poisoned, and how: train.jsonl and val-<trigger>.jsonl."""

    def make(making: ArtifactBuilder, report: ProgressReport) -> None:
        seeds = config.seeds.child("attack")
        attack, classes = config.attack, dataset.classes
        rows = attack.poison_train(_info(dataset.train, dataset), seeds.child("train"))
        _check_rows(rows, dataset.train, attack.targets(classes), attack)
        Manifest(dataset.train.ids, rows).save(making.dir / "train.jsonl")
        for trigger in range(len(attack.targets(classes))):
            rows = attack.poison_val(trigger, _info(dataset.val, dataset), seeds.child("val", trigger))
            if len(rows) != len(dataset.val):
                raise BenchError(f"attack {attack.name!r} must trigger every validation image, it did {len(rows)}")
            Manifest(dataset.val.ids, rows).save(making.dir / f"val-{trigger}.jsonl")

    return Stage(
        name="poison",
        title="poison the images",
        config={"attack": identity(config.attack), "seed": config.seed, **_numbers(dataset)},
        inputs={"dataset": dataset.fingerprint},
        make=make,
        work=len(dataset.train),
    )


def check_attack(config: Config, dataset: Dataset) -> None:
    """Raises BenchError where the stage would: for classes, sizes and places that the images do not have."""
    attack, seeds = config.attack, config.seeds.child("attack")
    one = Split(images=Subset(dataset.val.images, np.arange(1)), labels=dataset.val.labels[:1], ids=dataset.val.ids[:1])
    try:
        rows = attack.poison_train(_info(dataset.train, dataset), seeds.child("train"))
        _check_rows(rows, dataset.train, attack.targets(dataset.classes), attack)
        for trigger in range(len(attack.targets(dataset.classes))):
            attack.poison_val(trigger, _info(one, dataset), seeds.child("val", trigger))
    except BenchError as error:
        raise BenchError(f"attack {attack.name!r} on {dataset.name!r}: {error}") from error
    except Exception:  # a plugin's own error: its stage shows the lines, and of a matrix the other cells go on
        log.debug("attack %r cannot be checked", attack.name, exc_info=True)


def _numbers(dataset: Dataset) -> dict[str, str]:
    """Where classes are called by numbers, that a target given as one is a name: it was once an index."""
    return {"numbers": "names"} if any(name.isdecimal() for name in dataset.classes) else {}


def _info(split: Split, dataset: Dataset) -> SplitInfo:
    return SplitInfo(
        labels=split.labels.copy(),
        classes=dataset.classes,
        size=dataset.size,
        original_size=split.images.original_size,
        mask=split.images.mask,
    )


def _check_rows(rows: Sequence[Poison], split: Split, targets: tuple[int, ...], attack: Attack) -> None:
    """What the harness holds an attack to: poisons of its own triggers, only on images of their target class."""
    if attack.poisons != bool(rows):
        many = counted(len(rows), "image")
        wrong = "poisoned no image; a larger attack.rate?" if attack.poisons else f"poisoned {many}"
        raise BenchError(f"attack {attack.name!r} {wrong}")
    for row in rows:
        if not 0 <= row.trigger < len(targets) or row.target != targets[row.trigger]:
            raise BenchError(
                f"attack {attack.name!r} names trigger {row.trigger} -> class {row.target}, not a pair of its"
            )
        if split.labels[row.index] != row.target:
            raise BenchError(f"attack {attack.name!r} poisoned image {row.index}, which is not of the target class")
