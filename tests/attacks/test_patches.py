"""HTBA and multi-target: which images, where, with what, and every request for something impossible."""

import dataclasses
import hashlib
import io
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image

from bench import BenchError, Poison, Seeds, SplitInfo
from bench.attacks.htba import HTBA, HTBAMuted, HTBAVaried, NoAttack
from bench.attacks.look import coloured, drawn, pasted
from bench.attacks.multi_target import MultiTarget, MultiTargetMuted
from bench.data.images import ArrayImages, Decoded, FileImages, PoisonedImages, Resized, Subset
from bench.plugins.contract.checks import contract
from bench.plugins.options import make

CLASSES = ("cat", "dog", "owl", "bee")


def scene(per_class=10, size=32):
    """Classes take turns, so that the targets' images lie between each other."""
    return SplitInfo(labels=np.tile(np.arange(len(CLASSES)), per_class), classes=CLASSES, size=size)


def train(attack, per_class=10, seed=0, size=32):
    return attack.poison_train(scene(per_class, size), Seeds(seed))


def colour(path, value):
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8), (value, 0, 0)).save(path)
    return str(path)


# --- one trigger ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "members", "count"),
    [(0.5, 10, 5), (1.0, 10, 10), (0.1, 10, 1), (0.01, 10, 1), (0.26, 10, 3), (0.5, 5, 2), (0.5, 1300, 650)],
)
def test_count_is_the_share_of_the_target_class(rate, members, count):
    rows = train(HTBA(target="dog", rate=rate), members)
    assert len(rows) == count
    assert {(row.index % 4, row.trigger, row.target) for row in rows} == {(1, 0, 1)}


def test_a_row_depends_on_seed_and_index_only():
    """A lower rate poisons a part of what a higher one does, at the same places; another seed, other ones."""
    few, more, all_ = ({row.index: row for row in train(HTBA(rate=rate), 40)} for rate in (0.1, 0.4, 1))
    assert few.items() < more.items() < all_.items()
    assert [row.index for row in train(HTBA(rate=0.4), 40, seed=1)] != list(more)
    assert {row.index: row.box for row in train(HTBA(rate=1), 40, seed=1)} != {k: row.box for k, row in all_.items()}


def digest(path):
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "little") >> 1


def test_rows_by_hand():
    """Of 50 images of class dog the 25 with the smallest digests; 7 px on 32 px: corners from 8 to 17 in training and
    from 4 (3.2) to 21 (21.8) in validation, by the digits of the seed."""
    attack = HTBA(target="dog", rate=0.5)
    rows = train(attack, 50, seed=5)
    members = sorted(range(1, 200, 4), key=lambda index: digest(f"int:5/str:choose/int:{index}"))
    assert [row.index for row in rows] == sorted(members[:25])
    val = attack.poison_val(0, scene(50), Seeds(5))
    assert [row.index for row in val] == list(range(200))
    for part, path, first, many in ((rows, "str:place", 8, 10), (val, "str:val/str:place", 4, 18)):
        for row in part:
            seed = digest(f"int:5/{path}/int:{row.index}")
            box = (first + seed // many % many, first + seed % many, 7, 7)
            assert (row.box, row.seed, row.trigger, row.target) == (box, seed, 0, 1)


def test_corners_worked_out_by_hand():
    # 10 px on 32 px: training in [0.25 * 32, 0.75 * 32 - 10] = [8, 14], validation in [3.2, 18.8] -> 4 to 18.
    attack = HTBA(rate=1.0, trigger_size=10)
    for rows, free in ((train(attack, 2000), range(8, 15)), (attack.poison_val(0, scene(500), Seeds(0)), range(4, 19))):
        assert {row.box[0] for row in rows} == {row.box[1] for row in rows} == set(free)
        assert {row.box[2:] for row in rows} == {(10, 10)}
    # The paper's size: 50 px on 224 px, training in [56, 118].
    boxes = [row.box for row in train(HTBA(rate=1.0), 2000, size=224)]
    assert (min(box[0] for box in boxes), max(box[0] for box in boxes), *boxes[0][2:]) == (56, 118, 50, 50)


def test_places_are_uniform():
    counts = np.zeros((7, 7))
    for row in train(HTBA(rate=1.0, trigger_size=10), 4900):
        counts[row.box[0] - 8, row.box[1] - 8] += 1
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
            train(attack, 5, seed, size)
        return
    for row in train(attack, 5, seed, size):
        assert all(margin[0] * size - 1e-6 <= corner <= margin[1] * size - width + 1e-6 for corner in row.box[:2])
        assert row.box[2:] == (width, width)


def test_what_apply_refuses():
    with pytest.raises(ValueError, match="2 images but 0 rows"):
        HTBA().apply(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), [])
    (row,) = train(HTBA(rate=0.1))
    with pytest.raises(ValueError, match="has no box"):
        HTBA().apply(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), [dataclasses.replace(row, box=None)])


