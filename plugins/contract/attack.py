"""The contract of an attack, property by property, on toy data."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.api import Attack, Poison, SplitInfo
from bench.errors import BenchError
from bench.seeds import Seeds

from .kit import Trial, Violation, check, require
from .toys import Toy

RATES = (0.1, 0.5, 1.0)


class AttackTrial(Trial[Attack]):
    """An attack on a toy training set and a toy validation set."""

    kind = "attack"

    def __init__(self, plugin: Attack) -> None:
        super().__init__(plugin)
        self.toy = Toy()
        self.info = self.toy.info()
        self.pixels: Tensor = self.toy.split().images.batch(range(self.toy.count))

    def targets(self) -> tuple[int, ...]:
        """The targets on the toy classes."""
        return self.once("targets()", lambda: self.plugin.targets(self.info.classes))

    def train(self, seed: int = 0, run: int = 0, attack: Attack | None = None) -> list[Poison]:
        """The training rows under a root seed; `run` numbers repetitions."""
        made = attack or self.plugin
        return self.once("poison_train()", lambda: made.poison_train(self.info, Seeds(seed)), seed, run, repr(made))

    def val(self, trigger: int, run: int = 0) -> list[Poison]:
        """The validation rows of a trigger."""
        seeds = Seeds(0, "val")
        return self.once("poison_val()", lambda: self.plugin.poison_val(trigger, self.info, seeds), trigger, run)

    def rows(self) -> list[Poison]:
        """Rows to apply: the training rows, or the validation rows of an attack that poisons nothing or composes."""
        return self.train() if self.plugin.poisons and not self.plugin.composes else self.val(0)

    def apply(self, rows: list[Poison], images: Tensor | None = None, run: int = 0) -> Tensor:
        """`apply` on the images of `rows`; on `images` as they are where given."""
        given = self.before(rows) if images is None else images
        return self.once("apply()", lambda: self.plugin.apply(given, rows), tuple(rows), run, id(images))

    def before(self, rows: list[Poison]) -> Tensor:
        """The clean images of `rows`."""
        return self.pixels[[row.index for row in rows]]

    @check("return one class index below len(classes) for each trigger, at least one")
    def check_targets(self) -> None:
        """Every trigger has a target class that exists."""
        targets = self.targets()
        require(
            isinstance(targets, tuple) and targets, f"targets() gave {targets!r}, expected a tuple of class indices"
        )
        for target in targets:
            valid = isinstance(target, int) and 0 <= target < len(self.info.classes)
            require(valid, f"target {target!r} is not one of 0 to {len(self.info.classes) - 1}")

    @check("sort the rows by index, give each image at most one, and name an existing trigger with its own target")
    def check_train_rows(self) -> None:
        """Training rows are sorted, unique and in range; each names a trigger and that trigger's target."""
        rows = self.train()
        expected = "rows" if self.plugin.poisons else "none, since it declares poisons = False"
        require(bool(rows) == self.plugin.poisons, f"poison_train() gave {len(rows)} rows, expected {expected}")
        self._require_rows(rows)
        indices = [row.index for row in rows]
        require(indices == sorted(set(indices)), f"the indices are not increasing: {indices[:10]} ...")

    @check("return exactly one row for each image, in order, all with the requested trigger")
    def check_val_rows(self) -> None:
        """There is one validation row for each image, in order, with the requested trigger."""
        for trigger in range(len(self.targets())):
            rows = self.val(trigger)
            self._require_rows(rows)
            require([row.index for row in rows] == list(range(self.toy.count)), "rows are not 0, 1, 2 ... in order")
            require({row.trigger for row in rows} == {trigger}, f"asked for trigger {trigger}, got others")

    def _require_rows(self, rows: list[Poison]) -> None:
        targets, size = self.targets(), self.toy.size
        for row in rows:
            require(isinstance(row, Poison), f"{row!r} is not a bench.Poison")
            try:
                json.dumps(dataclasses.asdict(row))
            except TypeError as error:
                raise Violation(f"{row} is not JSON: {error}", "convert NumPy numbers with int()") from None
            require(0 <= row.index < self.toy.count, f"{row}: no such image, they are 0 to {self.toy.count - 1}")
            require(0 <= row.trigger < len(targets), f"{row}: no such trigger, there are {len(targets)}")
            require(row.target == targets[row.trigger], f"{row}: the target of this trigger is {targets[row.trigger]}")
            require(0 <= row.seed < 2**63, f"{row}: the seed is not in [0, 2**63)")
            if row.box is not None:
                top, left, height, width = row.box
                inside = min(top, left) >= 0 < min(height, width) and max(top + height, left + width) <= size
                require(inside, f"{row}: the box is not inside {size} px images")

    @check("poison round(rate * class size) images, at least 1, of each target class")
    def check_rate(self) -> str | None:
        """The number of poisoned images is the rate's share of the target class, to within one image."""
        plugin: Any = self.plugin
        if "rate" not in {field.name for field in dataclasses.fields(plugin)}:
            return "it has no option `rate`"
        if not plugin.poisons:
            return "it poisons nothing"
        for rate in (*RATES, plugin.rate):
            rows = self.train(attack=dataclasses.replace(plugin, rate=rate))
            for trigger, target in enumerate(self.targets()):
                got = sum(row.trigger == trigger for row in rows)
                members = int((self.info.labels == target).sum())
                close = abs(got - rate * members) <= 1
                require(close, f"rate {rate}: {got} of {members} images for trigger {trigger}")
        return None

    @check("write to a clone of the images, and never to split.labels")
    def check_input_kept(self) -> None:
        """Neither images nor labels that are handed over change, and the result shares no memory with them."""
        clean, rows = self.pixels.clone(), self.val(0)
        done = self.apply(rows, self.pixels)
        require(torch.equal(clean, self.pixels), "apply() wrote to the images that it was given")
        own = done.untyped_storage().data_ptr() != self.pixels.untyped_storage().data_ptr()
        require(own, "apply() gave its input")
        require((self.info.labels == self.toy.info().labels).all(), "the labels were changed")

    @check("return a uint8 tensor of the shape of the input, changed on every image that has a row")
    def check_applied(self) -> None:
        """Every row changes its image; shape and dtype stay."""
        rows = self.rows()
        before, after = self.before(rows), self.apply(rows)
        right = after.shape == before.shape and after.dtype == torch.uint8
        require(right, f"apply() gave {after.dtype} {tuple(after.shape)}, expected torch.uint8 {tuple(before.shape)}")
        same = [row.index for row, a, b in zip(rows, before, after, strict=True) if torch.equal(a, b)]
        require(not same, f"{len(same)} of {len(rows)} images are unchanged, among them {same[:5]}")

    @check(
        "change pixels inside the row's box only, or declare `recompresses`, or give box=None for a trigger everywhere"
    )
    def check_inside_box(self) -> str | None:
        """Nothing outside the box changes, unless the whole image is compressed again."""
        rows = self.rows()
        if self.plugin.recompresses:
            return "it compresses the whole image"
        if all(row.box is None for row in rows):
            return "it gives no boxes"
        for row, old, new in zip(rows, self.before(rows), self.apply(rows), strict=True):
            if row.box is not None:
                top, left, height, width = row.box
                changed = (old != new).any(0)
                changed[top : top + height, left : left + width] = False
                require(not changed.any(), f"{row}: {int(changed.sum())} pixels outside the box changed")
        return None

    @check("make a new uint8 (3, S, S) from the row and the split alone, and write to no image of it")
    def check_composed(self) -> str | None:
        """What compose() makes is a new image, the same each time, and the split stays as it is."""
        if not self.plugin.composes:
            return "it composes nothing"
        split, rows = self.toy.split(), self.train()[:5]
        for row, clean in zip(rows, self.before(rows), strict=True):
            make = partial(self.plugin.compose, row, split)
            one, two = (self.once("compose()", make, row, run) for run in (0, 1))
            right = one.shape == clean.shape and one.dtype == torch.uint8
            require(right, f"compose() gave {one.dtype} {tuple(one.shape)}, expected torch.uint8 {tuple(clean.shape)}")
            require(not torch.equal(one, clean), f"{row}: the image is unchanged")
            require(torch.equal(one, two), f"{row}: compose() gave another image the second time")
        kept = split.images.batch(range(self.toy.count))
        require(torch.equal(kept, self.pixels), "compose() wrote to the images of the split")
        return None

    @check("let row i decide what happens to image i: nothing may depend on the rest of the batch")
    def check_row_by_row(self) -> None:
        """Each image depends on its own row only, and an image without a row stays as it is."""
        rows = self.rows()
        together = self.apply(rows)
        backwards = self.apply(rows[::-1]).flip(0)
        require(torch.equal(together, backwards), "the same rows in another order give other images")
        for row, image in list(zip(rows, together, strict=True))[:5]:
            alone = self.apply([row])[0]
            require(torch.equal(alone, image), f"alone, image {row.index} comes out differently")
        require(len(self.apply([])) == 0, "no rows should give no images")

    @check("draw everything from the seeds that are handed over")
    def check_same_seed(self) -> None:
        """The same seed gives the same rows and the same bytes."""
        require(self.train() == self.train(run=1), "poison_train() gave other rows for the same seed")
        require(self.val(0) == self.val(0, run=1), "poison_val() gave other rows for the same seed")
        rows = self.train()
        rows = self.rows()
        require(torch.equal(self.apply(rows), self.apply(rows, run=1)), "apply() gave other pixels for the same rows")

    @check("draw the choice and the places of the poisoned images from the seeds that are handed over")
    def check_other_seed(self) -> None:
        """Another seed gives other rows."""
        other = self.train(seed=0) != self.train(seed=1) or not self.plugin.poisons
        require(other, "poison_train() gave the same rows for seeds 0 and 1")

    @check("raise bench.BenchError saying which class it was, and what to do")
    def check_empty_class(self) -> None:
        """A target class without images is refused with BenchError."""
        targets = torch.tensor(self.targets())
        labels = self.info.labels[~torch.isin(torch.from_numpy(self.info.labels), targets).numpy()]
        empty = SplitInfo(labels=labels, classes=self.info.classes, size=self.info.size)
        try:
            rows: Any = self.plugin.poison_train(empty, Seeds(0))
        except BenchError:
            return
        except (Exception, SystemExit) as error:
            raise Violation(f"it raised {type(error).__name__}, expected BenchError") from error
        raise Violation(f"it gave {len(rows)} rows, expected BenchError")
