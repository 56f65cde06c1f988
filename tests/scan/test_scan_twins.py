"""Near-duplicates: what is nearly the same picture, and what only bears the same patch."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from bench.data.images import ArrayImages
from bench.scan import twins
from bench.scan.twins import groups_of, picture_of


def compressed(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(file, "JPEG", quality=80)
    return np.asarray(Image.open(file)).transpose(2, 0, 1)


def resized(pixels):
    small = Image.fromarray(pixels.transpose(1, 2, 0)).resize((24, 24))
    return np.asarray(small.resize((32, 32))).transpose(2, 0, 1)


def darker(pixels):
    return (pixels * 0.8).astype(np.uint8)


@pytest.mark.parametrize("few", [20_000, 10], ids=["every pair", "inverted lists"])
def test_changed_copies_are_one_picture_and_the_others_are_not(clouds, monkeypatch, few):
    monkeypatch.setattr(twins, "FEW", few)
    images = clouds.copy()
    images[[10, 20, 30]] = [change(images[5]) for change in (compressed, resized, darker)]
    images[70] = darker(images[60])
    picture = picture_of(ArrayImages(images))
    assert {place: int(one) for place, one in enumerate(picture) if one != place} == {10: 5, 20: 5, 30: 5, 70: 60}
    assert [group.tolist() for group in groups_of(picture)] == [[5, 10, 20, 30], [60, 70]]


def test_one_patch_on_plain_grounds_does_not_make_one_picture():
    generator = np.random.default_rng(0)
    images = generator.normal(128, 6, (40, 3, 32, 32))
    images[:, :, 4:16, 10:22] = np.kron(generator.integers(0, 256, (3, 4, 4)), np.ones((1, 3, 3)))
    flat = images.reshape(40, -1)
    assert np.corrcoef(flat)[0, 1:].min() > 0.95, "as wholes they are alike"
    assert groups_of(picture_of(ArrayImages(images.clip(0, 255).astype(np.uint8)))) == []


def test_plain_pictures_are_none():
    assert groups_of(picture_of(ArrayImages(np.full((3, 3, 32, 32), 255, np.uint8)))) == []