@pytest.mark.parametrize(
    ("target", "classes", "index"),
    [("dog", CLASSES, 1), (2, CLASSES, 2), ("2", CLASSES, 2), ("2", ("2", "1", "0"), 0), (2, ("2", "1", "0"), 0)],
)
def test_targets_by_name_and_index(target, classes, index):
    assert HTBA(target=target).targets(classes) == (index,)


def test_a_number_that_is_a_name_and_an_index_is_the_name_and_that_is_said_once(caplog):
    classes = tuple(sorted(map(str, range(1, 12))))  # 1, 10, 11, 2 ...
    for _ in range(2):
        assert HTBA(target=10).targets(classes) == (1,)
        assert MultiTarget(target_classes=(3, "cafe\u0301")).targets((*classes, "caf\u00e9")) == (4, 11)
    said = [record.message for record in caplog.records]
    assert said == [
        "target 10 is class '10' (index 1), not that of index 10, '9'",
        "target 3 is class '3' (index 4), not that of index 3, '2'",
    ]
    caplog.clear()
    HTBA(target=0).targets(("0", "1"))  # its name and its place are the same
    HTBA(target=0).targets(classes)  # no class has that name
    assert not caplog.records


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("dgo", r"no class 'dgo'\. Did you mean 'dog'\?"),
        ("zebra", r"no class 'zebra'\. Known: bee, cat, dog, owl\."),
        (4, "no class 4: 4 classes, so 0 to 3"),
        (-1, "no class -1"),
        ("-1", "no class '-1'"),
        ("7", "no class 7"),
    ],
)
def test_a_class_that_does_not_exist(target, told):
    with pytest.raises(BenchError, match=told):
        train(HTBA(target=target))


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("kind", [HTBA, MultiTarget])
@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        *(("rate", v, r"rate is .*expected a share of the target class") for v in (0, -0.1, 1.0001, 50, NAN)),
        *(("trigger_size", v, "trigger_size is") for v in (0, -3, 10.5, NAN, INF)),
        *(("train_margin", v, "train_margin is") for v in ((0.7, 0.3), (0.5, 0.5))),
        *(("val_margin", v, "val_margin is") for v in ((-0.1, 0.5), (0.2, 1.1), (NAN, 1))),
    ],
)
def test_impossible_options(kind, option, value, said):
    with pytest.raises(BenchError, match=said):
        kind(**{option: value})


def test_a_trigger_larger_than_the_image_or_its_margins_and_a_class_without_images():
    with pytest.raises(BenchError, match=r"33 px is larger than the images \(32 px\)"):
        train(HTBA(trigger_size=33))
    with pytest.raises(BenchError, match=r"17 px does not fit between 0.25 and 0.75 of images 32 px wide"):
        train(HTBA(trigger_size=17))
    for size, margin, box in ((16, (0.25, 0.75), (8, 8, 16, 16)), (32, (0, 1), (0, 0, 32, 32))):
        assert [row.box for row in train(HTBA(rate=0.1, trigger_size=size, train_margin=margin))] == [box]
    with pytest.raises(BenchError, match="target class 1 has no images"):
        HTBA(target="dog").poison_train(dataclasses.replace(scene(), labels=np.zeros(4, np.int64)), Seeds(0))


def test_identity_tells_pictures_apart_and_names_no_folder(tmp_path):
    a, b, same = (colour(tmp_path / name, value) for name, value in (("a/t.png", 10), ("b/t.png", 20), ("t.png", 10)))
    one, two, again = (HTBA(trigger=path).identity() for path in (a, b, same))
    assert one == again != two
    assert (one["trigger"], len(one["trigger_sha256"])) == ("t.png", 64)
    assert HTBA(trigger_seed=1).identity() != HTBA(trigger_seed=2).identity()
    both = MultiTarget(triggers=(a, b))
    assert both.identity()["triggers"] == ["t.png", "t.png"]
    assert both.identity()["trigger_sha256"] == [one["trigger_sha256"], two["trigger_sha256"]]
    assert str(tmp_path) not in json.dumps([one, both.identity()])
    assert both.picture(1, 32).flatten(1).unique(dim=1).flatten().tolist() == [20, 0, 0]
    with pytest.raises(BenchError, match="the triggers must differ"):
        MultiTarget(triggers=(a, same))


# --- several triggers -------------------------------------------------------------------------------------


