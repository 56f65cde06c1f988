"""Random views: every change against values worked out by hand or torchvision's, and the draws' laws."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torchvision.transforms.v2 import functional as tv

from bench.data.augment import IMAGENET_MEAN, IMAGENET_STD, ViewSpec, draw, normalise, render
from bench.seeds import Seeds

PLAIN = ViewSpec(size=32, scale=(1.0, 1.0), aspect=(1.0, 1.0), flip=0.0, jitter_p=0.0, grey_p=0.0)
RANDOM = ViewSpec(size=24, scale=(0.2, 1.0), blur_p=0.5, solarise_p=0.5)
LUMA = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)


def noise(count=4, size=32, low=0.0, high=1.0):
    return torch.rand(count, 3, size, size, generator=Seeds(1).torch()) * (high - low) + low


def changed(spec, **more):
    return ViewSpec(**{**vars(spec), **more})


def raw(views):
    """A view's pixels in [0, 1]: the normalisation undone."""
    return views * torch.tensor(IMAGENET_STD).view(3, 1, 1) + torch.tensor(IMAGENET_MEAN).view(3, 1, 1)


def view(images, spec=PLAIN, **draws):
    """The view with those draws set by hand, its pixels in [0, 1]."""
    drawn = draw(spec, len(images), Seeds(2).torch())
    given = {name: torch.tensor(value).float().expand_as(drawn[name]) for name, value in draws.items()}
    return raw(render(images, spec, {**drawn, **given}))


def close(got, expected, atol=2e-5):
    torch.testing.assert_close(got, expected, atol=atol, rtol=0)


def test_views_have_the_specs_shape_and_are_normalised():
    made = render(noise(), RANDOM, draw(RANDOM, 4, Seeds(0).torch()))
    assert made.shape == (4, 3, 24, 24)
    assert made.dtype == torch.float32
    assert raw(made).min() >= -1e-5
    assert raw(made).max() <= 1 + 1e-5


def test_normalise_by_hand():
    pixels = torch.tensor([0.485 + 0.229, 0.456, 0.0]).view(1, 3, 1, 1)
    close(normalise(pixels).flatten(), torch.tensor([1.0, 0.0, -0.406 / 0.225]))


def test_identity_settings_give_back_the_image():
    close(view(noise()), noise())


def test_half_the_size_takes_the_mean_of_each_two_by_two_block():
    images = noise()
    blocks = images.view(4, 3, 16, 2, 16, 2).mean((3, 5))
    close(view(images, changed(PLAIN, size=16)), blocks)


def test_a_crop_of_a_quarter_is_that_quarter():
    images = noise()
    spec = changed(PLAIN, size=16)
    close(view(images, spec, size=[0.5, 0.5], centre=[-0.5, 0.5]), images[:, :, :16, 16:])
    close(view(images, spec, size=[0.5, 0.5], centre=[0.5, -0.5]), images[:, :, 16:, :16])


def test_flip_mirrors_left_and_right():
    close(view(noise(), changed(PLAIN, flip=1.0)), noise().flip(3))


def test_grey_makes_the_channels_equal_to_the_luma():
    images = noise()
    close(view(images, changed(PLAIN, grey_p=1.0)), (images * LUMA).sum(1, keepdim=True).expand_as(images))


@pytest.mark.parametrize(
    ("jitter", "function"),
    [
        ([1.2, 1, 1, 0], lambda x: tv.adjust_brightness(x, 1.2)),
        ([1, 0.6, 1, 0], lambda x: tv.adjust_contrast(x, 0.6)),
        ([1, 1, 0.3, 0], lambda x: tv.adjust_saturation(x, 0.3)),
        ([1, 1, 1.4, 0], lambda x: tv.adjust_saturation(x, 1.4)),
        ([0.9, 1.3, 1, 0], lambda x: tv.adjust_contrast(tv.adjust_brightness(x, 0.9), 1.3)),
        (
            [0.9, 1.3, 0.5, 0],
            lambda x: tv.adjust_saturation(tv.adjust_contrast(tv.adjust_brightness(x, 0.9), 1.3), 0.5),
        ),
    ],
)
def test_jitter_is_torchvisions_where_nothing_is_clipped(jitter, function):
    images = noise(low=0.3, high=0.6)
    close(view(images, jitter=jitter), function(images), atol=1e-3)  # torchvision's luma is 0.2989 of red


def test_jitter_is_clipped_to_the_range_of_pixels():
    close(view(noise(), jitter=[3.0, 1, 1, 0]), (noise() * 3).clamp(max=1.0))


@pytest.mark.parametrize("turn", [-0.3, 0.05, 0.25, 0.5])
def test_hue_turns_colours_and_keeps_their_luma(turn):
    images = noise(low=0.45, high=0.55)
    turned = view(images, jitter=[1, 1, 1, turn])
    close((turned * LUMA).sum(1), (images * LUMA).sum(1), atol=1e-3)
    assert (turned - images).abs().max() > 0.01


