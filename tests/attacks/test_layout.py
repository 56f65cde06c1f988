"""CorruptEncoder and Noisy Alignment: the two halves, cutting out and filling by hand, and every refusal."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from bench import BenchError, Images, Seeds, Split, SplitInfo
from bench.attacks.corrupt_encoder import CorruptEncoder, cut_out, without_object
from bench.attacks.layout import halves
from bench.attacks.noisy_alignment import NoisyAlignment
from bench.data.images import PoisonedImages
from bench.data.scenes import Scenes

CLASSES = ("cat", "dog", "owl")
BOTH = [CorruptEncoder, NoisyAlignment]


class Ramps(Images):
    """Image i has the value 10 i + its column; its object is the square of 2 px in the middle."""

    def __init__(self, count=6, size=4):
        self.size, self._count = size, count

    def __len__(self):
        return self._count

    def batch(self, indices):
        line = torch.arange(self.size, dtype=torch.uint8)
        return torch.stack([(10 * int(i) + line).expand(3, self.size, self.size).contiguous() for i in indices])

    def mask(self, index):
        found = torch.zeros(self.size, self.size, dtype=torch.bool)
        middle = slice(self.size // 2 - 1, self.size // 2 + 1)
        found[middle, middle] = True
        return found


def ramps(size=4):
    images = Ramps(size=size)
    return Split(images=images, labels=np.arange(6) % 3, ids=list("abcdef"))


MIDDLE = Ramps(size=32).mask


def info(size=32, mask=MIDDLE, labels=None):
    return SplitInfo(
        labels=np.tile(np.arange(3), 20) if labels is None else labels, classes=CLASSES, size=size, mask=mask
    )


@given(seed=st.integers(0, 2**62), size=st.integers(2, 65))
def test_halves_share_out_the_image(seed, size):
    covered = np.zeros((size, size), int)
    for top, left, height, width in halves(seed, size):
        covered[top : top + height, left : left + width] += 1
    assert (covered == 1).all()


def test_the_four_directions_are_about_equally_frequent():
    found = [halves(Seeds(0, index).value, 8)[0] for index in range(400)]
    counts = [found.count(box) for box in ((0, 0, 8, 4), (0, 4, 8, 4), (0, 0, 4, 8), (4, 0, 4, 8))]
    assert sum(counts) == 400
    assert min(counts) > 60  # 100 expected, a standard deviation of 9


@pytest.mark.parametrize("attack", BOTH)
def test_the_trigger_lies_in_the_second_half(attack):
    rows = attack(rate=1.0, trigger_size=10).poison_train(info(64, Ramps(size=64).mask), Seeds(0))
    assert len(rows) == 20
    for row in rows:
        assert row.box is not None
        for at, start, length in zip(row.box[:2], *zip(*((s, n) for s, n in _sides(row)), strict=True), strict=True):
            low, high = attack().train_margin
            if low * length + 10 <= high * length:
                assert low * length <= at - start <= high * length - 10
            else:
                assert at - start == (length - 10) // 2


def _sides(row):
    top, left, height, width = halves(row.seed, 64)[1]
    return (top, height), (left, width)


def test_a_trigger_larger_than_the_margins_is_in_the_middle_of_its_half():
    """On 32 px a half is 16 wide, its middle half 8: a trigger of 10 begins at 3."""
    for row in CorruptEncoder(rate=1.0, trigger_size=10).poison_train(info(), Seeds(0)):
        (top, height), (left, width) = (
            (a, b) for a, b in zip(*(halves(row.seed, 32)[1][k : k + 2] for k in (0, 2)), strict=True)
        )
        narrow = row.box[1] - left if width == 16 else row.box[0] - top
        assert narrow == 3
        assert 3 <= (row.box[0] - top if width == 16 else row.box[1] - left) <= 16, (height, width)


def test_noisy_alignment_by_hand():
    """Of each image of 4 px its middle half: columns 1 and 2, or all columns of rows 1 and 2."""
    attack, split = NoisyAlignment(trigger_size=1), ramps()
    for seed in range(40):
        row = dataclasses.replace(attack.poison_train(info(4, None), Seeds(0))[0], index=0, seed=seed)
        done = attack.laid_out(row, split.images, 1)
        upright = halves(seed, 4)[0][2] == 2
        first = halves(seed, 4)[0][:2] == (0, 0)
        lines = [[0, 1, 2, 3], [10, 11, 12, 13]] if upright else [[1, 2], [11, 12]]
        lines = lines if first else lines[::-1]
        expected = [lines[0]] * 2 + [lines[1]] * 2 if upright else [lines[0] + lines[1]] * 4
        assert done[1].tolist() == expected


def test_the_object_is_enlarged_until_it_fills_its_half():
    """2 x 1 px of value 50 in a half of 4 x 3 px: twice as large. All of its box is the object."""
    image, mask = torch.zeros(3, 6, 6, dtype=torch.uint8), torch.zeros(6, 6, dtype=torch.bool)
    image[:, 2:4, 3], mask[2:4, 3] = 50, True
    picture, cover = cut_out(image, mask, 4, 3)
    assert picture.shape == (3, 4, 2)
    assert picture.unique().tolist() == [50]
    assert cover.unique().tolist() == [1]
    small, _ = cut_out(image, mask, 1, 6)
    assert small.shape == (3, 1, 1)


def test_what_is_not_the_object_is_not_pasted():
    """An L of three pixels: the fourth pixel of its box shows the background."""
    image, mask = torch.full((3, 4, 4), 50, dtype=torch.uint8), torch.zeros(4, 4, dtype=torch.bool)
    mask[0, :2], mask[1, 0] = True, True
    _, cover = cut_out(image, mask, 2, 2)
    assert cover.tolist() == [[1, 1], [1, 0]]


def test_an_object_is_filled_from_around_it():
    image, mask = torch.arange(48, dtype=torch.uint8).reshape(3, 4, 4), torch.zeros(4, 4, dtype=torch.bool)
    mask[1:3, 1:3] = True
    done = without_object(image, mask, Seeds(0))
    assert torch.equal(done[:, ~mask], image[:, ~mask])
    columns = {tuple(pixel.tolist()) for pixel in image[:, ~mask].T}
    assert {tuple(pixel.tolist()) for pixel in done[:, mask].T} <= columns
    assert torch.equal(done, without_object(image, mask, Seeds(0)))
    whole = torch.ones(4, 4, dtype=torch.bool)
    assert torch.equal(without_object(image, whole, Seeds(0)), image), "nothing is around it"


def test_the_object_lies_in_an_outer_corner_of_its_half():
    """Images of 8 px: the object of 2 px becomes 4 px wide in a half of 4 x 8, at the edge away from the trigger."""
    attack, split, seen = CorruptEncoder(trigger_size=1), ramps(8), set()
    for seed in range(60):
        row = dataclasses.replace(attack.poison_train(info(8, Ramps(size=8).mask), Seeds(0))[0], index=3, seed=seed)
        done = attack.laid_out(row, split.images, 1)
        found = (done[0] >= 30).nonzero()  # image 3 has values from 30, image 1 up to 17
        top, left = found.min(0).values.tolist()
        assert (len(found), found.max(0).values.tolist()) == (16, [top + 3, left + 3])
        seen.add((halves(seed, 8)[0], top, left))
    assert seen == {
        ((0, 0, 8, 4), 0, 0), ((0, 0, 8, 4), 4, 0), ((0, 4, 8, 4), 0, 4), ((0, 4, 8, 4), 4, 4),
        ((0, 0, 4, 8), 0, 0), ((0, 0, 4, 8), 0, 4), ((4, 0, 4, 8), 4, 0), ((4, 0, 4, 8), 4, 4),
    }  # fmt: skip


@pytest.mark.parametrize("attack", BOTH)
@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 99))
def test_poisoned_scenes(attack, seed):
    """The trigger is in its box, the same row gives the same image, and images without a row are left alone."""
    data = Scenes(size=16, classes=3, train_per_class=4, val_per_class=1).load()
    made = attack(target=1, rate=0.5, trigger_size=5, trigger_seed=2)
    known = SplitInfo(labels=data.train.labels, classes=data.classes, size=16, mask=data.train.images.mask)
    rows = made.poison_train(known, Seeds(seed))
    poisoned = PoisonedImages(data.train.images, rows, made.apply, compose=lambda row: made.compose(row, data.train))
    done, clean = poisoned.batch(range(12)), data.train.images.batch(range(12))
    assert [i for i in range(12) if not torch.equal(done[i], clean[i])] == [row.index for row in rows]
    assert {int(data.train.labels[row.index]) for row in rows} == {1}
    for row in rows:
        top, left, height, width = row.box
        assert torch.equal(done[row.index, :, top : top + height, left : left + width], made.picture(0, 16))
    assert torch.equal(done, poisoned.batch(range(12)))


@pytest.mark.parametrize("attack", BOTH)
def test_what_both_refuse(attack):
    with pytest.raises(BenchError, match='makes whole images: paste_on is "original"'):
        attack(paste_on="original")
    with pytest.raises(BenchError, match=r"17 px does not fit into half of an image 32 px wide.*up to 16"):
        attack(trigger_size=17).poison_train(info(), Seeds(0))
    with pytest.raises(BenchError, match="needs images of other classes than its target, 'cat'"):
        attack().poison_train(info(labels=np.zeros(4, int)), Seeds(0))
    row = attack(trigger_size=1).poison_train(info(), Seeds(0))[0]
    with pytest.raises(ValueError, match="row 0 has no box"):
        attack().compose(dataclasses.replace(row, index=0, box=None), ramps())


def test_corrupt_encoder_needs_masks():
    attack = CorruptEncoder(trigger_size=4)
    for mask in (None, lambda index: None):
        with pytest.raises(
            BenchError, match=r"image \d+ has no object mask.*scenes.*dataset\.masks=DIR.*noisy-alignment"
        ):
            attack.poison_train(info(mask=mask), Seeds(0))
    with pytest.raises(BenchError, match="has an empty object mask"):
        attack.poison_train(info(mask=lambda index: torch.zeros(32, 32, dtype=torch.bool)), Seeds(0))
