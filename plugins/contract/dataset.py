"""The contract of a dataset, property by property, on the dataset itself: it is loaded twice, some images are read."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch

from bench.api import Dataset, DatasetPlugin, Images, Split

from .kit import Check, Trial, check, check_global_state, require

READ = 8
"""Images of each split that are read, evenly over it."""


class DatasetTrial(Trial[DatasetPlugin]):
    """A dataset with the options that it was given: there is no toy to stand in for its files."""

    kind = "dataset"

    def data(self, run: str = "first") -> Dataset:
        """What load() gives."""
        found: Dataset = self.once(run, self.plugin.load, f"load() ({run} time)")
        require(isinstance(found, Dataset), f"load() gave {type(found).__name__}, expected bench.Dataset")
        return found

    def splits(self) -> list[tuple[str, Split]]:
        """The splits by their names; of each, images, labels and ids are equally many, at least one."""
        data = self.data()
        found = [("train", data.train), ("val", data.val)]
        self.once("lengths", lambda: _require_lengths(found), "the lengths of the splits")
        return found

    def batch(self, name: str, images: Images, rows: list[int], run: int = 0) -> torch.Tensor:
        """images.batch(rows), once for each `run`."""
        key = (name, tuple(rows), run)
        found: torch.Tensor = self.once(key, lambda: images.batch(rows), f"{name}.images.batch({rows})")
        return found


def _require_lengths(splits: list[tuple[str, Split]]) -> None:
    for name, split in splits:
        counts = len(split.images), len(split.labels), len(split.ids)
        require(len(set(counts)) == 1, f"{name}: {counts[0]} images, {counts[1]} labels, {counts[2]} ids")
        require(counts[0] > 0, f"{name}: there are no images")


def rows_of(images: Images) -> list[int]:
    """Up to READ indices evenly over `images`, the last one first."""
    return sorted({int(row) for row in np.linspace(0, len(images) - 1, READ)}, reverse=True)


@check("load() raises BenchError where data is missing: give the options with which it loads (--set OPTION=VALUE)")
def check_loads(trial: DatasetTrial) -> None:
    """It loads, and gives a bench.Dataset with images in both splits."""
    trial.splits()


@check("name at least two classes, each once")
def check_classes(trial: DatasetTrial) -> None:
    """Its classes are a tuple of different names."""
    names = trial.data().classes
    right = isinstance(names, tuple) and all(isinstance(name, str) and name for name in names)
    require(right, f"classes is {names!r}, expected a tuple of names")
    require(len(set(names)) == len(names) >= 2, f"there are {len(set(names))} different names in {len(names)} classes")


@check("return labels as a NumPy array of int64 (N,), class indices from 0 to len(classes) - 1")
def check_labels(trial: DatasetTrial) -> None:
    """Labels are int64 (N,), each the index of a class."""
    count = len(trial.data().classes)
    for name, split in trial.splits():
        labels = split.labels
        right = isinstance(labels, np.ndarray) and labels.dtype == np.int64 and labels.shape == (len(split),)
        got = f"{getattr(labels, 'dtype', type(labels).__name__)} {np.shape(labels)}"
        require(right, f"{name}: labels are {got}, expected int64 ({len(split)},)")
        bad = labels[(labels < 0) | (labels >= count)]
        require(not len(bad), f"{name}: label {bad[:1]} is not one of 0 to {count - 1}")


@check("give every image of a split an id of its own, a str that is the same on every machine")
def check_ids(trial: DatasetTrial) -> None:
    """Ids are strings, no two of a split alike."""
    for name, split in trial.splits():
        ids = list(split.ids)
        require(all(isinstance(one, str) and one for one in ids), f"{name}: an id is no str or is empty")
        require(len(set(ids)) == len(ids), f"{name}: {len(ids) - len(set(ids))} ids stand for several images")


@check("return a new uint8 tensor (B, 3, size, size) on the CPU, image i of it the one at indices[i]; set images.size")
def check_batch(trial: DatasetTrial) -> None:
    """`batch` gives the images asked for in that order: uint8 (B, 3, size, size), both splits of one size."""
    size = trial.data().size
    for name, split in trial.splits():
        rows = rows_of(split.images)
        got = trial.batch(name, split.images, rows)
        require(isinstance(got, torch.Tensor), f"{name}: batch() gave {type(got).__name__}, expected a tensor")
        shape = (len(rows), 3, size, size)
        right = got.dtype == torch.uint8 and tuple(got.shape) == shape and got.device.type == "cpu"
        require(right, f"{name}: batch() gave {got.dtype} {tuple(got.shape)}, expected torch.uint8 {shape} on the CPU")
        for row, image in zip(rows, got, strict=True):
            alone = trial.batch(name, split.images, [row])
            require(torch.equal(alone[0], image), f"{name}: image {row} is another alone than among others")


@check("return a copy: an attack writes to what batch() gives")
def check_ownership(trial: DatasetTrial) -> None:
    """What `batch` gives belongs to the caller: writing to it changes no image."""
    for name, split in trial.splits():
        rows = rows_of(split.images)
        before = trial.batch(name, split.images, rows).clone()
        mine = trial.batch(name, split.images, rows, run=1)
        mine.add_(1)
        changed = not torch.equal(before, trial.batch(name, split.images, rows, run=2))
        mine.copy_(before)  # the other checks are to see the images as they were
        require(not changed, f"{name}: an image changed when the tensor was written to")


@check("accept a NumPy array of indices as well as a list, an index twice, and none at all")
def check_indices(trial: DatasetTrial) -> None:
    """Indices may be a NumPy array, repeat, or be none."""
    for name, split in trial.splits():
        rows = rows_of(split.images)
        twice = np.array(rows[:1] * 2, dtype=np.int64)
        got = trial.once((name, "twice"), lambda s=split, r=twice: s.images.batch(r), f"{name}: batch(array)")  # type: ignore[misc]
        expected = trial.batch(name, split.images, rows[:1]).expand(2, -1, -1, -1)
        require(torch.equal(got, expected), f"{name}: one index given twice does not give its image twice")
        none = trial.once((name, "none"), lambda s=split: s.images.batch([]), f"{name}: batch([])")  # type: ignore[misc]
        require(tuple(none.shape) == (0, 3, split.images.size, split.images.size), f"{name}: batch([]) is not empty")


@check("make fingerprint a hex SHA-256 over classes, ids and image bytes; take nothing of time, place or chance in")
def check_fingerprint(trial: DatasetTrial) -> None:
    """The fingerprint is a SHA-256."""
    found = trial.data().fingerprint
    require(
        isinstance(found, str) and re.fullmatch("[0-9a-f]{64}", found),
        f"fingerprint is {found!r}, expected 64 hex digits",
    )


@check("let load() depend on the options and the files alone: no clock, no unsorted folder, no unseeded generator")
def check_same_again(trial: DatasetTrial) -> None:
    """Loaded a second time, it is the same: fingerprint, classes, labels, ids, images."""
    one, other = trial.data(), trial.data("second")
    require(one.fingerprint == other.fingerprint, f"fingerprints {one.fingerprint[:12]} and {other.fingerprint[:12]}")
    require(one.classes == other.classes, "other classes")
    for name, split in trial.splits():
        again = {"train": other.train, "val": other.val}[name]
        require(np.array_equal(split.labels, again.labels), f"{name}: other labels")
        require(list(split.ids) == list(again.ids), f"{name}: other ids")
        rows = rows_of(split.images)
        images = trial.batch(f"{name}, loaded again", again.images, rows)
        require(torch.equal(images, trial.batch(name, split.images, rows)), f"{name}: other images")


CHECKS: tuple[Check[Any], ...] = (
    check_loads,
    check_classes,
    check_labels,
    check_ids,
    check_batch,
    check_ownership,
    check_indices,
    check_fingerprint,
    check_same_again,
    check_global_state,
)