def test_a_whole_turn_of_hue_is_none_and_half_a_turn_is_the_opposite_colour():
    images = noise(low=0.45, high=0.55)
    close(view(images, jitter=[1, 1, 1, 1.0]), images, atol=1e-4)
    grey = (images * LUMA).sum(1, keepdim=True)
    close(view(images, jitter=[1, 1, 1, 0.5]), 2 * grey - images, atol=1e-3)


def test_blur_with_sigma_0_is_the_identity():
    close(view(noise(), changed(PLAIN, blur_p=1.0), sigma=0.0), noise())


def test_blur_spreads_a_point_by_the_gaussian():
    """At 112 px a drawn sigma of 2 is 1 px; the kernel ends after 3 px."""
    images = torch.zeros(1, 3, 112, 112)
    images[:, :, 50, 60] = 1.0
    made = view(images, changed(PLAIN, size=112, blur_p=1.0), sigma=2.0)
    weights = [math.exp(-k * k / 2) for k in range(-3, 4)]
    weights = [weight / sum(weights) for weight in weights]
    for dy, dx in [(0, 0), (0, 1), (2, -1), (-3, 3)]:
        assert made[0, 1, 50 + dy, 60 + dx].item() == pytest.approx(weights[3 + dy] * weights[3 + dx], abs=2e-5)
    assert made[0, 1].sum().item() == pytest.approx(1, abs=2e-3)


def test_each_image_has_its_own_sigma():
    spec = changed(PLAIN, size=112, blur_p=1.0)
    images = noise(2, size=112)
    drawn = {**draw(spec, 2, Seeds(0).torch()), "sigma": torch.tensor([0.0, 2.0])}
    made = raw(render(images, spec, drawn))
    close(made[0], images[0])
    assert made[1].std() < 0.6 * images[1].std()


def test_solarise_turns_bright_pixels_round():
    images = noise()
    close(view(images, changed(PLAIN, solarise_p=1.0)), torch.where(images >= 0.5, 1 - images, images))


def test_a_slice_of_the_batch_gives_the_same_views_as_the_whole():
    """What makes several processes see what one would see."""
    images, draws = noise(8), draw(RANDOM, 8, Seeds(0).torch())
    whole = render(images, RANDOM, draws)
    for rows in (slice(0, 3), slice(3, 4), slice(4, 8)):
        part = render(images[rows], RANDOM, {name: value[rows] for name, value in draws.items()})
        close(part, whole[rows], atol=1e-5)


@pytest.mark.usefixtures("global_rng")
def test_views_follow_from_the_generator_alone():
    made = [render(noise(), RANDOM, draw(RANDOM, 4, Seeds(seed).torch())) for seed in (0, 0, 1)]
    assert torch.equal(made[0], made[1])
    assert not torch.allclose(made[0], made[2], atol=0.1)


def test_rendering_does_not_change_images_or_draws():
    images, draws = noise(), draw(RANDOM, 4, Seeds(0).torch())
    before = {name: value.clone() for name, value in draws.items()}
    render(images, RANDOM, draws)
    assert torch.equal(images, noise())
    assert all(torch.equal(before[name], value) for name, value in draws.items())


shares = st.floats(0, 1)


@settings(max_examples=30, deadline=None)
@given(
    scale=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted),
    jitter=st.tuples(shares, shares, shares, st.floats(0, 0.5)),
    chances=st.tuples(shares, shares, shares, shares, shares),
    count=st.integers(1, 40),
    seed=st.integers(0, 2**60),
)
def test_draws_stay_in_their_ranges(scale, jitter, chances, count, seed):
    flip, jitter_p, grey_p, blur_p, solarise_p = chances
    spec = ViewSpec(
        size=32,
        scale=tuple(scale),
        flip=flip,
        jitter=jitter,
        jitter_p=jitter_p,
        grey_p=grey_p,
        blur_p=blur_p,
        solarise_p=solarise_p,
    )
    draws = draw(spec, count, Seeds(seed).torch())
    assert all(len(value) == count and value.dtype == torch.float32 for value in draws.values())
    size, centre = draws["size"], draws["centre"]
    assert (size > 0).all()
    assert (size <= 1).all()
    assert (centre.abs() + size <= 1 + 1e-6).all()  # the crop lies inside the image
    area = size.prod(1)
    assert (area <= scale[1] + 1e-5).all()
    inside = (size < 1).all(1)
    assert (area[inside] >= scale[0] - 1e-5).all()
    aspect = size[inside, 0] / size[inside, 1]
    assert ((aspect >= 0.7499) & (aspect <= 1.3334)).all()
    plain = torch.tensor([1.0, 1.0, 1.0, 0.0])
    assert ((draws["jitter"] - plain).abs() <= torch.tensor(jitter) + 1e-6).all()
    for name, chance in (("flip", flip), ("grey", grey_p), ("solarise", solarise_p)):
        assert set(draws[name].tolist()) <= ({0.0, 1.0} if 0 < chance < 1 else {float(chance)})
    sigma = draws["sigma"]
    assert ((sigma == 0) | ((sigma >= 0.1) & (sigma <= 2.0))).all()
