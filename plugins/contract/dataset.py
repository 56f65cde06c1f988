"""The contract of a dataset, property by property, on the dataset itself: it is loaded twice, some images are read."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch

from bench.api import Dataset, DatasetPlugin, Images, Split

from .kit import Trial, alike, check, require, require_array

READ = 8
"""Images of each split that are read, evenly over it."""


class DatasetTrial(Trial[DatasetPlugin]):
    """A dataset with the options that it was given: there is no toy to stand in for its files."""

    kind = "dataset"

    def data(self, run: str = "first") -> Dataset:
        """What load() gives."""
        found: Dataset = self.once(f"load() ({run} time)", self.plugin.load)
        require(isinstance(found, Dataset), f"load() gave {type(found).__name__}, expected bench.Dataset")
        return found

    def splits(self) -> list[tuple[str, Split]]:
        """The splits by their names; of each, images, labels and ids are equally many, at least one."""
        data = self.data()
        found = [("train", data.train), ("val", data.val)]
        self.once("the lengths of the splits", lambda: _require_lengths(found))
        return found

    def batch(self, name: str, images: Images, rows: Any, run: int = 0) -> torch.Tensor:
        """images.batch(rows), once for each `run`."""
        return self.once(f"{name}.images.batch({rows!r})", lambda: images.batch(rows), run)

    @check("load() raises BenchError where data is missing: give the options with which it loads (--set OPTION=VALUE)")
    def check_loads(self) -> None:
        """It loads, and gives a bench.Dataset with images in both splits."""
        self.splits()

    @check("name at least two classes, each once")
    def check_classes(self) -> None:
        """Its classes are a tuple of different names."""
        names = self.data().classes
        right = isinstance(names, tuple) and all(isinstance(name, str) and name for name in names)
        require(right, f"classes is {names!r}, expected a tuple of names")
        different = len(set(names))
        require(different == len(names) >= 2, f"there are {different} different names in {len(names)} classes")

    @check("return labels as a NumPy array of int64 (N,), class indices from 0 to len(classes) - 1")
    def check_labels(self) -> None:
        """Labels are int64 (N,), each the index of a class."""
        count = len(self.data().classes)
        for name, split in self.splits():
            require_array(f"{name}: labels", split.labels, "int64", (len(split),))
            bad = split.labels[(split.labels < 0) | (split.labels >= count)]
            require(not len(bad), f"{name}: label {bad[:1]} is not one of 0 to {count - 1}")

    @check("give every image of a split an id of its own, a str that is the same on every machine")
    def check_ids(self) -> None:
        """Ids are strings, no two of a split alike."""
        for name, split in self.splits():
            ids = list(split.ids)
            require(all(isinstance(one, str) and one for one in ids), f"{name}: an id is no str or is empty")
            require(len(set(ids)) == len(ids), f"{name}: {len(ids) - len(set(ids))} ids stand for several images")

    @check("return a new uint8 tensor (B, 3, size, size) on the CPU, image i the one at indices[i]; set images.size")
    def check_batch(self) -> None:
        """`batch` gives the requested images in that order: uint8 (B, 3, size, size), both splits of one size."""
        size = self.data().size
        for name, split in self.splits():
            rows = rows_of(split.images)
            got = self.batch(name, split.images, rows)
            require(isinstance(got, torch.Tensor), f"{name}: batch() gave {type(got).__name__}, expected a tensor")
            found, wanted = (
                f"{got.dtype} {tuple(got.shape)} {got.device}",
                f"torch.uint8 {(len(rows), 3, size, size)} cpu",
            )
            require(found == wanted, f"{name}: batch() gave {found}, expected {wanted}")
            for row, image in zip(rows, got, strict=True):
                alone = self.batch(name, split.images, [row])
                require(torch.equal(alone[0], image), f"{name}: image {row} is another alone than among others")

    @check("return a copy: an attack writes to what batch() gives")
    def check_ownership(self) -> None:
        """What `batch` gives belongs to the caller: writing to it changes no image."""
        for name, split in self.splits():
            rows = rows_of(split.images)
            before = self.batch(name, split.images, rows).clone()
            mine = self.batch(name, split.images, rows, run=1)
            mine.add_(1)
            changed = not torch.equal(before, self.batch(name, split.images, rows, run=2))
            mine.copy_(before)  # the other checks are to see the images as they were
            require(not changed, f"{name}: an image changed when the tensor was written to")

    @check("accept a NumPy array of indices as well as a list, an index twice, and none at all")
    def check_indices(self) -> None:
        """Indices may be a NumPy array, repeat, or be none."""
        for name, split in self.splits():
            rows, size = rows_of(split.images)[:1], split.images.size
            got = self.batch(name, split.images, np.array(rows * 2, dtype=np.int64))
            expected = self.batch(name, split.images, rows).expand(2, -1, -1, -1)
            require(torch.equal(got, expected), f"{name}: one index given twice does not give its image twice")
            none = self.batch(name, split.images, [])
            require(tuple(none.shape) == (0, 3, size, size), f"{name}: batch([]) is not empty")

    @check("make fingerprint a hex SHA-256 over classes, ids and image bytes; take nothing of time, place or chance in")
    def check_fingerprint(self) -> None:
        """The fingerprint is a SHA-256."""
        found = self.data().fingerprint
        right = isinstance(found, str) and re.fullmatch("[0-9a-f]{64}", found)
        require(right, f"fingerprint is {found!r}, expected 64 hex digits")

    @check("let load() depend on the options and the files alone: no clock, no unsorted folder, no unseeded generator")
    def check_same_again(self) -> None:
        """Loaded a second time, it is the same: fingerprint, classes, labels, ids, images."""
        one, other = self.data(), self.data("second")
        first, again = f"fingerprint {one.fingerprint[:12]}", f"fingerprint {other.fingerprint[:12]}"
        require(first == again, f"{first}, then {again}")
        require(one.classes == other.classes, "other classes")
        for (name, split), second in zip(self.splits(), (other.train, other.val), strict=True):
            rows = rows_of(split.images)
            images = self.batch(name, split.images, rows), self.batch(f"{name}, loaded again", second.images, rows)
            parts = {
                "labels": (split.labels, second.labels),
                "ids": (list(split.ids), list(second.ids)),
                "images": images,
            }
            for part, (before, after) in parts.items():
                require(alike(before, after), f"{name}: other {part}")


def _require_lengths(splits: list[tuple[str, Split]]) -> None:
    for name, split in splits:
        counts = len(split.images), len(split.labels), len(split.ids)
        require(len(set(counts)) == 1, f"{name}: {counts[0]} images, {counts[1]} labels, {counts[2]} ids")
        require(counts[0] > 0, f"{name}: there are no images")


def rows_of(images: Images) -> list[int]:
    """Up to READ indices evenly over `images`, the last one first."""
    return sorted({int(row) for row in np.linspace(0, len(images) - 1, READ)}, reverse=True)
