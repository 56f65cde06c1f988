"""Random views: every change against values worked out by hand or torchvision's, and the draws' ranges."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as tv

from bench import augment
from bench.data.augment import IMAGENET_MEAN, IMAGENET_STD, ViewSpec, crop_shares, draw, render
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


def blocks(images):
    """The mean of each block of 2 x 2."""
    return images.view(4, 3, 16, 2, 16, 2).mean((3, 5))


def luma(images):
    return (images * LUMA).sum(1, keepdim=True).expand_as(images)


def adjusted(brightness=1.0, contrast=1.0, saturation=1.0):
    """torchvision's changes, one after another."""
    return lambda x: tv.adjust_saturation(tv.adjust_contrast(tv.adjust_brightness(x, brightness), contrast), saturation)


@pytest.mark.parametrize(
    ("spec", "draws", "expected"),
    [
        ({}, {}, lambda x: x),
        ({"size": 16}, {}, blocks),
        ({"flip": 1.0}, {}, lambda x: x.flip(3)),
        ({"size": 16}, {"size": [0.5, 0.5], "centre": [-0.5, 0.5]}, lambda x: x[:, :, :16, 16:]),
        ({"size": 16}, {"size": [0.5, 0.5], "centre": [0.5, -0.5]}, lambda x: x[:, :, 16:, :16]),
        ({"grey_p": 1.0}, {}, luma),
        ({"solarise_p": 1.0}, {}, lambda x: torch.where(x >= 0.5, 1 - x, x)),
        ({}, {"jitter": [3.0, 1, 1, 0]}, lambda x: (x * 3).clamp(max=1.0)),
    ],
)
def test_changes_by_hand(spec, draws, expected):
    close(view(noise(), changed(PLAIN, **spec), **draws), expected(noise()))


@pytest.mark.parametrize(
    ("jitter", "expected"),
    [
        ([1.2, 1, 1, 0], adjusted(brightness=1.2)),
        ([1, 0.6, 1, 0], adjusted(contrast=0.6)),
        ([1, 1, 0.3, 0], adjusted(saturation=0.3)),
        ([1, 1, 1.4, 0], adjusted(saturation=1.4)),
        ([0.9, 1.3, 1, 0], adjusted(0.9, 1.3)),
        ([0.9, 1.3, 0.5, 0], adjusted(0.9, 1.3, 0.5)),
        ([1, 1, 1, 1.0], lambda x: x),  # a whole turn of hue
        ([1, 1, 1, 0.5], lambda x: 2 * luma(x) - x),  # half a turn is the opposite colour
    ],
)
def test_jitter_is_torchvisions_and_hue_a_turn_where_nothing_is_clipped(jitter, expected):
    images = noise(low=0.3, high=0.6)
    close(view(images, jitter=jitter), expected(images), atol=1e-4)  # torchvision's luma is 0.2989 of red


@pytest.mark.parametrize("turn", [-0.3, 0.05, 0.25, 0.5])
def test_hue_turns_colours_and_keeps_their_luma(turn):
    images = noise(low=0.45, high=0.55)
    turned = view(images, jitter=[1, 1, 1, turn])
    close(luma(turned), luma(images), atol=1e-3)
    assert (turned - images).abs().max() > 0.01


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
    close(made[0], images[0])  # sigma 0 leaves the image as it is
    assert made[1].std() < 0.6 * images[1].std()


