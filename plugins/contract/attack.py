"""The contract of an attack, property by property, on toy data."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import torch
from torch import Tensor

from bench.api import Attack, Poison, SplitInfo
from bench.errors import BenchError
from bench.seeds import Seeds

from .kit import Check, Trial, Violation, check, check_global_state, require
from .toys import Toy

RATES = (0.1, 0.5, 1.0)


class AttackTrial(Trial[Attack]):
    """An attack on a toy training set and a toy validation set."""

    kind = "attack"

    def __init__(self, plugin: Attack, toy: Toy | None = None) -> None:
        super().__init__(plugin)
        self.toy = toy or Toy()
        self.scene = self.toy.scene()
        self.pixels: Tensor = self.toy.split().images.batch(range(self.toy.count))

    def targets(self) -> tuple[int, ...]:
        """The targets on the toy classes."""
        found: tuple[int, ...] = self.once("targets", lambda: self.plugin.targets(self.scene.classes), "targets()")
        return found

    def train(self, seed: int = 0, run: int = 0, attack: Attack | None = None) -> list[Poison]:
        """The training rows under a root seed; `run` numbers repetitions."""
        made = attack or self.plugin
        key = ("train", seed, run, repr(made))
        rows: list[Poison] = self.once(key, lambda: made.poison_train(self.scene, Seeds(seed)), "poison_train()")
        return rows

    def val(self, trigger: int, run: int = 0) -> list[Poison]:
        """The validation rows of a trigger."""
        key = ("val", trigger, run)
        call = "poison_val()"
        rows: list[Poison] = self.once(key, lambda: self.plugin.poison_val(trigger, self.scene, Seeds(0, "val")), call)
        return rows

    def apply(self, rows: list[Poison], images: Tensor | None = None, run: int = 0) -> Tensor:
        """`apply` on the images of `rows`; on `images` as they are where given."""
        key = ("apply", tuple(rows), run, id(images))
        given = self.pixels[[row.index for row in rows]] if images is None else images
        done: Tensor = self.once(key, lambda: self.plugin.apply(given, rows), "apply()")
        return done


@check("return one class index below len(classes) for each trigger, at least one")
def check_targets(trial: AttackTrial) -> None:
    """Every trigger has a target class that exists."""
    targets = trial.targets()
    require(
        isinstance(targets, tuple) and targets,
        f"targets() gave {targets!r}, expected a tuple of class indices",
    )
    for target in targets:
        valid = isinstance(target, int) and 0 <= target < len(trial.scene.classes)
        require(valid, f"target {target!r} is not one of 0 to {len(trial.scene.classes) - 1}")


@check("sort the rows by index, give each image at most one, and name an existing trigger with its own target")
def check_train_rows(trial: AttackTrial) -> None:
    """Training rows are sorted, unique and in range; each names a trigger and that trigger's target."""
    rows = trial.train()
    require(rows, "poison_train() gave no row")
    _require_rows(rows, trial)
    indices = [row.index for row in rows]
    require(indices == sorted(set(indices)), f"the indices are not increasing: {indices[:10]} ...")


@check("return exactly one row for each image, in order, all with the trigger that was asked for")
def check_val_rows(trial: AttackTrial) -> None:
    """There is one validation row for each image, in order, with the trigger that was asked for."""
    for trigger in range(len(trial.targets())):
        rows = trial.val(trigger)
        _require_rows(rows, trial)
        require([row.index for row in rows] == list(range(trial.toy.count)), "rows are not 0, 1, 2 ... in order")
        require({row.trigger for row in rows} == {trigger}, f"asked for trigger {trigger}, got others")


def _require_rows(rows: list[Poison], trial: AttackTrial) -> None:
    for row in rows:
        require(isinstance(row, Poison), f"{row!r} is not a bench.Poison")
        _require_row(row, trial)


def _require_row(row: Poison, trial: AttackTrial) -> None:
    try:
        json.dumps(dataclasses.asdict(row))
    except TypeError as error:
        raise Violation(f"{row} is not JSON: {error}", "convert NumPy numbers with int()") from None
    targets = trial.targets()
    require(0 <= row.index < trial.toy.count, f"{row}: no such image, they are 0 to {trial.toy.count - 1}")
    require(0 <= row.trigger < len(targets), f"{row}: no such trigger, there are {len(targets)}")
    require(row.target == targets[row.trigger], f"{row}: the target of this trigger is {targets[row.trigger]}")
    require(0 <= row.seed < 2**63, f"{row}: the seed is not in [0, 2**63)")
    if row.box is not None:
        top, left, height, width = row.box
        inside = top >= 0 and left >= 0 and top + height <= trial.toy.size and left + width <= trial.toy.size
        require(inside and height > 0 and width > 0, f"{row}: the box is not inside {trial.toy.size} px images")


