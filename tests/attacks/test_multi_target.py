"""Several (trigger, target) pairs: the union of the single ones, each trigger by its number, and bad options."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image

from bench import BenchError, Seeds, SplitInfo
from bench.attacks.htba import HTBA
from bench.attacks.multi_target import MultiTarget
from bench.plugins.contract.checks import contract
from bench.plugins.options import make

CLASSES = ("cat", "dog", "owl", "bee")


def scene(per_class=10, size=32):
    """Classes take turns, so that the targets' images lie between each other."""
    labels = np.tile(np.arange(len(CLASSES)), per_class)
    return SplitInfo(labels=labels, classes=CLASSES, size=size)


def three(**changes):
    given = {"target_classes": ("owl", 0, "1"), "rate": 0.4, "trigger_seeds": (5, 3, 8), "trigger_size": 6}
    return MultiTarget(**{**given, **changes})


def alone(number, attack):
    """The single-target attack of one pair."""
    return HTBA(
        target=attack.target_classes[number],
        rate=attack.rate,
        trigger_seed=attack.trigger_seeds[number],
        trigger_size=attack.trigger_size,
    )


@contract(three(target_classes=("toy7", 0, "1")), MultiTarget(target_classes=(9, 2), rate=1.0))
def test_contract(): ...


def test_the_set_is_the_union_of_the_single_ones():
    attack, single = three(), [alone(number, three()) for number in range(3)]
    union = [
        dataclasses.replace(row, trigger=number)
        for number in range(3)
        for row in single[number].poison_train(scene(), Seeds(4))
    ]
    rows = attack.poison_train(scene(), Seeds(4))
    assert rows == sorted(union, key=lambda row: row.index)
    assert sorted((row.trigger, row.target) for row in rows) == [(0, 2)] * 4 + [(1, 0)] * 4 + [(2, 1)] * 4
    for number in range(3):
        val = [dataclasses.replace(row, trigger=number) for row in single[number].poison_val(0, scene(3), Seeds(1))]
        assert attack.poison_val(number, scene(3), Seeds(1)) == val


def test_apply_pastes_the_trigger_of_each_row():
    attack = three(rate=1.0)
    rows = attack.poison_train(scene(2), Seeds(0))
    assert [row.trigger for row in rows] == [1, 2, 0, 1, 2, 0]
    done = attack.apply(torch.full((6, 3, 32, 32), 77, dtype=torch.uint8), rows)
    for image, row in zip(done, rows, strict=True):
        top, left, height, width = row.box
        expected = alone(row.trigger, attack).picture(0, 32)
        assert torch.equal(attack.picture(row.trigger, 32), expected)
        assert torch.equal(image[:, top : top + height, left : left + width], expected)
        image[:, top : top + height, left : left + width] = 77
    assert (done == 77).all()


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(4)), st.integers(2, 4), st.floats(0.05, 1), st.integers(0, 2**32))
def test_any_number_of_pairs(order, count, rate, seed):
    attack = MultiTarget(target_classes=tuple(order[:count]), rate=rate)
    rows = attack.poison_train(scene(), Seeds(seed))
    counts = [sum(row.trigger == number for row in rows) for number in range(count)]
    assert counts == [max(1, round(rate * 10))] * count
    assert len({row.index for row in rows}) == len(rows)


def test_defaults_are_two_mosaics():
    attack = MultiTarget()
    assert attack.targets(CLASSES) == (0, 1)
    assert not torch.equal(attack.picture(0, 32), attack.picture(1, 32))
    spelt = MultiTarget(triggers=("mosaic", "mosaic"), trigger_seeds=(0, 1))
    assert attack.identity() == spelt.identity(), "what a default means is part of the identity"
    found = make(MultiTarget, {"target_classes": [3, "dog"], "trigger_seeds": [3, 5]}, "attack 'multi-target'")
    assert found == MultiTarget(target_classes=(3, "dog"), trigger_seeds=(3, 5)), "as a preset gives them"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"target_classes": (1,)}, r"target_classes is \[1\], expected two or more \(attack 'htba' has one target\)"),
        ({"target_classes": ()}, r"target_classes is \[\], expected two or more"),
        ({"target_classes": (1, 2, 1)}, r"target_classes must differ, but number 0 \(1\) and number 2 \(1\)"),
        ({"trigger_seeds": (1,)}, "trigger_seeds has 1 entries, but there are 2 target_classes: one for each"),
        ({"trigger_seeds": (1, 2, 3)}, "trigger_seeds has 3 entries"),
        ({"triggers": ("mosaic",)}, "triggers has 1 entries"),
        (
            {"trigger_seeds": (4, 4)},
            r"the triggers must differ, but number 0 \('mosaic 4'\) and number 1 \('mosaic 4'\)",
        ),
        ({"triggers": ("mosaic", "nowhere.png")}, "no trigger file 'nowhere.png'"),
        ({"rate": 0}, "rate is 0"),
        ({"trigger_size": 0}, "trigger_size is 0"),
        ({"train_margin": (0.7, 0.2)}, "train_margin is"),
    ],
)
def test_options_that_make_no_sense(options, told):
    with pytest.raises(BenchError, match=told):
        MultiTarget(**options)


def test_a_class_or_a_trigger_that_is_not_there():
    with pytest.raises(BenchError, match=r"no class 'bees'\. Did you mean 'bee'"):
        MultiTarget(target_classes=("cat", "bees")).targets(CLASSES)
    with pytest.raises(BenchError, match=r"must differ, but number 0 \('dog'\) and number 1 \(1\) are the same"):
        MultiTarget(target_classes=("dog", 1)).poison_train(scene(), Seeds(0))
    for number in (-1, 2):
        with pytest.raises(BenchError, match=f"no trigger {number}: multi-target has 2, numbers 0 to 1"):
            MultiTarget().poison_val(number, scene(), Seeds(0))


def test_pictures_of_ones_own_name_no_folder(tmp_path):
    for name, value in (("a", 10), ("b", 20), ("c", 10)):
        Image.new("RGB", (8, 8), (value, 0, 0)).save(tmp_path / f"{name}.png")
    files = {name: str(tmp_path / f"{name}.png") for name in "abc"}
    attack = MultiTarget(triggers=(files["a"], files["b"]))
    identity = attack.identity()
    assert identity["triggers"] == ["a.png", "b.png"]
    assert len(set(identity["trigger_sha256"])) == 2
    assert str(tmp_path) not in json.dumps(identity)
    assert attack.picture(1, 32).flatten(1).unique(dim=1).flatten().tolist() == [20, 0, 0]
    with pytest.raises(BenchError, match="the triggers must differ"):
        MultiTarget(triggers=(files["a"], files["c"]))