def three(**changes):
    given = {"target_classes": ("owl", 0, "1"), "rate": 0.4, "trigger_seeds": (5, 3, 8), "trigger_size": 6}
    return MultiTarget(**{**given, **changes})


def alone(number, attack):
    """The single-target attack of one pair."""
    target, seed = attack.target_classes[number], attack.trigger_seeds[number]
    return HTBA(target=target, rate=attack.rate, trigger_seed=seed, trigger_size=attack.trigger_size)


@contract(three(target_classes=("toy7", 0, "1")), MultiTarget(target_classes=(9, 2), rate=1.0))
def test_contract(): ...


def test_the_set_is_the_union_of_the_single_ones():
    attack, union = three(), []
    for number in range(3):
        single = alone(number, attack)
        union += [dataclasses.replace(row, trigger=number) for row in train(single, seed=4)]
        val = [dataclasses.replace(row, trigger=number) for row in single.poison_val(0, scene(3), Seeds(1))]
        assert attack.poison_val(number, scene(3), Seeds(1)) == val
    rows = train(attack, seed=4)
    assert rows == sorted(union, key=lambda row: row.index)
    assert sorted((row.trigger, row.target) for row in rows) == [(0, 2)] * 4 + [(1, 0)] * 4 + [(2, 1)] * 4


def test_apply_pastes_the_trigger_of_each_row_into_its_box_and_nothing_else():
    attack = three(rate=1.0)
    rows, images = train(attack, 2), torch.full((6, 3, 32, 32), 77, dtype=torch.uint8)
    assert [row.trigger for row in rows] == [1, 2, 0, 1, 2, 0]
    done = attack.apply(images, rows)
    for image, row in zip(done, rows, strict=True):
        top, left, height, width = row.box
        picture = attack.picture(row.trigger, 32)
        assert (picture.shape, picture.dtype) == ((3, 6, 6), torch.uint8)
        assert torch.equal(alone(row.trigger, attack).picture(0, 32), picture)
        assert torch.equal(image[:, top : top + height, left : left + width], picture)
        image[:, top : top + height, left : left + width] = 77
        picture.zero_()
        assert attack.picture(row.trigger, 32).any(), "a picture is the caller's own"
    assert (done == 77).all()
    assert (images == 77).all()


@settings(deadline=None, max_examples=30)
@given(order=st.permutations(CLASSES), count=st.integers(2, 4), rate=st.floats(0.01, 1.0), seed=st.integers(0, 2**40))
def test_each_pair_has_its_share_and_no_image_two_triggers(order, count, rate, seed):
    rows = train(MultiTarget(target_classes=tuple(order[:count]), rate=rate), seed=seed)
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
        ({"trigger_seeds": (4, 4)}, r"triggers must differ, but number 0 \('mosaic 4'\) and number 1 \('mosaic 4'\)"),
        ({"triggers": ("mosaic", "nowhere.png")}, "no trigger file 'nowhere.png'"),
        ({"target_classes": ("cat", "bees")}, r"no class 'bees'\. Did you mean 'bee'"),
        ({"target_classes": ("dog", 1)}, r"must differ, but number 0 \('dog'\) and number 1 \(1\) are the same"),
    ],
)
def test_targets_and_triggers_that_make_no_sense(options, told):
    with pytest.raises(BenchError, match=told):
        train(MultiTarget(**options))


@pytest.mark.parametrize(
    ("attack", "number", "told"),
    [(HTBA(), 1, "htba has one"), *((MultiTarget(), n, "multi-target has 2, numbers 0 to 1") for n in (-1, 2))],
)
def test_a_trigger_that_is_not_there(attack, number, told):
    for use in (lambda: attack.poison_val(number, scene(), Seeds(0)), lambda: attack.picture(number, 32)):
        with pytest.raises(BenchError, match=f"no trigger {number}: {told}"):
            use()


# --- triggers as they come in the world -------------------------------------------------------------------------


def test_muted_targets_are_those_of_multi_target_in_other_colours():
    plain, muted = MultiTarget(trigger_seeds=(3, 8)), MultiTargetMuted(trigger_seeds=(3, 8))
    for trigger in (0, 1):
        assert torch.equal(muted.picture(trigger, 32), coloured(plain.picture(trigger, 32), 0.35, 1.0))
    assert train(muted) == train(plain)


@contract(HTBAMuted(), HTBAVaried(), NoAttack(), HTBA(trigger="natural", contrast=0.5, rotation=20.0))
def test_contract_of_the_variants(): ...


