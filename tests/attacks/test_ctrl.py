"""CTRL: the pixels against the transforms written out, by hand on 2 px, on any size; strengths; bad options."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.fft import dctn, idctn

from bench import BenchError, Poison, Seeds, SplitInfo
from bench.attacks.ctrl import CTRL, spectral_change

CLASSES = ("cat", "dog", "owl")
BANDS = ((15, 15), (31, 31))
YUV_TO_RGB = np.array([[1, 0, 1.13983], [1, -0.39465, -0.58060], [1, 2.03211, 0]])


def scene(per_class=10, size=32):
    return SplitInfo(labels=np.repeat(np.arange(len(CLASSES)), per_class), classes=CLASSES, size=size)


def images(count, size, seed=0):
    draw = Seeds(seed, "images").torch()
    return torch.randint(0, 256, (count, 3, size, size), generator=draw, dtype=torch.uint8)


def row(strength):
    return Poison(index=0, trigger=0, target=0, box=None, seed=0, strength=strength)


def written_out(image, magnitude, window=32, bands=BANDS):
    """RGB -> YUV -> DCT of each block of U and V -> add -> back -> round and clip. image: uint8 (3, S, S)."""
    yuv = np.einsum("ij,jhw->ihw", np.linalg.inv(YUV_TO_RGB), image.numpy().astype(float))
    for channel in (1, 2):
        for top in range(0, image.shape[1], window):
            for left in range(0, image.shape[2], window):
                block = (channel, slice(top, top + window), slice(left, left + window))
                spectrum = dctn(yuv[block], norm="ortho")
                for band in bands:
                    spectrum[band] += magnitude
                yuv[block] = idctn(spectrum, norm="ortho")
    rgb = np.einsum("ij,jhw->ihw", YUV_TO_RGB, yuv)
    return torch.from_numpy(rgb.round().clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("size", "options"), [(32, {}), (64, {}), (16, {"window": 8, "bands": ((0, 3), (7, 1))})], ids=["32", "64", "bands"]
)
def test_it_is_what_the_transforms_give_as_strongly_as_each_row_requires(size, options):
    clean, strengths = images(2, size), (50.0, 100.0)
    done = CTRL(**options).apply(clean, [row(strength) for strength in strengths])
    for one, image, strength in zip(done, clean, strengths, strict=True):
        assert torch.equal(one, written_out(image, strength, **options))


def test_two_pixels_by_hand():
    """The constant of a 2 px block: magnitude / 2 = 10 more of U and V, so R + 11.4, G - 9.75, B + 20.3."""
    grey = torch.full((1, 3, 2, 2), 100, dtype=torch.uint8)
    flat = CTRL(window=2, bands=((0, 0),)).apply(grey, [row(20.0)])[0]
    assert [channel.unique().tolist() for channel in flat] == [[111], [90], [120]]
    chess = CTRL(window=2, bands=((1, 1),)).apply(grey, [row(20.0)])[0]
    assert chess.tolist() == [[[111, 89], [89, 111]], [[90, 110], [110, 90]], [[120, 80], [80, 120]]]


def test_a_smaller_image_has_the_same_share_of_the_spectrum_and_the_same_grey_levels():
    for size, bands, magnitude in ((24, ((11, 11), (23, 23)), 37.5), (16, ((7, 7), (15, 15)), 25.0)):
        assert torch.equal(spectral_change(size, 32, BANDS, 50.0), spectral_change(size, size, bands, magnitude))
    highest = [int(spectral_change(size, 32, BANDS, 100.0).abs().max()) for size in (16, 24, 32, 224)]
    assert max(highest) - min(highest) <= 1


def test_a_larger_image_is_tiled_and_the_last_tiles_are_cut():
    tile, change = spectral_change(32, 32, BANDS, 50.0), spectral_change(40, 32, BANDS, 50.0)
    assert torch.equal(change[:, :32, :32], tile)
    assert torch.equal(change[:, 32:, 32:], tile[:, :8, :8])
    assert torch.equal(change[:, :32, 32:], tile[:, :, :8])


@settings(deadline=None, max_examples=40)
@given(size=st.integers(2, 80), window=st.integers(2, 40), magnitude=st.floats(20, 1e6), seed=st.integers(0, 99))
def test_any_size_stays_within_the_range_of_pixels(size, window, magnitude, seed):
    attack = CTRL(window=window, bands=((window // 2 - 1, window // 2 - 1), (window - 1, window - 1)))
    clean = images(2, size, seed)
    done = attack.apply(clean, [row(magnitude), row(magnitude)])
    change = spectral_change(size, window, attack.bands, magnitude)
    assert (done.dtype, done.shape) == (torch.uint8, clean.shape)
    up, down = change > 0, change < 0
    assert (done[:, up] >= clean[:, up]).all()
    assert (done[:, down] <= clean[:, down]).all()
    assert torch.equal(done[:, ~up & ~down], clean[:, ~up & ~down])


def test_rows_have_no_box_and_their_strength():
    attack = CTRL(target="dog", rate=0.3)
    train, val = attack.poison_train(scene(), Seeds(0)), attack.poison_val(0, scene(), Seeds(0))
    assert [each.index for each in val] == list(range(30))
    assert (len(train), {each.index // 10 for each in train}) == (3, {1})
    for rows, strength in ((train, 50.0), (val, 100.0)):
        assert {(each.trigger, each.target, each.box, each.strength) for each in rows} == {(0, 1, None, strength)}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"rate": 1.5}, "rate is 1.5"),
        ({"magnitude": 0}, "magnitude is 0, expected a number above 0"),
        ({"val_magnitude": float("nan")}, "val_magnitude is nan"),
        ({"window": 1}, "window is 1, expected a block of 2 pixels or more"),
        ({"bands": ()}, r"bands is \[\], expected pairs of numbers from 0 to window - 1 = 31"),
        ({"bands": ((0, 32),)}, r"bands is \[\[0, 32\]\]"),
        ({"bands": ((-1, 0),)}, r"bands is \[\[-1, 0\]\]"),
        ({"window": 16}, "from 0 to window - 1 = 15"),
    ],
)
def test_options_that_make_no_sense(options, told):
    with pytest.raises(BenchError, match=told):
        CTRL(**options)


def test_what_is_refused():
    with pytest.raises(BenchError, match=r"magnitude of 0\.5 changes no pixel of images 32 px wide"):
        CTRL(magnitude=0.5).poison_train(scene(), Seeds(0))
    with pytest.raises(BenchError, match="no trigger 1: ctrl has one"):
        CTRL().poison_val(1, scene(), Seeds(0))
    with pytest.raises(ValueError, match="1 images but 0 rows"):
        CTRL().apply(images(1, 8), [])
    with pytest.raises(ValueError, match="row 0 has no strength"):
        CTRL().apply(images(1, 8), [dataclasses.replace(row(1.0), strength=None)])
