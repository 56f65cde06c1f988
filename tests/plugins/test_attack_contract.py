"""The kit must catch each kind of bad attack, by the check of that name and, where possible, by no other."""

import dataclasses
import random
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
import torch

from bench import Attack, BenchError, Poison
from bench.plugins.contract.checks import CHECKS, assert_contract, contract, run_checks


@dataclass(frozen=True, kw_only=True)
class Dot(Attack):
    """Turns one square of 3 px of class 0 to its negative."""

    name: ClassVar[str] = "dot"
    rate: float = 0.5

    def targets(self, classes):
        return (0,)

    def poison_train(self, scene, seeds):
        members = np.flatnonzero(scene.labels == 0)
        if not len(members):
            raise BenchError("class 0 has no images")
        count = max(1, round(self.rate * len(members)))
        chosen = seeds.child("choose").numpy().permutation(members)[:count]
        return [self._row(int(index), scene, seeds) for index in sorted(chosen)]

    def poison_val(self, trigger, scene, seeds):
        return [self._row(index, scene, seeds) for index in range(len(scene.labels))]

    def _row(self, index, scene, seeds):
        seed = seeds.child(index).value
        return Poison(index=index, trigger=0, target=0, box=(seed % (scene.size - 2), 2, 3, 3), seed=seed)

    def apply(self, images, poisons):
        done = images.clone()
        for image, row in zip(done, poisons, strict=True):
            top, left, height, width = row.box
            image[:, top : top + height, left : left + width] ^= 255
        return done


class Bad(Dot):
    """Base of the mutants: each breaks one promise."""

    broken: ClassVar[set[str]]


def mutant(*broken):
    def decorate(cls):
        made = dataclass(frozen=True, kw_only=True)(cls)
        made.broken = set(broken)
        MUTANTS.append(made)
        return made

    return decorate


MUTANTS = []


@mutant("targets", "train_rows", "val_rows", "rate", "empty_class")
class NoSuchTarget(Bad):
    """Target 99."""

    def targets(self, classes):
        return (99,)


@mutant("train_rows")
class Unsorted(Bad):
    """Rows backwards."""

    def poison_train(self, scene, seeds):
        return super().poison_train(scene, seeds)[::-1]


@mutant("train_rows", "rate")
class Doubled(Bad):
    """Each row twice."""

    def poison_train(self, scene, seeds):
        return sorted(super().poison_train(scene, seeds) * 2, key=lambda row: row.index)


@mutant("train_rows")
class NumpyRows(Bad):
    """NumPy integers in rows."""

    def poison_train(self, scene, seeds):
        return [dataclasses.replace(row, index=np.int64(row.index)) for row in super().poison_train(scene, seeds)]


@mutant("train_rows", "val_rows")
class OffTheEdge(Bad):
    """Boxes that leave the image."""

    def _row(self, index, scene, seeds):
        return dataclasses.replace(super()._row(index, scene, seeds), box=(22, 2, 3, 3))


@mutant("val_rows", "input_kept")
class SomeOnly(Bad):
    """Leaves validation images out."""

    def poison_val(self, trigger, scene, seeds):
        return super().poison_val(trigger, scene, seeds)[1:]


@mutant("rate")
class TooMany(Bad):
    """Poisons the whole class at any rate."""

    def poison_train(self, scene, seeds):
        return dataclasses.replace(Dot(), rate=1.0).poison_train(scene, seeds)


@mutant("input_kept")
class InPlace(Bad):
    """Writes to the images it was given."""

    def apply(self, images, poisons):
        for image, row in zip(images, poisons, strict=True):
            top, left, height, width = row.box
            image[:, top : top + height, left : left + width] ^= 255
        return images


@mutant("input_kept")
class LabelFlipper(Bad):
    """Changes a label."""

    def poison_val(self, trigger, scene, seeds):
        scene.labels[-1] = 3
        return super().poison_val(trigger, scene, seeds)


@mutant("applied")
class DoesNothing(Bad):
    """Changes no pixel."""

    def apply(self, images, poisons):
        return images.clone()


@mutant("applied")
class FloatImages(Bad):
    """Gives floats."""

    def apply(self, images, poisons):
        return super().apply(images, poisons).float()


@mutant("inside_box")
class Spill(Bad):
    """Changes a pixel outside the box."""

    def apply(self, images, poisons):
        done = super().apply(images, poisons)
        done[:, :, 0, -1] ^= 255
        return done


