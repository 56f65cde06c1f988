import io
import struct
import warnings
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from bench.data.decode import DARK, DEEP, Unreadable, depth_of, may_be_image, open_rgb, square


def packed(image, kind="png", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    buffer.seek(0)
    return buffer


def pixels(image, kind="png", **options):
    result = open_rgb(packed(image, kind, **options))
    assert result.mode == "RGB"
    return np.asarray(result)


TWO = Image.new("RGB", (2, 1), (1, 2, 3))
TWO.putpixel((1, 0), (9, 9, 9))
PALETTE = Image.new("P", (2, 1))
PALETTE.putpalette([10, 20, 30, 40, 50, 60])
PALETTE.putpixel((1, 0), 1)
FIRST, SECOND, WHITE = [10, 20, 30], [40, 50, 60], [255] * 3


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        (Image.new("RGB", (2, 1), (1, 2, 3)), {}, [[1, 2, 3]] * 2),
        (Image.new("L", (2, 1), 77), {}, [[77] * 3] * 2),
        (Image.new("1", (2, 1), 1), {}, [WHITE] * 2),
        (Image.new("RGBA", (1, 1), (200, 0, 0, 0)), {}, [WHITE]),
        (Image.new("RGBA", (1, 1), (200, 0, 0, 255)), {}, [[200, 0, 0]]),
        (TWO, {"transparency": (1, 2, 3)}, [WHITE, [9, 9, 9]]),
        (Image.new("LA", (1, 1), (100, 51)), {}, [[224] * 3]),  # 0.2 x 100 + 0.8 x 255 = 224
        (PALETTE, {}, [FIRST, SECOND]),
        (PALETTE, {"transparency": 0}, [WHITE, SECOND]),
        (PALETTE, {"transparency": b"\xff\x00"}, [FIRST, WHITE]),
    ],
)
def test_other_modes_become_rgb_and_transparency_is_laid_over_white(image, options, expected):
    assert pixels(image, **options).tolist() == [expected]


def test_16_bit_grey_is_scaled_not_clipped():
    values = np.array([[0, 257, 25700, 65535]], np.uint16)
    assert pixels(Image.fromarray(values))[0, :, 0].tolist() == [0, 1, 100, 255]


def coloured_16_bit(high):
    """A PNG of one pixel with 16 bits a channel, red's high byte given: Pillow reads such, but does not write them."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + bytes([high, 0, 3, 0, 2, 0])
    head = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (coloured_16_bit(15), DARK),
        (coloured_16_bit(17), DEEP),
        (packed(Image.fromarray(np.array([[4095, 0]], np.uint16))).read(), DARK),
        (packed(Image.fromarray(np.array([[4400, 0]], np.uint16))).read(), DEEP),
        (packed(Image.fromarray(np.array([[4095, 0]], np.uint16)), "tiff").read(), DARK),
        (b"P5 2 1 4095\n" + bytes([15, 255, 0, 0]), DEEP),  # it says that 4095 is white
        (packed(Image.new("RGB", (2, 2), (1, 2, 3))).read(), ""),
        (packed(Image.new("L", (2, 2), 0)).read(), ""),
    ],
)
def test_16_bit_images_that_use_the_lowest_bits_only(data, expected):
    assert depth_of(open_rgb(io.BytesIO(data))) == expected


@pytest.mark.parametrize("name", ["a/b.PNG", "x.JFIF", "x.gif", "bare", "a.b/bare", "x.heic"])
def test_names_that_may_be_images(name):
    assert may_be_image(name)


@pytest.mark.parametrize("name", ["x.txt", ".bare", "a/.x.png", "x.png.txt", "Thumbs.db"])
def test_names_that_may_not(name):
    assert not may_be_image(name)


@pytest.mark.parametrize(
    ("array", "said"),
    [(np.array([[0, -1]], np.int32), "from -1 to 0"), (np.zeros((2, 2), np.float32), "32-bit float")],
)
def test_values_without_an_agreed_range_are_refused(array, said):
    with pytest.raises(Unreadable, match=said):
        open_rgb(packed(Image.fromarray(array), "tiff"))


def test_cmyk_jpeg():
    red = pixels(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "jpeg", quality=95)
    assert np.abs(red.astype(int) - [255, 0, 0]).max() < 12


def test_exif_orientation_is_applied():
    array = np.zeros((2, 4, 3), np.uint8)
    array[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise
    turned = pixels(Image.fromarray(array), exif=exif)
    assert turned.shape == (4, 2, 3)
    assert turned[0, 1].tolist() == [255] * 3
    assert turned.sum() == 3 * 255


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_a_broken_exif_block_costs_no_image():
    buffer = packed(Image.new("RGB", (8, 8), (0, 90, 0)), "jpeg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert open_rgb(buffer).size == (8, 8)


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "webp"])
def test_truncated_files_are_refused(kind):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = packed(Image.fromarray(noise), kind).getvalue()
    open_rgb(io.BytesIO(data))
    with pytest.raises(Unreadable):
        open_rgb(io.BytesIO(data[: len(data) // 2]))


@pytest.mark.parametrize("data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused_with_one_reason(data):
    with pytest.raises(Unreadable) as error:
        open_rgb(io.BytesIO(data))
    assert "0x" not in str(error.value)


@given(st.sampled_from(("png", "jpeg", "tiff", "webp", "bmp", "ppm")), st.data())
def test_random_damage_is_refused_or_read_never_another_error(kind, draw):
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    data = bytearray(packed(Image.fromarray(noise), kind).getvalue())
    for at, value in draw.draw(st.dictionaries(st.integers(0, len(data) - 1), st.integers(0, 255), max_size=8)).items():
        data[at] = value
    with warnings.catch_warnings(), suppress(Unreadable):
        warnings.simplefilter("ignore")
        open_rgb(io.BytesIO(data))


def test_a_warning_made_an_error_is_not_the_files_fault(monkeypatch):
    def warn(image):
        raise UserWarning("as under python -W error")

    monkeypatch.setattr("bench.data.decode.ImageOps.exif_transpose", warn)
    with pytest.raises(UserWarning):
        open_rgb(packed(Image.new("RGB", (2, 2))))


def test_square_takes_the_middle_and_leaves_an_image_of_the_size_alone():
    image = Image.new("RGB", (60_001, 3), (0, 0, 0))
    image.paste((250, 0, 0), (29_990, 0, 30_011, 3))
    result = square(image, 16)
    assert result.shape == (3, 16, 16)
    assert (result[0] == 250).all()
    array = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert np.array_equal(square(Image.fromarray(array), 8), array.transpose(2, 0, 1))
