"""Single augmentations, as the poison classifier uses them."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from bench import Seeds, augment


def _random(count=6, size=12, seed=0):
    return torch.rand((count, 3, size, size), generator=Seeds(seed).torch())


@given(st.integers(10, 40), st.integers(0, 999), st.data())
@settings(max_examples=30)
def test_a_patch_covers_one_square_of_allowed_size_within_the_margin(size, seed, data):
    margin = data.draw(st.integers(0, size // 5))
    high = data.draw(st.integers(1, size - 2 * margin))
    low = data.draw(st.integers(1, high))
    pasted = augment.paste_resized(
        torch.zeros(4, 3, size, size),
        torch.ones(4, 3, 5, 5),
        Seeds(seed).torch(),
        sizes=(low, high),
        margin=margin,
    )
    for image in pasted:
        rows, columns = image[0].amax(1).nonzero().flatten(), image[0].amax(0).nonzero().flatten()
        height, width = len(rows), len(columns)
        assert height == width
        assert low <= height <= high
        assert min(rows[0], columns[0]) >= margin
        assert max(rows[-1], columns[-1]) < size - margin
        assert image.sum() == 3 * height * width  # filled, and nothing outside


def test_a_patch_of_its_own_size_is_pasted_pixel_by_pixel():
    patch = _random(1, 5)
    pasted = augment.paste_resized(torch.full((1, 3, 12, 12), -1.0), patch, Seeds(3).torch(), sizes=(5, 5), margin=2)
    top, left = (pasted[0, 0] >= 0).nonzero()[0].tolist()
    torch.testing.assert_close(pasted[0, :, top : top + 5, left : left + 5], patch[0])


def test_crops_keep_a_flat_image_flat_and_stay_within_range():
    flat = torch.full((5, 3, 9, 9), 0.3)
    torch.testing.assert_close(augment.random_resized_crop(flat, Seeds(0).torch()), flat)
    cropped = augment.random_resized_crop(_random(), Seeds(0).torch())
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
    everyone = augment.random_grey(_random(), Seeds(0).torch(), share=1.0)
    assert torch.equal(everyone[:, 0], everyone[:, 1])
    assert torch.equal(augment.random_grey(_random(), Seeds(0).torch(), share=0.0), _random())


def test_turning_hue():
    colours = _random()
    still = augment.turn_hue(colours, torch.zeros(6))
    torch.testing.assert_close(still, colours)
    third = augment.turn_hue(colours, torch.full((6,), 2 * torch.pi / 3))
    torch.testing.assert_close(third, colours.roll(1, 1))  # red -> green -> blue
    torch.testing.assert_close(
        augment.turn_hue(torch.full((6, 3, 2, 2), 0.4), torch.ones(6)), torch.full((6, 3, 2, 2), 0.4)
    )


def test_jitter_is_per_image_within_range_and_leaves_a_fifth_alone():
    images = _random(400, 4)
    out = augment.colour_jitter(images, Seeds(0).torch())
    assert 0 <= out.min() <= out.max() <= 1
    same = (out == images).flatten(1).all(1).float().mean()
    assert float(same) == pytest.approx(0.2, abs=0.06)


def test_jitter_changes_contrast_by_about_nothing_on_average():
    images = 0.45 + 0.1 * _random(400, 6)
    out = augment.colour_jitter(images, Seeds(0).torch(), hue=0.0)
    ratio = augment.grey(out).std((1, 2, 3)) / augment.grey(images).std((1, 2, 3))
    assert 0.6**2 - 0.01 < ratio.min() < 0.6
    assert 1.5 < ratio.max() < 1.4**2 + 0.01  # brightness and contrast multiply
    assert float(ratio.mean()) == pytest.approx(1, abs=0.05)


def test_flips_mirror_half():
    images = _random(400, 4)
    out = augment.random_flip(images, Seeds(0).torch())
    mirrored = torch.tensor([torch.equal(a, b.flip(2)) for a, b in zip(out, images, strict=True)])
    kept = torch.tensor([torch.equal(a, b) for a, b in zip(out, images, strict=True)])
    assert (mirrored ^ kept).all()
    assert float(mirrored.float().mean()) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("name", ["random_resized_crop", "colour_jitter", "random_grey", "random_flip"])
def test_inputs_stay_and_seeds_decide(name):
    images, function = _random(), getattr(augment, name)
    one, two, other = (function(images, Seeds(seed).torch()) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(images, _random())
