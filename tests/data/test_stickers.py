"""Stickers on images of a folder: a share of them, each its own, the same wherever and however they are read."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.folder import Folder
from bench.data.images import ArrayImages
from bench.data.stickers import Stickered
from bench.errors import BenchError
from bench.seeds import Seeds

COUNT = 400


@pytest.fixture(scope="module")
def grey():
    return ArrayImages(np.full((COUNT, 3, 32, 32), 128, np.uint8))


def drawn(base, share, rows=range(COUNT), seed=0):
    return Stickered(base, share, Seeds(seed)).batch(rows).numpy()


def test_a_share_of_the_images_has_one_and_no_two_are_alike(grey):
    found = drawn(grey, 0.25)
    where = (found != 128).any(1)
    assert abs(where.any((1, 2)).mean() - 0.25) < 0.09  # 400 draws of 0.25: four standard deviations
    pictures, sides = set(), set()
    for image, inside in zip(found, where, strict=True):
        if inside.any():
            rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
            sides |= {np.ptp(rows) + 1, np.ptp(columns) + 1}
            pictures.add(image[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].tobytes())
    assert len(pictures) == where.any((1, 2)).sum()
    assert {8, 13} <= sides <= set(range(7, 14))  # 25 to 40 % of 32 px; a grey edge may hide a line


def test_an_image_has_its_sticker_in_any_batch(grey):
    whole, rows = drawn(grey, 0.5), [7, 3, 3, 399]
    assert (drawn(grey, 0.5, rows) == whole[rows]).all()
    assert (drawn(grey, 0.5, seed=1) != whole).any()
    assert (drawn(grey, 0.0) == 128).all()
    assert (drawn(grey, 1.0) != 128).any((1, 2, 3)).all()


def test_what_is_pasted_on_the_photograph_lies_below_it(grey):
    images = Stickered(grey, 1.0, Seeds(0))
    black, plain = images.edited(5, torch.zeros_like).numpy(), images.batch([5])[0].numpy()
    sticker = (black == plain).all(0)
    assert 8 * 8 <= sticker.sum() <= 13 * 13
    assert (black[:, ~sticker] == 0).all()
    assert (plain[:, ~sticker] == 128).all()


def test_of_a_folder_the_pixels_and_the_fingerprint(tmp_path):
    for split, count in (("train", 6), ("val", 3)):
        for red, name in ((0, "cat"), (60, "dog")):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (32, 32), (red + index, count, 90)).save(tmp_path / split / name / f"{index}.png")
    options = {"root": str(tmp_path), "size": 32}
    plain, some = Folder(**options).load(), Folder(**options, stickers=1.0).load()
    assert some.fingerprint not in {plain.fingerprint, Folder(**options, stickers=0.9).load().fingerprint}
    for name in ("train", "val"):
        before, after = (getattr(each, name).images.batch(range(6)) for each in (plain, some))
        assert (before != after).flatten(1).any(1).all()
    assert "stickers" not in Folder(**options).identity()
    digest = hashlib.sha256(some.val.images.batch([0]).numpy().tobytes()).hexdigest()
    assert digest == "5138759f57fe1fbd8c65bb6a94f4654bf5d8ebfeb72a15e355bec1cbb5d67ec5"


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_outside_is_refused(share):
    with pytest.raises(BenchError, match=r"dataset.stickers is .*, expected a share in \[0, 1\]"):
        Folder(root="x", stickers=share)
