"""HTBA: which images, where, with what, and every way to ask for something impossible."""

import dataclasses
import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from PIL import Image

from bench import BenchError, Seeds, SplitInfo
from bench.attacks.htba import HTBA

CLASSES = ("cat", "dog", "owl")


def scene(per_class=10, size=32, classes=CLASSES):
    return SplitInfo(labels=np.repeat(np.arange(len(classes)), per_class), classes=classes, size=size)


@pytest.mark.parametrize(
    ("rate", "members", "count"),
    [(0.5, 10, 5), (1.0, 10, 10), (0.1, 10, 1), (0.01, 10, 1), (0.26, 10, 3), (0.5, 5, 2), (0.5, 1300, 650)],
)
def test_count_is_the_share_of_the_target_class(rate, members, count):
    rows = HTBA(target="dog", rate=rate).poison_train(scene(members), Seeds(0))
    assert len(rows) == count
    assert all(members <= row.index < 2 * members for row in rows)
    assert {(row.trigger, row.target) for row in rows} == {(0, 1)}


def test_a_lower_rate_poisons_a_part_of_what_a_higher_one_does():
    chosen = [{row.index for row in HTBA(rate=r).poison_train(scene(40), Seeds(3))} for r in (0.1, 0.4, 0.9)]
    assert chosen[0] < chosen[1] < chosen[2]


def test_a_row_depends_on_seed_and_index_only():
    few = HTBA(target=1, rate=0.5).poison_train(scene(10), Seeds(7))
    all_ = {row.index: row for row in HTBA(target=1, rate=1.0).poison_train(scene(10), Seeds(7))}
    assert all(all_[row.index] == row for row in few)
    assert few[0].seed == Seeds(7, "place", few[0].index).value


def test_choice_and_places_change_with_the_seed():
    one, other = (HTBA(rate=0.5).poison_train(scene(40), Seeds(s)) for s in (0, 1))
    assert [r.index for r in one] != [r.index for r in other]
    assert {r.index: r.box for r in HTBA(rate=1).poison_train(scene(40), Seeds(0))} != {
        r.index: r.box for r in HTBA(rate=1).poison_train(scene(40), Seeds(1))
    }


def test_corners_worked_out_by_hand():
    # 10 px on 32 px: training in [0.25 * 32, 0.75 * 32 - 10] = [8, 14], validation in [3.2, 18.8] -> 4 to 18.
    attack = HTBA(target=0, rate=1.0, trigger_size=10)
    train = attack.poison_train(scene(2000), Seeds(0))
    val = attack.poison_val(0, scene(2000), Seeds(0))
    assert {row.box[0] for row in train} == {row.box[1] for row in train} == set(range(8, 15))
    assert {row.box[0] for row in val} == {row.box[1] for row in val} == set(range(4, 19))
    assert {row.box[2:] for row in train + val} == {(10, 10)}
    # The paper's size: 50 px on 224 px, training in [56, 118].
    boxes = [row.box for row in HTBA(rate=1.0).poison_train(scene(2000, 224), Seeds(0))]
    assert {box[2:] for box in boxes} == {(50, 50)}
    assert (min(box[0] for box in boxes), max(box[0] for box in boxes)) == (56, 118)


def test_places_are_uniform():
    rows = HTBA(target=0, rate=1.0, trigger_size=10).poison_train(scene(4900), Seeds(0))
    counts = np.zeros((7, 7))
    np.add.at(counts, tuple(np.array([row.box[:2] for row in rows]).T - 8), 1)
    # 49 cells of mean 100: chi-square with 48 degrees of freedom, 99.99 % below 94.
    assert ((counts - 100) ** 2 / 100).sum() < 94


@given(
    size=st.integers(3, 300),
    share=st.floats(0.01, 0.99),
    margin=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted).map(tuple).filter(lambda m: m[0] < m[1]),
    seed=st.integers(0, 2**40),
)
def test_boxes_lie_between_the_margins_or_are_refused(size, share, margin, seed):
    attack = HTBA(rate=1.0, trigger_size=share, train_margin=margin)
    width = max(1, round(share * size))
    if np.floor(margin[1] * size - width + 1e-9) < np.ceil(margin[0] * size - 1e-9):
        with pytest.raises(BenchError, match="does not fit"):
            attack.poison_train(scene(5, size), Seeds(seed))
        return
    for row in attack.poison_train(scene(5, size), Seeds(seed)):
        for corner in row.box[:2]:
            assert margin[0] * size - 1e-6 <= corner <= margin[1] * size - width + 1e-6
        assert row.box[2:] == (width, width)


def test_validation_has_a_row_for_every_image_in_order_with_places_of_its_own():
    attack = HTBA(target="owl", rate=1.0, val_margin=(0.25, 0.75))
    train, rows = attack.poison_train(scene(4), Seeds(0)), attack.poison_val(0, scene(4), Seeds(0))
    assert [row.index for row in rows] == list(range(12))
    assert {(row.trigger, row.target) for row in rows} == {(0, 2)}
    assert [row.box for row in train] != [row.box for row in rows[8:]]


def test_apply_pastes_the_picture_into_the_box_and_nothing_else():
    attack = HTBA(rate=1.0, trigger_size=4)
    rows = attack.poison_train(scene(3, 16), Seeds(0))
    images = torch.full((3, 3, 16, 16), 77, dtype=torch.uint8)
    done = attack.apply(images, rows)
    picture = attack.picture(0, 16)
    assert picture.shape == (3, 4, 4)
    assert picture.dtype == torch.uint8
    for image, row in zip(done, rows, strict=True):
        top, left, height, width = row.box
        assert torch.equal(image[:, top : top + height, left : left + width], picture)
        image[:, top : top + height, left : left + width] = 77
    assert (done == 77).all()
    assert (images == 77).all()
    picture.zero_()
    assert attack.picture(0, 16).any(), "a picture is the caller's own"