@check("poison round(rate * class size) images, at least 1, of each target class")
def check_rate(trial: AttackTrial) -> str | None:
    """The number of poisoned images is the rate's share of the target class, to within one image."""
    if "rate" not in {field.name for field in dataclasses.fields(trial.plugin)}:  # type: ignore[arg-type]
        return "it has no option `rate`"
    for rate in (*RATES, trial.plugin.rate):  # type: ignore[attr-defined]
        rows = trial.train(attack=dataclasses.replace(trial.plugin, rate=rate))  # type: ignore[type-var]
        for trigger, target in enumerate(trial.targets()):
            got = sum(row.trigger == trigger for row in rows)
            members = int((trial.scene.labels == target).sum())
            require(
                abs(got - rate * members) <= 1,
                f"rate {rate}: {got} of {members} images for trigger {trigger}",
            )
    return None


@check("write to a clone of the images, and never to scene.labels")
def check_input_kept(trial: AttackTrial) -> None:
    """Neither images nor labels that are handed over change, and the result shares no memory with them."""
    clean, rows = trial.pixels.clone(), trial.val(0)
    done = trial.apply(rows, trial.pixels)
    require(torch.equal(clean, trial.pixels), "apply() wrote to the images that it was given")
    require(
        done.untyped_storage().data_ptr() != trial.pixels.untyped_storage().data_ptr(),
        "apply() gave its input",
    )
    require((trial.scene.labels == trial.toy.scene().labels).all(), "the labels were changed")


@check("return a uint8 tensor of the shape of the input, changed on every image that has a row")
def check_applied(trial: AttackTrial) -> None:
    """Every row changes its image; shape and dtype stay."""
    rows = trial.train()
    before, after = trial.pixels[[row.index for row in rows]], trial.apply(rows)
    require(
        after.shape == before.shape,
        f"apply() gave shape {tuple(after.shape)}, expected {tuple(before.shape)}",
    )
    require(after.dtype == torch.uint8, f"apply() gave {after.dtype}, expected uint8")
    same = [row.index for row, a, b in zip(rows, before, after, strict=True) if torch.equal(a, b)]
    require(not same, f"{len(same)} of {len(rows)} images are unchanged, among them {same[:5]}")


@check("change pixels inside the row's box only, or give box=None for a trigger that is everywhere")
def check_inside_box(trial: AttackTrial) -> str | None:
    """Nothing outside the box changes."""
    rows = trial.train()
    if all(row.box is None for row in rows):
        return "it gives no boxes"
    before, after = trial.pixels[[row.index for row in rows]], trial.apply(rows)
    for row, old, new in zip(rows, before, after, strict=True):
        if row.box is not None:
            top, left, height, width = row.box
            changed = (old != new).any(0)
            changed[top : top + height, left : left + width] = False
            require(not changed.any(), f"{row}: {int(changed.sum())} pixels outside the box changed")
    return None


@check("let row i decide what happens to image i: nothing may depend on the rest of the batch")
def check_row_by_row(trial: AttackTrial) -> None:
    """Each image depends on its own row only, and an image without a row stays as it is."""
    rows = trial.train()
    together = trial.apply(rows)
    backwards = trial.apply(rows[::-1]).flip(0)
    require(torch.equal(together, backwards), "the same rows in another order give other images")
    for row, image in list(zip(rows, together, strict=True))[:5]:
        alone = trial.apply([row])[0]
        require(torch.equal(alone, image), f"alone, image {row.index} comes out differently")
    require(len(trial.apply([])) == 0, "no rows should give no images")


@check("draw everything from the seeds that are handed over")
def check_same_seed(trial: AttackTrial) -> None:
    """The same seed gives the same rows and the same bytes."""
    require(trial.train() == trial.train(run=1), "poison_train() gave other rows for the same seed")
    require(trial.val(0) == trial.val(0, run=1), "poison_val() gave other rows for the same seed")
    rows = trial.train()
    require(
        torch.equal(trial.apply(rows), trial.apply(rows, run=1)),
        "apply() gave other pixels for the same rows",
    )


@check("draw the choice and the places of the poisoned images from the seeds that are handed over")
def check_other_seed(trial: AttackTrial) -> None:
    """Another seed gives other rows."""
    require(trial.train(seed=0) != trial.train(seed=1), "poison_train() gave the same rows for seeds 0 and 1")


@check("raise bench.BenchError saying which class it was, and what to do")
def check_empty_class(trial: AttackTrial) -> None:
    """A target class without images is refused with BenchError."""
    targets = trial.targets()
    scene = trial.scene
    labels = scene.labels[~torch.isin(torch.from_numpy(scene.labels), torch.tensor(targets)).numpy()]
    empty = SplitInfo(labels=labels, classes=scene.classes, size=scene.size)
    try:
        rows: Any = trial.plugin.poison_train(empty, Seeds(0))
    except BenchError:
        return
    except Exception as error:
        raise Violation(f"it raised {type(error).__name__}, expected BenchError") from error
    raise Violation(f"it gave {len(rows)} rows, expected BenchError")


CHECKS: tuple[Check[Any], ...] = (
    check_targets,
    check_train_rows,
    check_val_rows,
    check_rate,
    check_input_kept,
    check_applied,
    check_inside_box,
    check_row_by_row,
    check_same_seed,
    check_other_seed,
    check_empty_class,
    check_global_state,
)
