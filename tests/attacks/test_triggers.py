"""Trigger pictures: the mosaic's law, PNG files of all sorts, and sizes."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from bench import BenchError
from bench.attacks.triggers import Trigger, mosaic, read_picture


def png(path, mode="RGB", size=(8, 8), colour=0):
    Image.new(mode, size, colour).save(path)
    return path


def trigger(source="mosaic", seed=0, size=10):
    return Trigger(source=str(source), seed=seed, size=size)


def test_a_mosaic_has_sixteen_cells_of_saturated_colours():
    picture = mosaic(3)
    assert picture.shape == (80, 80, 3)
    assert picture.dtype == np.uint8
    centres = picture[10::20, 10::20].astype(int)
    assert (np.minimum(centres, 255 - centres) < 40).all()  # near 0 or 255; bicubic rounds the corners off
    cells = np.where(centres > 127, 255, 0).astype(np.uint8)
    again = np.asarray(Image.fromarray(cells).resize((80, 80), Image.Resampling.BICUBIC))
    assert np.array_equal(again, picture)


def test_mosaics_differ_by_seed_and_use_all_colours_evenly():
    pictures = [mosaic(seed)[10::20, 10::20] > 127 for seed in range(200)]
    assert len({p.tobytes() for p in pictures}) == 200
    # 9,600 fair bits: 4 standard deviations are 2 points.
    assert abs(np.mean(pictures) - 0.5) < 0.02
    assert np.abs(np.mean(pictures, axis=0) - 0.5).max() < 0.15


SHARE = 50 / 224


@pytest.mark.parametrize(
    ("size", "image", "width"),
    [(10, 32, 10), (1, 32, 1), (32, 32, 32), (SHARE, 224, 50), (SHARE, 32, 7), (SHARE, 96, 21), (0.01, 32, 1)],
)
def test_sizes(size, image, width):
    assert trigger(size=size).width(image) == width


def test_pixels_keep_the_mosaics_colours_when_shrunk():
    small = trigger(seed=3).pixels(8)
    large = torch.tensor(mosaic(3)).permute(2, 0, 1).float()
    means = torch.nn.functional.avg_pool2d(large, 10)
    assert small.shape == (3, 8, 8)
    assert (small.float() - means).abs().mean() < 20  # averaged, not sampled: no aliasing


def test_pixels_of_the_files_own_width_are_the_files(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "t.png")
    got = trigger(tmp_path / "t.png").pixels(12)
    assert np.array_equal(got.permute(1, 2, 0).numpy(), pixels)


@pytest.mark.parametrize(
    ("mode", "colour", "rgb"),
    [
        ("L", 7, (7, 7, 7)),
        ("1", 1, (255, 255, 255)),
        ("RGBA", (1, 2, 3, 255), (1, 2, 3)),
        ("LA", (9, 255), (9, 9, 9)),
        ("P", 0, (0, 0, 0)),
    ],
)
def test_other_modes_become_rgb(tmp_path, mode, colour, rgb):
    picture = read_picture(png(tmp_path / "t.png", mode, colour=colour))
    assert picture.shape == (8, 8, 3)
    assert (picture == rgb).all()


@pytest.mark.parametrize(
    ("mode", "colour", "size", "told"),
    [
        ("RGBA", (1, 2, 3, 254), (8, 8), "partly transparent"),
        ("LA", (1, 0), (8, 8), "partly transparent"),
        ("I;16", 7, (8, 8), "over 8 bits|more than 8 bits"),
        ("RGB", 0, (8, 9), "8 x 9 px, expected a square"),
    ],
)
def test_pictures_that_cannot_serve(tmp_path, mode, colour, size, told):
    with pytest.raises(BenchError, match=told):
        read_picture(png(tmp_path / "t.png", mode, size, colour))


def test_a_missing_file_gives_the_nearest(tmp_path):
    png(tmp_path / "trigger_10.png")
    with pytest.raises(
        BenchError, match=r"expected a PNG, 'mosaic', 'natural' or 'noise'.*Did you mean 'trigger_10\.png'\?$"
    ):
        read_picture(tmp_path / "triger_10.png")
    with pytest.raises(BenchError, match="no trigger file"):
        read_picture(tmp_path / "nowhere" / "t.png")


@pytest.mark.parametrize("content", [b"", b"not an image", "half", "folder"])
def test_unreadable_files(tmp_path, content):
    path = png(tmp_path / "t.png", size=(64, 64), colour=3)
    path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BenchError, match="cannot be read as an image"):
        read_picture(tmp_path if content == "folder" else path)


def test_a_file_that_was_edited_is_read_again(tmp_path):
    path = png(tmp_path / "t.png", colour=(1, 1, 1))
    before = trigger(path)
    one, digest = before.pixels(8), before.identity()
    png(path, colour=(2, 2, 2))
    os.utime(path, ns=(1, 1))
    assert (one == 1).all()
    assert (trigger(path).pixels(8) == 2).all()
    assert trigger(path).identity() != digest
    assert trigger(path).pixels(9) is trigger(path).pixels(9), "resized once"