def test_views_are_normalised_as_their_spec_says():
    given = {"mean": (0.5, 0.25, 0.0), "std": (0.5, 0.5, 0.2)}
    spec = ViewSpec(size=8, scale=(1.0, 1.0), aspect=(1.0, 1.0), jitter_p=0.0, **given)
    views = render(torch.ones(2, 3, 8, 8), spec, draw(spec, 2, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(views, torch.tensor([1.0, 1.5, 5.0]).view(1, 3, 1, 1).expand(2, 3, 8, 8))


def test_a_slice_of_the_batch_gives_the_same_views_as_the_whole():
    """What makes several processes see what one would see."""
    images, draws = noise(8), draw(RANDOM, 8, Seeds(0).torch())
    whole = render(images, RANDOM, draws)
    for rows in (slice(0, 3), slice(3, 4), slice(4, 8)):
        part = render(images[rows], RANDOM, {name: value[rows] for name, value in draws.items()})
        close(part, whole[rows], atol=1e-5)


@pytest.mark.usefixtures("global_rng")
def test_views_follow_from_the_generator_alone_and_change_neither_images_nor_draws():
    images, draws = noise(), draw(RANDOM, 4, Seeds(0).torch())
    before = {name: value.clone() for name, value in draws.items()}
    made, other = render(images, RANDOM, draws), render(images, RANDOM, draw(RANDOM, 4, Seeds(1).torch()))
    assert (made.shape, made.dtype) == ((4, 3, 24, 24), torch.float32)
    assert -1e-5 <= raw(made).min() <= raw(made).max() <= 1 + 1e-5
    assert not torch.allclose(made, other, atol=0.1)
    assert torch.equal(images, noise())
    again = draw(RANDOM, 4, Seeds(0).torch())
    assert all(torch.equal(before[name], value) and torch.equal(again[name], value) for name, value in draws.items())


MANY = 40_000


def torchvisions_crops(scale, aspect, side=2000):
    """Heights and widths, as shares of the side, of MANY crops that torchvision draws: of 2000 px, to round next to
    nothing."""
    image = torch.empty(1, 1, 1).expand(1, side, side)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        drawn = [RandomResizedCrop.get_params(image, list(scale), list(aspect))[2:] for _ in range(MANY)]
    return (torch.tensor(drawn) / side).unbind(1)


@pytest.mark.parametrize(
    ("scale", "aspect", "mean"),
    [
        ((0.08, 1.0), (3 / 4, 4 / 3), 0.479),  # sides cut off at 1 would give 0.534
        ((0.15, 0.7), (3 / 4, 4 / 3), 0.425),  # a side over 1 is rare
        ((0.9, 1.0), (1 / 4, 4.0), 0.979),  # most do not fit, and a few not in ten tries: the whole image
    ],
)
def test_crops_are_distributed_as_torchvisions(scale, aspect, mean):
    height, width = crop_shares(MANY, scale, aspect, Seeds(4).torch())
    assert ((height > 0) & (height <= 1) & (width > 0) & (width <= 1)).all()
    theirs_height, theirs_width = torchvisions_crops(scale, aspect)
    area, theirs = height * width, theirs_height * theirs_width
    assert area.mean().item() == pytest.approx(mean, abs=0.005)
    assert area.mean().item() == pytest.approx(theirs.mean().item(), abs=0.005)
    marks = torch.linspace(0.05, 0.95, 19)
    for ours, other in ((area, theirs), ((width / height).log(), (theirs_width / theirs_height).log())):
        torch.testing.assert_close(ours.quantile(marks), other.quantile(marks), atol=0.02, rtol=0)
    whole, theirs_whole = ((each == 1).float().mean().item() for each in (area, theirs))
    assert whole == pytest.approx(theirs_whole, abs=0.01)


def test_crops_of_a_view_are_these():
    drawn = draw(changed(PLAIN, scale=(0.08, 1.0), aspect=(3 / 4, 4 / 3)), 7, Seeds(4).torch())["size"]
    expected = crop_shares(7, (0.08, 1.0), (3 / 4, 4 / 3), Seeds(4).torch())
    assert torch.equal(drawn, torch.stack(expected, 1))


shares = st.floats(0, 1)


@settings(max_examples=30, deadline=None)
@given(
    scale=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted),
    jitter=st.tuples(shares, shares, shares, st.floats(0, 0.5)),
    chances=st.fixed_dictionaries(dict.fromkeys(("flip", "jitter_p", "grey_p", "blur_p", "solarise_p"), shares)),
    count=st.integers(1, 40),
    seed=st.integers(0, 2**60),
)
def test_draws_stay_in_their_ranges(scale, jitter, chances, count, seed):
    spec = ViewSpec(size=32, scale=tuple(scale), jitter=jitter, **chances)
    draws = draw(spec, count, Seeds(seed).torch())
    assert all(len(value) == count and value.dtype == torch.float32 for value in draws.values())
    size, centre = draws["size"], draws["centre"]
    assert ((size > 0) & (size <= 1)).all()
    assert (centre.abs() + size <= 1 + 1e-6).all()  # the crop lies inside the image
    area = size.prod(1)
    inside = ~(size == 1).all(1)  # where no crop fits in several tries, as torchvision's, it is the whole square
    assert (area[inside] <= scale[1] + 1e-5).all()
    assert (area[inside] >= scale[0] - 1e-5).all()
    aspect = size[inside, 0] / size[inside, 1]
    assert ((aspect >= 0.7499) & (aspect <= 1.3334)).all()
    plain = torch.tensor([1.0, 1.0, 1.0, 0.0])
    assert ((draws["jitter"] - plain).abs() <= torch.tensor(jitter) + 1e-6).all()
    for name, option in (("flip", "flip"), ("grey", "grey_p"), ("solarise", "solarise_p")):
        chance = chances[option]
        assert set(draws[name].tolist()) <= ({0.0, 1.0} if 0 < chance < 1 else {float(chance)})
    sigma = draws["sigma"]
    assert ((sigma == 0) | ((sigma >= 0.1) & (sigma <= 2.0))).all()


# --- single changes, as the poison classifier uses them ---------------------------------------------------


def random_images(count=6, size=12, seed=0):
    return torch.rand((count, 3, size, size), generator=Seeds(seed).torch())


@given(st.integers(10, 40), st.integers(0, 999), st.data())
@settings(max_examples=30)
def test_a_patch_covers_one_square_of_allowed_size_within_the_margin(size, seed, data):
    margin = data.draw(st.integers(0, size // 5))
    high = data.draw(st.integers(1, size - 2 * margin))
    low = data.draw(st.integers(1, high))
    images, patches = torch.zeros(4, 3, size, size), torch.ones(4, 3, 5, 5)
    pasted = augment.paste_resized(images, patches, Seeds(seed).torch(), sizes=(low, high), margin=margin)
    for image in pasted:
        rows, columns = image[0].amax(1).nonzero().flatten(), image[0].amax(0).nonzero().flatten()
        assert low <= len(rows) == len(columns) <= high
        assert min(rows[0], columns[0]) >= margin
        assert max(rows[-1], columns[-1]) < size - margin
        assert image.sum() == 3 * len(rows) ** 2  # filled, and nothing outside


def test_a_patch_of_its_own_size_is_pasted_pixel_by_pixel():
    patch = random_images(1, 5)
    pasted = augment.paste_resized(torch.full((1, 3, 12, 12), -1.0), patch, Seeds(3).torch(), sizes=(5, 5), margin=2)
    top, left = (pasted[0, 0] >= 0).nonzero()[0].tolist()
    torch.testing.assert_close(pasted[0, :, top : top + 5, left : left + 5], patch[0])


def test_crops_keep_a_flat_image_flat_and_stay_within_range():
    flat = torch.full((5, 3, 9, 9), 0.3)
    torch.testing.assert_close(augment.random_resized_crop(flat, Seeds(0).torch()), flat)
    cropped = augment.random_resized_crop(random_images(), Seeds(0).torch())
    assert cropped.shape == (6, 3, 12, 12)
    assert 0 <= cropped.min() <= cropped.max() <= 1


def test_crops_show_20_to_100_percent_of_the_area():
    """On a ramp from 0 to 1 in both directions, the spans of values are the crop's height and width."""
    line = (torch.arange(64) + 0.5) / 64
    ramp = torch.stack([line.expand(64, 64), line[:, None].expand(64, 64), torch.zeros(64, 64)])
    cropped = augment.random_resized_crop(ramp.expand(200, 3, 64, 64), Seeds(1).torch())
    width, height = ((cropped[:, c].amax((1, 2)) - cropped[:, c].amin((1, 2))) * 64 / 63 for c in (0, 1))
    area = width * height
    assert 0.17 < area.min() < 0.3
    assert 0.9 < area.max() < 1.01
    assert (width / height).max() < 4 / 3 + 0.02


def test_grey_by_hand():
    image = torch.tensor([1.0, 0.5, 0.0])[None, :, None, None]
    assert float(augment.grey(image)) == pytest.approx(0.299 + 0.2935)
    everyone = augment.random_grey(random_images(), Seeds(0).torch(), share=1.0)
    assert torch.equal(everyone[:, 0], everyone[:, 1])
    assert torch.equal(augment.random_grey(random_images(), Seeds(0).torch(), share=0.0), random_images())


def test_turning_hue():
    colours, flat = random_images(), torch.full((6, 3, 2, 2), 0.4)
    third = torch.full((6,), 2 * torch.pi / 3)  # red -> green -> blue
    for images, turn, expected in (
        (colours, torch.zeros(6), colours),
        (colours, third, colours.roll(1, 1)),
        (flat, torch.ones(6), flat),
    ):
        torch.testing.assert_close(augment.turn_hue(images, turn), expected)


def test_jitter_is_per_image_within_range_and_leaves_a_fifth_alone():
    images = random_images(400, 4)
    out = augment.colour_jitter(images, Seeds(0).torch())
    assert 0 <= out.min() <= out.max() <= 1
    same = (out == images).flatten(1).all(1).float().mean()
    assert float(same) == pytest.approx(0.2, abs=0.06)
    dull = 0.45 + 0.1 * images
    ratio = augment.grey(augment.colour_jitter(dull, Seeds(0).torch(), hue=0.0)).std((1, 2, 3))
    ratio = ratio / augment.grey(dull).std((1, 2, 3))
    assert 0.6**2 - 0.01 < ratio.min() < 0.6
    assert 1.5 < ratio.max() < 1.4**2 + 0.01  # brightness and contrast multiply
    assert float(ratio.mean()) == pytest.approx(1, abs=0.05)


def test_flips_mirror_half():
    images = random_images(400, 4)
    out = augment.random_flip(images, Seeds(0).torch())
    mirrored = torch.tensor([torch.equal(a, b.flip(2)) for a, b in zip(out, images, strict=True)])
    kept = torch.tensor([torch.equal(a, b) for a, b in zip(out, images, strict=True)])
    assert (mirrored ^ kept).all()
    assert float(mirrored.float().mean()) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("name", ["random_resized_crop", "colour_jitter", "random_grey", "random_flip"])
def test_inputs_stay_and_seeds_decide(name):
    images, function = random_images(), getattr(augment, name)
    one, two, other = (function(images, Seeds(seed).torch()) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(images, random_images())