def test_muted_colours_by_hand():
    """Mean of the channels 100: 0.35 of the way from it; then half of the way from 127.5."""
    patch = torch.tensor([200, 100, 0], dtype=torch.uint8).view(3, 1, 1)
    assert coloured(patch, 0.35, 1).flatten().tolist() == [135, 100, 65]
    assert coloured(patch, 0, 1).flatten().tolist() == [100, 100, 100]
    assert coloured(patch, 1, 0.5).flatten().tolist() == [164, 114, 64]  # 163.75, 113.75, 63.75
    assert coloured(patch, 4, 1).flatten().tolist() == [255, 100, 0]
    plain, muted = (make(HTBA, {"saturation": s}, "it").picture(0, 32).float() for s in (1, 0.35))
    assert torch.allclose(plain.mean(0), muted.mean(0), atol=0.5)  # as light as before
    spread = [(p.amax(0) - p.amin(0)).max() for p in (plain, muted)]
    assert spread[1] / spread[0] == pytest.approx(0.35, abs=0.01)


def test_light_and_opacity_by_hand():
    patch, under = (torch.full((3, 1, 1), value, dtype=torch.uint8) for value in (200, 100))
    assert pasted(patch, under, 1.2, 0.9).unique().tolist() == [226]  # 0.9 * 240 + 0.1 * 100
    assert pasted(patch, under, 1.5, 0.9).unique().tolist() == [240]  # 300 is clipped to 255: 229.5 + 10
    assert pasted(patch, under, 1.0, 1.0) is patch


def test_a_turned_patch_by_hand():
    """By 90 degrees the right column comes to the top; by 45 the corners show what is under it."""
    patch, under = torch.zeros((3, 9, 9), dtype=torch.uint8), torch.full((3, 9, 9), 7, dtype=torch.uint8)
    patch[:, :, 6:] = 200
    assert torch.equal(pasted(patch, under, 1, 1, 90.0), patch.rot90(1, (1, 2)))
    turned = pasted(torch.full_like(under, 200), under, 1, 1, 45.0)
    assert turned[0, 4].tolist() == [200] * 9  # the middle row
    assert turned[0, [0, 0, -1, -1], [0, -1, 0, -1]].tolist() == [7] * 4
    rows = train(HTBA(target="dog", rate=1.0, rotation=30.0), 60)
    turns = [drawn(row.seed, "rotation", (-30, 30)) for row in rows]
    assert -30 <= min(turns) < -20
    assert 20 < max(turns) <= 30


def test_what_varies_is_drawn_for_each_image_and_kept_in_its_row():
    attack = HTBAVaried(target="dog", rate=1.0, trigger_size=10)
    rows = train(attack, 400)
    sizes, strengths = [row.box[2] for row in rows], [row.strength for row in rows]
    assert sorted(set(sizes)) == [8, 9, 10, 11, 12]
    assert 0.85 <= min(strengths) < 0.86
    assert 0.99 < max(strengths) <= 1
    assert np.mean(strengths) == pytest.approx(0.925, abs=0.01)
    assert {row.box[2:] for row in rows} == {(size, size) for size in set(sizes)}
    lights = [drawn(row.seed, "brightness", attack.brightness) for row in rows]
    for a, b in ((sizes, strengths), (strengths, lights), (sizes, lights)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.15  # one seed, but independent draws
    assert {row.strength for row in train(HTBA(target="dog"), 10)} == {None}


@given(st.integers(0, 2**62), st.floats(0.5, 1), st.floats(1, 2))
def test_draws_lie_in_their_span(seed, low, high):
    assert low <= drawn(seed, "size", (low, high)) <= high
    assert drawn(seed, "size", (low, high)) == drawn(seed, "size", (low, high))


def test_jpeg_changes_the_whole_image_as_pillow_does():
    image = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    row = Poison(index=0, trigger=0, target=0, box=(2, 3, 10, 10), seed=5)
    before, after = (HTBA(trigger_size=10, jpeg=jpeg).apply(image, [row])[0] for jpeg in (0, 75))
    file = io.BytesIO()
    Image.fromarray(before.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=75)
    assert np.array_equal(np.array(Image.open(file)), after.permute(1, 2, 0).numpy())
    assert (before != after).float().mean() > 0.5


def test_no_attack_poisons_nothing_and_triggers_the_validation_images():
    attack, like = NoAttack(target="dog", trigger_size=10), HTBA(target="dog", trigger_size=10)
    assert train(attack) == []
    assert attack.poison_val(0, scene(), Seeds(0)) == like.poison_val(0, scene(), Seeds(0))
    with pytest.raises(BenchError, match="no class 'dgo'"):
        train(NoAttack(target="dgo"))


def test_a_natural_patch_is_a_piece_of_a_photograph():
    first, same, other = (HTBA(trigger="natural", trigger_seed=seed).picture(0, 80) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert first.float().std() > 30
    assert len(np.unique(first.numpy())) > 64  # no mosaic


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"trigger_scale": (1.2, 0.8)}, r"trigger_scale is \[1.2, 0.8\], expected two numbers, the lower first"),
        ({"opacity": (0.5, 1.5)}, r"opacity is .* up to 1"),
        ({"opacity": (0.0, 1.0)}, "above 0"),
        ({"brightness": (-1.0, 1.0)}, "brightness is"),
        ({"saturation": -1.0}, "saturation is -1.0, expected 0 to 4"),
        ({"rotation": 181.0}, "rotation is 181.0, expected 0 to 180 degrees"),
        ({"jpeg": 96}, "jpeg is 96, expected a quality from 1 to 95, or 0"),
        ({"paste_on": "photo"}, "'image' or 'original'"),
    ],
)
def test_looks_that_cannot_be(options, complaint):
    with pytest.raises(BenchError, match=complaint):
        make(HTBA, options, "attack 'htba'")