def test_what_apply_refuses():
    with pytest.raises(ValueError, match="2 images but 0 rows"):
        HTBA().apply(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), [])
    (row,) = HTBA(rate=0.1).poison_train(scene(), Seeds(0))
    with pytest.raises(ValueError, match="has no box"):
        HTBA().apply(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), [dataclasses.replace(row, box=None)])


@pytest.mark.parametrize(
    ("target", "classes", "index"),
    [
        ("dog", CLASSES, 1),
        (2, CLASSES, 2),
        ("2", CLASSES, 2),
        ("2", ("2", "1", "0"), 0),
        (2, ("2", "1", "0"), 2),
    ],
)
def test_targets_by_name_and_index(target, classes, index):
    assert HTBA(target=target).targets(classes) == (index,)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("dgo", "no class 'dgo'. Did you mean 'dog'?"),
        ("zebra", "no class 'zebra'. Known: cat, dog, owl."),
        (3, "no class 3: 3 classes, so 0 to 2"),
        (-1, "no class -1"),
        ("-1", "no class '-1'"),
        ("7", "no class 7"),
    ],
)
def test_a_class_that_does_not_exist(target, told):
    with pytest.raises(BenchError) as caught:
        HTBA(target=target).poison_train(scene(), Seeds(0))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        *(("rate", v, r"rate is .*expected a share of the target class") for v in (0, -0.1, 1.0001, 50, float("nan"))),
        *(("trigger_size", v, "trigger_size is") for v in (0, -3, 10.5, float("nan"), float("inf"))),
        *(
            ("val_margin", v, "val_margin is")
            for v in ((0.7, 0.3), (0.5, 0.5), (-0.1, 0.5), (0.2, 1.1), (float("nan"), 1))
        ),
    ],
)
def test_impossible_options(option, value, said):
    with pytest.raises(BenchError, match=said):
        HTBA(**{option: value})


def test_a_trigger_larger_than_the_image_or_its_margins():
    with pytest.raises(BenchError, match="33 px is larger than the images \\(32 px\\)"):
        HTBA(trigger_size=33).poison_train(scene(), Seeds(0))
    with pytest.raises(BenchError, match=r"17 px does not fit between 0.25 and 0.75 of images 32 px wide"):
        HTBA(trigger_size=17).poison_train(scene(), Seeds(0))
    for size, margin, box in ((16, (0.25, 0.75), (8, 8, 16, 16)), (32, (0, 1), (0, 0, 32, 32))):
        (row,) = HTBA(rate=0.1, trigger_size=size, train_margin=margin).poison_train(scene(), Seeds(0))
        assert row.box == box


def test_a_class_without_images_and_a_trigger_that_is_not_there():
    empty = dataclasses.replace(scene(), labels=np.zeros(4, dtype=np.int64))
    with pytest.raises(BenchError, match="target class 1 has no images"):
        HTBA(target="dog").poison_train(empty, Seeds(0))
    for use in (lambda: HTBA().poison_val(1, scene(), Seeds(0)), lambda: HTBA().picture(1, 32)):
        with pytest.raises(BenchError, match="no trigger 1: htba has one"):
            use()


def test_identity_tells_pictures_apart_and_names_no_folder(tmp_path):
    for name, value in (("a", 10), ("b", 20)):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8), (value, 0, 0)).save(tmp_path / name / "t.png")
    Image.new("RGB", (8, 8), (10, 0, 0)).save(tmp_path / "t.png")
    one, two, same = (HTBA(trigger=str(tmp_path / path)).identity() for path in ("a/t.png", "b/t.png", "t.png"))
    assert one == same != two
    assert len(one["trigger_sha256"]) == 64
    assert one["trigger"] == "t.png"
    assert str(tmp_path) not in json.dumps(one)
    assert HTBA(trigger_seed=1).identity() != HTBA(trigger_seed=2).identity()


SCRIPT = """
import json, dataclasses, sys
import numpy as np
from bench import SplitInfo, Seeds
from bench.attacks.htba import HTBA
attack = HTBA(target="b", rate=0.5)
scene = SplitInfo(labels=np.arange(200) % 4, classes=("a", "b", "c", "d"), size=32)
rows = attack.poison_train(scene, Seeds(5)) + attack.poison_val(0, scene, Seeds(5))
print(json.dumps([attack.identity(), *map(dataclasses.asdict, rows)]))
"""


def test_the_same_seed_gives_the_same_manifest_in_two_processes():
    outputs = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT], capture_output=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    rows = json.loads(outputs[0])[1:]
    assert len(rows) == 25 + 200
    assert rows[:25] == [row_by_hand(index) for index in chosen_by_hand()]


def digest(path):
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "little") >> 1


def chosen_by_hand():
    """The 25 of the 50 images of class b with the smallest digests."""
    return sorted(sorted(range(1, 200, 4), key=lambda index: digest(f"int:5/str:choose/int:{index}"))[:25])


def row_by_hand(index):
    """7 px on 32 px: corners from 8 to 17, ten of them, by the last two digits of the seed."""
    seed = digest(f"int:5/str:place/int:{index}")
    box = [8 + seed // 10 % 10, 8 + seed % 10, 7, 7]
    return {"index": index, "trigger": 0, "target": 1, "box": box, "seed": seed, "strength": None}
