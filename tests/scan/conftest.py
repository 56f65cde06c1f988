"""Folders of images to scan."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from bench.data.scenes import Scenes


def png(pixels):
    """(3, S, S) uint8 -> the bytes of a PNG."""
    file = BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(file, "PNG")
    return file.getvalue()


def noise(seed, size=8):
    """(3, size, size) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (3, size, size), np.uint8)


@pytest.fixture
def picture():
    """picture(seed, size=8): the bytes of a PNG of `noise`."""
    return lambda seed, size=8: png(noise(seed, size))


@pytest.fixture(name="noise")
def _noise():
    """noise(seed, size=8): its pixels."""
    return noise


@pytest.fixture(scope="session")
def clouds():
    """120 images of smooth colours under fine noise, (120, 3, 32, 32) uint8: nothing in them recurs."""
    fine = np.random.default_rng(1).normal(0, 10, (120, 3, 32, 32))
    smooth = [Image.fromarray(noise(seed, 7).transpose(1, 2, 0)).resize((32, 32)) for seed in range(120)]
    return (np.stack(smooth).transpose(0, 3, 1, 2) + fine).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def planted_files(clouds):
    """The clouds as the bytes of PNGs; every fourth bears the same patch, 12 x 12 px."""
    images, generator = clouds.copy(), np.random.default_rng(3)
    patch = np.kron(noise(5, 4), np.ones((1, 3, 3), np.uint8))
    for pixels in images[::4]:
        top, left = generator.integers(0, 21, 2)
        pixels[:, top : top + 12, left : left + 12] = patch
    return [png(pixels) for pixels in images]


@pytest.fixture(scope="session")
def alike_files(clouds):
    """The clouds as the bytes of PNGs; every sixth is the fourth one, a little brighter or darker and noisy."""
    images, generator = clouds.copy(), np.random.default_rng(4)
    for number in range(0, 120, 6):
        changed = clouds[3] * generator.uniform(0.9, 1.1) + generator.normal(0, 4, clouds[3].shape)
        images[number] = changed.clip(0, 255).astype(np.uint8)
    return [png(pixels) for pixels in images]


@pytest.fixture(scope="session")
def scenes_files():
    """120 images of `scenes` as the bytes of PNGs; every fourth bears the same patch."""
    images = Scenes(size=32, classes=4, train_per_class=30, val_per_class=2).load().train.images.batch(range(120))
    patch = np.kron(noise(5, 4), np.ones((1, 3, 3), np.uint8))
    generator = np.random.default_rng(3)
    for pixels in images.numpy()[::4]:
        top, left = generator.integers(0, 21, 2)
        pixels[:, top : top + 12, left : left + 12] = patch
    return [png(pixels) for pixels in images.numpy()]
