"""Blend, SIG and FIBA: values by hand, NumPy's transform beside ours, the size of the change, bad options."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image

from bench import BenchError, Poison, Seeds, SplitInfo
from bench.attacks.blend import Blend
from bench.attacks.fiba import FIBA
from bench.attacks.sig import SIG
from bench.attacks.triggers import noise

CLASSES = ("cat", "dog", "owl")


def scene(per_class=10, size=16):
    return SplitInfo(labels=np.repeat(np.arange(len(CLASSES)), per_class), classes=CLASSES, size=size)


def row(strength):
    return Poison(index=0, trigger=0, target=0, box=None, seed=0, strength=strength)


def images(count, size, seed=0):
    draw = Seeds(seed, "images").torch()
    return torch.randint(0, 256, (count, 3, size, size), generator=draw, dtype=torch.uint8)


def flat(value, size=4):
    return torch.full((1, 3, size, size), value, dtype=torch.uint8)


@pytest.fixture
def grey(tmp_path):
    """A PNG of 200 everywhere."""
    file = tmp_path / "grey.png"
    Image.new("RGB", (4, 4), (200, 200, 200)).save(file)
    return str(file)


@pytest.mark.parametrize(
    ("attack", "strengths"),
    [
        (Blend(target="dog", rate=0.3, val_alpha=0.5), (0.2, 0.5)),
        (SIG(target="dog", rate=0.3, val_delta=40.0), (20.0, 40.0)),
        (FIBA(target="dog", rate=0.3, alpha=0.3), (0.3, 0.15)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_rows_have_no_box_and_the_strength_of_their_split(attack, strengths):
    train, val = attack.poison_train(scene(), Seeds(0)), attack.poison_val(0, scene(), Seeds(0))
    assert (len(train), {each.index // 10 for each in train}) == (3, {1})
    assert [each.index for each in val] == list(range(30))
    for rows, strength in zip((train, val), strengths, strict=True):
        assert {(each.trigger, each.target, each.box, each.strength) for each in rows} == {(0, 1, None, strength)}
    with pytest.raises(BenchError, match=f"no trigger 1: {attack.name} has one"):
        attack.poison_val(1, scene(), Seeds(0))
    with pytest.raises(ValueError, match="row 0 has no strength"):
        attack.apply(flat(0), [dataclasses.replace(row(1.0), strength=None)])


def test_blend_by_hand(grey):
    """0.8 x 100 + 0.2 x 200 = 120; 0.75 x 99 + 0.25 x 200 = 124.25."""
    assert Blend(picture=grey).apply(flat(100), [row(0.2)]).unique().tolist() == [120]
    assert Blend(picture=grey).apply(flat(99), [row(0.25)]).unique().tolist() == [124]
    assert Blend(picture=grey).apply(flat(0), [row(1.0)]).unique().tolist() == [200]


def test_noise_has_a_colour_of_its_own_in_each_of_32_x_32_cells():
    first = noise(0)
    assert (first.shape, first.dtype) == ((32, 32, 3), np.uint8)
    assert np.array_equal(first, noise(0))
    assert not np.array_equal(first, noise(1))
    assert abs(first.mean() - 127.5) < 5  # of 3,072 uniform values: a standard error of 1.3
    whole = Blend(picture_seed=1).apply(flat(7, 32), [row(1.0)])[0]
    assert np.array_equal(whole.permute(1, 2, 0).numpy(), noise(1))


def test_blend_is_named_by_the_pixels_of_its_picture(grey):
    known = Blend(picture=grey).identity()
    assert known["picture"] == "grey.png"
    Image.new("RGB", (4, 4), (201, 200, 200)).save(grey)
    assert Blend(picture=grey).identity()["picture_sha256"] != known["picture_sha256"]
    assert FIBA(picture=grey).identity()["picture_sha256"] != known["picture_sha256"]


def test_sinusoid_by_hand():
    """One period on 4 px: 20 sin(90, 180, 270, 360 degrees)."""
    done = SIG(frequency=1.0).apply(torch.cat([flat(10), flat(250)]), [row(20.0)] * 2)
    assert done[0, :, 2].tolist() == [[30, 10, 0, 10]] * 3
    assert done[1, :, 2].tolist() == [[255, 250, 230, 250]] * 3
    assert torch.equal(done, done[:, :, :1].expand_as(done)), "all rows are alike"


def test_sinusoid_of_the_paper_on_32_px():
    """20 sin(67.5 degrees) = 18.5, 20 sin(135) = 14.1, 20 sin(202.5) = -7.7, 20 sin(270) = -20; half the width on,
    three periods later, the same."""
    line = (SIG().apply(flat(100, 32), [row(20.0)])[0, 0, 0].long() - 100).tolist()
    assert line[:4] == [18, 14, -8, -20]
    assert line[16:] == line[:16]


def test_fiba_by_hand(grey):
    """With the mean alone (beta 0) every pixel goes up by 0.15 x (200 - 100); of a flat image there is nothing else."""
    chess = torch.tensor([[90, 110], [110, 90]], dtype=torch.uint8).expand(1, 3, 2, 2)
    assert (FIBA(picture=grey, beta=0.0).apply(chess, [row(0.15)])[0, 1]).tolist() == [[105, 125], [125, 105]]
    assert FIBA(picture=grey).apply(flat(100, 32), [row(0.15)]).unique().tolist() == [115]


@pytest.mark.parametrize(("size", "beta", "near"), [(32, 0.1, 3), (21, 0.1, 2), (8, 0.5, 4)])
def test_fiba_mixes_amplitudes_near_the_mean_and_keeps_the_phase(size, beta, near):
    """By numpy.fft, with the zero frequency shifted to the middle as the paper draws it."""
    attack, image = FIBA(beta=beta, picture="mosaic"), images(1, size)[0]
    done = attack.triggered(image, 0.4).numpy()
    picture = attack._trigger(size).pixels(size).numpy()
    own, other, new = (
        np.fft.fftshift(np.fft.fft2(each.astype(float)), (1, 2)) for each in (image.numpy(), picture, done)
    )
    middle = slice(max(0, size // 2 - near), size // 2 + near + 1)
    expected = np.abs(own)
    expected[:, middle, middle] = 0.6 * np.abs(own[:, middle, middle]) + 0.4 * np.abs(other[:, middle, middle])
    assert np.allclose(np.abs(new), expected, atol=1e-6)
    seen = np.abs(new) > 1e-3
    assert np.allclose((new / own)[seen].imag, 0, atol=1e-9)
    assert ((new / own)[seen].real > 0).all()


@settings(deadline=None, max_examples=30)
@given(size=st.integers(2, 40), strength=st.floats(0.01, 1.0), seed=st.integers(0, 99))
def test_the_change_is_bounded(size, strength, seed):
    clean = images(2, size, seed)
    for attack, most in ((Blend(), 255 * strength), (SIG(), 40 * strength)):
        given = strength if attack.name == "blend" else 40 * strength
        done = attack.apply(clean, [row(given), row(given)])
        assert (done.dtype, done.shape) == (torch.uint8, clean.shape)
        assert (done.long() - clean.long()).abs().max() <= most + 0.5
    assert FIBA().apply(clean, [row(strength), row(strength)]).shape == clean.shape


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Blend(alpha=0.0), r"alpha is 0\.0, expected a share above 0 and up to 1 \(the paper's: 0\.2\)"),
        (lambda: Blend(val_alpha=1.5), r"val_alpha is 1\.5"),
        (lambda: Blend(rate=0.0), r"rate is 0\.0"),
        (lambda: SIG(delta=-1.0), r"delta is -1\.0, expected a number above 0 \(the paper's: 20\)"),
        (lambda: SIG(frequency=float("inf")), "frequency is inf"),
        (lambda: FIBA(alpha=2.0), r"alpha is 2\.0"),
        (lambda: FIBA(beta=0.6), r"beta is 0\.6, expected a share of the width from 0 to 0\.5"),
        (lambda: FIBA(picture="nowhere.png").identity(), "no trigger file 'nowhere.png'"),
        (lambda: SIG(delta=0.4).poison_train(scene(), Seeds(0)), r"amplitude 0\.4 and frequency 6 change no pixel"),
        (
            lambda: SIG(frequency=8.0).poison_train(scene(), Seeds(0)),
            "frequency 8 change no pixel of images 16 px wide",
        ),
    ],
)
def test_what_is_refused(make, told):
    with pytest.raises(BenchError, match=told):
        make()