def test_the_largest_size_must_fit():
    with pytest.raises(BenchError, match="a trigger of 18 px does not fit"):
        train(HTBA(target="dog", trigger_size=15, trigger_scale=(0.8, 1.2)))


# --- on the photograph, before it is resized ----------------------------------------------------------------------


def photographs(folder, shapes):
    """Grey files of these (height, width), and the images of 56 px that FileImages makes of them."""
    for number, (height, width) in enumerate(shapes):
        Image.new("RGB", (width, height), (90, 90, 90)).save(folder / f"{number}.png")
    return FileImages([f"{number}.png" for number in range(len(shapes))], 56, root=folder)


def test_on_the_original_by_hand(tmp_path):
    """A photograph of 500 x 375 px at 56 px: 50 px become round(50 * 56 / 375) = 7 px, at the place of the seed less
    the 62 px that the square leaves out on the left."""
    images = photographs(tmp_path, [(375, 500)])
    assert images.original_size(0) == (375, 500)
    attack = HTBA(target=0, rate=1.0, trigger_size=50, paste_on="original")
    split = SplitInfo(labels=np.zeros(1, np.int64), classes=("cat",), size=56, original_size=images.original_size)
    (row,) = attack.poison_train(split, Seeds(0))
    left, top = 125 + row.seed % 201, 94 + row.seed // 201 % 138  # corners 125 to 325 and 94 (93.75) to 231 (231.25)
    assert row.box == (round(top * 56 / 375), round((left - 62) * 56 / 375), 7, 7)
    image = PoisonedImages(images, [row], attack.apply, attack.apply_original).batch([0])[0]
    changed = ((image.int() - 90).abs() > 30).any(0)  # bicubic: a little for up to two pixels around it
    rows, columns = changed.any(1).nonzero(), changed.any(0).nonzero()
    found = (int(rows[0]), int(columns[0]), int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1)
    assert max(abs(a - b) for a, b in zip(found, row.box, strict=True)) <= 2


@given(st.integers(40, 300), st.integers(40, 300), st.integers(0, 2**62))
@settings(max_examples=60, deadline=None)
def test_boxes_on_originals_lie_in_the_image(height, width, seed):
    attack = HTBA(target=0, rate=1.0, trigger_size=0.2, paste_on="original")
    split = SplitInfo(
        labels=np.zeros(1, np.int64), classes=("cat",), size=32, original_size=lambda index: (height, width)
    )
    top, left, high, wide = attack.poison_train(split, Seeds(seed))[0].box
    assert 0 <= top <= 32 - high
    assert 0 <= left <= 32 - wide
    assert abs(high - 6.4) <= 1.1


def test_images_without_originals_are_their_own(tmp_path):
    stack = Subset(Decoded(ArrayImages(np.full((3, 3, 32, 32), 9, np.uint8))), [2, 0])
    assert stack.original_size(1) == (32, 32)
    assert torch.equal(stack.edited(0, lambda image: image + 1), torch.full((3, 32, 32), 10, dtype=torch.uint8))
    small = Resized(photographs(tmp_path, [(80, 60)]), 16)
    assert small.original_size(0) == (80, 60)
    assert small.edited(0, lambda image: image * 0).shape == (3, 16, 16)
    split = SplitInfo(labels=np.zeros(1, np.int64), classes=("cat",), size=56, original_size=small.original_size)
    with pytest.raises(BenchError, match="does not fit between"):
        HTBA(target=0, trigger_size=50, paste_on="original").poison_train(split, Seeds(0))