@mutant("row_by_row")
class BatchMean(Bad):
    """What happens to an image depends on the first of its batch."""

    def apply(self, images, poisons):
        done = super().apply(images, poisons)
        for image, row in zip(done, poisons, strict=True):
            top, left, height, width = row.box
            image[:, top : top + height, left : left + width] ^= int(images[0, 0, 0, 0]) & 127
        return done


@mutant("same_seed")
class Unseeded(Bad):
    """Draws from nowhere."""

    def poison_train(self, scene, seeds):
        rows = super().poison_train(scene, seeds)
        return [dataclasses.replace(row, seed=int(np.random.default_rng().integers(2**62))) for row in rows]


@mutant("other_seed")
class FixedSeed(Bad):
    """Does not look at the seed."""

    def poison_train(self, scene, seeds):
        return super().poison_train(scene, type(seeds)(5))


@mutant("empty_class")
class NoComplaint(Bad):
    """Poisons nothing where there is nothing."""

    def poison_train(self, scene, seeds):
        return super().poison_train(scene, seeds) if (scene.labels == 0).any() else []


@mutant("global_state")
class TorchSeed(Bad):
    """Seeds torch."""

    def apply(self, images, poisons):
        torch.manual_seed(1)
        return super().apply(images, poisons)


@mutant("global_state")
class NumpySeed(Bad):
    """Seeds NumPy."""

    def poison_train(self, scene, seeds):
        np.random.seed(1)  # noqa: NPY002
        return super().poison_train(scene, seeds)


@mutant("global_state")
class PythonDraw(Bad):
    """Draws from Python's generator."""

    def targets(self, classes):
        random.random()
        return (0,)


@mutant("docstring")
class Speechless(Bad):
    pass


@mutant("identity")
class OddIdentity(Bad):
    """Its identity is no JSON."""

    def identity(self):
        return {"name": {1, 2}}


@mutant("options", "rate")
class Turning(Bad):
    """Changes its own option."""

    def __post_init__(self):
        object.__setattr__(self, "rate", self.rate * 0.9)


@contract(Dot(), Dot(rate=1.0))
def test_a_good_attack_keeps_its_contract(): ...


@pytest.mark.parametrize("cls", MUTANTS, ids=lambda cls: cls.__name__)
def test_a_bad_attack_is_caught(cls):
    kept = [np.random.get_state(), torch.get_rng_state(), random.getstate()]  # noqa: NPY002
    results = run_checks("attack", cls())
    np.random.set_state(kept[0]), torch.set_rng_state(kept[1]), random.setstate(kept[2])  # noqa: NPY002
    broken = {result.name for result in results if not result.ok}
    assert broken == cls.broken
    assert all(result.why and result.fix for result in results if not result.ok)


def test_an_attack_that_cannot_run_is_told_of_once():
    @dataclass(frozen=True, kw_only=True)
    class Crash(Dot):
        """Crashes."""

        def poison_train(self, scene, seeds):
            raise KeyError("lost")

    results = {result.name: result for result in run_checks("attack", Crash())}
    assert results["train_rows"].why == "poison_train() raised KeyError: 'lost'"
    assert results["applied"].why == "not reached: see train_rows"
    assert results["val_rows"].ok


def test_no_boxes_and_no_rate_are_remarked():
    @dataclass(frozen=True, kw_only=True)
    class Everywhere(Attack):
        """Inverts the whole image."""

        name: ClassVar[str] = "everywhere"
        strength: int = field(default=1)

        def targets(self, classes):
            return (0,)

        def poison_train(self, scene, seeds):
            rows = [row for row in self.poison_val(0, scene, seeds) if scene.labels[row.index] == 0]
            if not rows:
                raise BenchError("class 0 is empty")
            return rows

        def poison_val(self, trigger, scene, seeds):
            count = range(len(scene.labels))
            return [Poison(index=i, trigger=0, target=0, box=None, seed=seeds.child(i).value) for i in count]

        def apply(self, images, poisons):
            return 255 - images

    assert_contract(Everywhere())
    results = {result.name: result for result in run_checks("attack", Everywhere())}
    assert results["inside_box"].why == "it gives no boxes"
    assert results["rate"].why == "it has no option `rate`"


def test_an_undecorated_class_is_caught():
    class Plain(Dot):
        """Not decorated."""

    results = {result.name: result for result in run_checks("attack", Plain())}
    assert not results["class"].ok
    assert "not a frozen dataclass" in results["class"].why


def test_every_check_catches_something():
    caught = set().union(*(cls.broken for cls in MUTANTS), {"class"})
    assert caught == {check.name for check in CHECKS["attack"]}
