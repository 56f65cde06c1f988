"""The kit must catch each kind of bad dataset, by the check of that name and by no other."""

import random
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from bench import BenchError, Dataset, DatasetPlugin, Images, Split
from bench.plugins.contract.checks import assert_contract, run_checks

SIZE = 8
MUTANTS = []


class Plain(Images):
    """An array of images."""

    size = SIZE

    def __init__(self, pixels):
        self.pixels = pixels

    def __len__(self):
        return len(self.pixels)

    def batch(self, indices):
        return self.pixels[torch.as_tensor(np.asarray(indices, dtype=np.int64))]


@dataclass(frozen=True, kw_only=True)
class Good(DatasetPlugin):
    """Two classes of noise."""

    name: ClassVar[str] = "good"

    def load(self):
        train, val = self.split("train", 10), self.split("val", 4)
        return Dataset(name="good", classes=("a", "b"), train=train, val=val, fingerprint="0" * 64)

    def split(self, name, count):
        pixels = torch.from_numpy(np.random.default_rng(count).integers(0, 256, (count, 3, SIZE, SIZE)).astype("uint8"))
        ids = [f"{name}-{row}" for row in range(count)]
        return Split(images=self.images(pixels), labels=np.arange(count, dtype=np.int64) % 2, ids=ids)

    def images(self, pixels):
        return Plain(pixels)


def mutant(*broken):
    def decorate(cls):
        MUTANTS.append((dataclass(frozen=True, kw_only=True)(cls), set(broken)))
        return cls

    return decorate


def changed(broken, **change):
    """A mutant whose loaded data differ; each change is a function of the data."""

    class Changed(Good):
        """Loads something else."""

        def load(self):
            data = super().load()
            return replace(data, **{name: value(data) for name, value in change.items()})

    Changed.__name__ = "_".join([*change, str(len(MUTANTS))])
    mutant(*broken)(Changed)


def of_train(**change):
    return lambda data: replace(data.train, **{name: value(data.train) for name, value in change.items()})


changed({"classes"}, classes=lambda data: ["a", "b"])
changed({"classes"}, classes=lambda data: ("a", "a"))
changed({"labels"}, train=of_train(labels=lambda split: split.labels.astype(np.int32)))
changed({"labels"}, train=of_train(labels=lambda split: split.labels + 1))
changed({"labels"}, train=of_train(labels=lambda split: split.labels.tolist()))
changed({"ids"}, train=of_train(ids=lambda split: ["x"] * len(split)))
changed({"ids"}, train=of_train(ids=lambda split: list(range(len(split)))))
changed({"fingerprint"}, fingerprint=lambda data: "none")
changed({"same_again"}, fingerprint=lambda data: f"{random.SystemRandom().getrandbits(256):064x}")
changed({"same_again"}, train=of_train(ids=lambda split: [f"{random.SystemRandom().random()}" for _ in split.ids]))


def with_batch(*broken):
    """A mutant whose images answer otherwise: batch(self, indices) -> tensor."""

    def decorate(function):
        images = type(function.__name__, (Plain,), {"batch": function})

        class WithBatch(Good):
            """Other images."""

            def images(self, pixels):
                return images(pixels)

        WithBatch.__name__ = function.__name__
        mutant(*broken)(WithBatch)
        return function

    return decorate


@with_batch("batch")
def floats(self, indices):
    return Plain.batch(self, indices).float()


@with_batch("batch")
def sorted_rows(self, indices):
    return Plain.batch(self, sorted(indices))


@with_batch("ownership")
def lent(self, indices):
    """Hands out the same tensor again."""
    kept = self.__dict__.setdefault("kept", {})
    return kept.setdefault(tuple(indices), Plain.batch(self, indices))


@with_batch("indices")
def lists_only(self, indices):
    if isinstance(indices, np.ndarray):
        raise TypeError("a list, please")
    return Plain.batch(self, indices)


@with_batch("indices")
def never_none(self, indices):
    return torch.stack([self.pixels[row] for row in indices])


@with_batch("global_state")
def unseeded(self, indices):
    random.random()
    return Plain.batch(self, indices)


@pytest.mark.parametrize(("cls", "broken"), MUTANTS, ids=lambda value: getattr(value, "__name__", ""))
def test_each_fault_is_caught_by_its_check_alone(cls, broken):
    found = {result.name: result for result in run_checks("dataset", cls())}
    assert {name for name, result in found.items() if not result.ok} == broken
    assert all(found[name].fix for name in broken)


def test_a_good_one_holds():
    assert_contract(Good())


@dataclass(frozen=True, kw_only=True)
class Missing(Good):
    """Its files are not there."""

    def load(self):
        raise BenchError("there is no folder data/: give root")


@dataclass(frozen=True, kw_only=True)
class Uneven(Good):
    """A label is missing."""

    def split(self, name, count):
        made = super().split(name, count)
        return replace(made, labels=made.labels[1:])


@pytest.mark.parametrize(("cls", "why"), [(Missing, "give root"), (Uneven, "10 images, 9 labels, 10 ids")])
def test_what_cannot_be_read_is_told_once(cls, why):
    found = {result.name: result for result in run_checks("dataset", cls())}
    assert why in found["loads"].why
    told = [name for name, result in found.items() if why in result.why]
    assert told == ["loads"]
    assert found["batch"].why == "not reached: see loads"
