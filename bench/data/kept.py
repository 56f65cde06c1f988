"""The sound images of a split, gathered one by one, and what is wrong with a set of them: refused, or said."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.errors import BenchError

from .checked import Checked
from .decode import DARK, DEEP

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """The sound images of one split: ids, class indices, SHA-256 of the files; why the others cannot be read; and the
    number of each kind of `Checked.depth`."""

    ids: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    depths: dict[str, int] = field(default_factory=dict)

    def add(self, image_id: str, label: int, result: Checked) -> bool:
        """Take in one image; whether it is sound."""
        if result.fault:
            self.faults[image_id] = result.fault
            return False
        self.ids.append(image_id)
        self.labels.append(label)
        self.digests.append(bytes.fromhex(result.digest))
        self.depths[result.depth] = self.depths.get(result.depth, 0) + 1
        return True


def examine(train: Kept, val: Kept, classes: Sequence[str], on_bad: str, place: str) -> None:
    """Raise BenchError where images cannot be read and `on_bad` is "refuse", or a class has none; warn of why
    images are left out, of pictures in two classes, and of 16-bit images that come out black."""
    faults = {**train.faults, **val.faults}
    if faults and on_bad == "refuse":
        raise BenchError(
            f"{len(faults)} of the images {place} cannot be read:\n  {_some(faults, 10)}\n"
            "Repair or remove them, or leave them out with --set dataset.on_bad=skip."
        )
    for split, part in (("training", train), ("validation", val)):
        present = set(part.labels)
        empty = [name for label, name in enumerate(classes) if label not in present]
        if empty:
            raise BenchError(
                f"The class {empty[0]!r} has no readable {split} image. Repair its files or leave the class out:"
                f"\n  {_some(part.faults, 3)}"
            )
    if faults:
        reasons = Counter(faults.values()).most_common(5)
        log.warning("images %s that cannot be read: %s", place, ", ".join(f"{many} ({why})" for why, many in reasons))
    _warn_of_doubles(train, val, classes, place)
    _warn_of_the_dark(train, val, place)


def _warn_of_doubles(train: Kept, val: Kept, classes: Sequence[str], place: str) -> None:
    """Name pictures, the same byte for byte, that stand under two labels."""
    ids, digests = [*train.ids, *val.ids], [*train.digests, *val.digests]
    labels = np.array([*train.labels, *val.labels], np.int64)
    starts = np.frombuffer(b"".join(digests), "<u8")[::4]  # a quarter of each digest tells two apart
    order = np.argsort(starts, kind="stable")
    one, two = order[:-1], order[1:]
    pairs = np.flatnonzero((starts[one] == starts[two]) & (labels[one] != labels[two]))
    if len(pairs):
        names = [f"{ids[i]} ({classes[labels[i]]})" for pair in pairs[:3] for i in (one[pair], two[pair])]
        said = "\n  ".join(f"{first} = {second}" for first, second in zip(names[::2], names[1::2], strict=True))
        count = len(np.unique(starts[one[pairs]]))
        log.warning("%d pictures %s stand in two classes:\n  %s", count, place, said)


def _warn_of_the_dark(train: Kept, val: Kept, place: str) -> None:
    dark, deep = (train.depths.get(depth, 0) + val.depths.get(depth, 0) for depth in (DARK, DEEP))
    if dark > deep:
        log.warning(
            "%d of the %d 16-bit images %s use only the lowest 12 bits or fewer, and come out black: values are scaled "
            "as if they went up to 65535. Multiply them first (12-bit data: by 16).",
            dark,
            dark + deep,
            place,
        )


def _some(faults: Mapping[str, str], most: int) -> str:
    """The first of them, one a line, and how many more there are."""
    lines = [f"{image_id}: {fault}" for image_id, fault in faults.items()]
    if len(lines) > most:
        lines[most:] = [f"and {len(lines) - most} more"]
    return "\n  ".join(lines)
