"""Odd formats and modes, broken files, copies, and going on after a kill."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.scan import reading
from bench.scan.listing import find_files
from bench.scan.reading import Gathered, images_stage
from bench.store import Store


def read(folder, tmp_path, size=8, said=None):
    stage = images_stage(find_files(folder), size)
    report = lambda what, done, total: said.append((what, done, total)) if said is not None else None  # noqa: E731
    store = Store(tmp_path / "store")
    with store.open(stage.name, stage.key) as making:
        stage.make(making, report)
    return Gathered(store.find(stage.name, stage.key))


def by_file(gathered):
    """Pixels of each file, None where it cannot be read."""
    pixels = gathered.images.batch(range(len(gathered.images))).numpy()
    return [pixels[owner] if owner >= 0 else None for owner in gathered.owner]


@pytest.fixture
def folder(tmp_path):
    """An empty folder to be read."""
    found = tmp_path / "images"
    found.mkdir()
    return found


RED = (255, 0, 0)


def saved(folder, name, image, **options):
    image.save(folder / name, **options)


def odd_files(folder):
    """One of each: all are red once decoded, but for those that say otherwise."""
    plain = Image.new("RGB", (8, 8), RED)
    for name in ("a.jpg", "b.png", "c.bmp", "d.tiff"):
        saved(folder, name, plain)
    saved(folder, "e.webp", plain, lossless=True)
    saved(folder, "f.gif", plain, save_all=True, append_images=[Image.new("RGB", (8, 8), (0, 0, 255))])
    saved(folder, "g-cmyk.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)))
    saved(folder, "h-palette.png", plain.convert("P"))
    saved(folder, "i-alpha.png", Image.new("RGBA", (8, 8), (*RED, 255)))
    file = BytesIO()
    plain.save(file, "PNG")
    (folder / "j-without-suffix").write_bytes(file.getvalue())
    return 10


def test_every_format_and_mode_is_read(tmp_path, folder):
    count = odd_files(folder)
    gathered = read(folder, tmp_path)
    assert gathered.faults == [""] * count
    for pixels in by_file(gathered):
        assert np.abs(pixels.reshape(3, -1).mean(1) - RED).max() < 6, "JPEG rounds"


def test_grey_with_alpha_sixteen_bit_and_turned(tmp_path, folder):
    saved(folder, "1-la.png", Image.new("LA", (8, 8), (0, 0)))
    saved(folder, "2-sixteen.png", Image.fromarray(np.full((8, 8), 32896, np.uint16)))
    halves = np.zeros((8, 8, 3), np.uint8)
    halves[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise: the top is then on the right
    saved(folder, "3-turned.png", Image.fromarray(halves), exif=exif)
    clear, sixteen, turned = by_file(read(folder, tmp_path))
    assert (clear == 255).all(), "transparent is white"
    assert (sixteen == 128).all()
    assert (turned[:, :, 4:] == 255).all()
    assert (turned[:, :, :4] == 0).all()


def test_broken_files_are_named_and_nothing_else_is_lost(tmp_path, folder, picture):
    whole = picture(0, 64)
    (folder / "1.png").write_bytes(whole)
    (folder / "2.png").write_bytes(whole[: len(whole) // 2])
    (folder / "3.jpg").write_bytes(b"")
    (folder / "4.png").write_bytes(b"<html>404</html>")
    (folder / "5.png").write_bytes(picture(1, 64))
    gathered = read(folder, tmp_path)
    first, cut, empty, page, last = gathered.faults
    assert (first, last) == ("", "")
    assert cut
    assert empty == page == "not an image, or not one that Pillow knows"
    assert gathered.owner.tolist()[1:4] == [-1, -1, -1]
    assert len(gathered.images) == 2


def test_copies_are_one_image_whatever_their_names(tmp_path, folder, picture, noise):
    one, two = picture(0), picture(1)
    for name, data in (("a.png", one), ("b.png", two), ("c.png", one), ("d.png", b""), ("e.png", b"")):
        (folder / name).write_bytes(data)
    gathered = read(folder, tmp_path)
    assert len(gathered.images) == 2
    assert [group.tolist() for group in gathered.duplicates()] == [[0, 2]], "broken files are nobody's copies"
    pixels = by_file(gathered)
    np.testing.assert_array_equal(pixels[0], noise(0))
    np.testing.assert_array_equal(pixels[1], noise(1))
    np.testing.assert_array_equal(pixels[2], noise(0))


def test_other_names_are_the_same_images_in_the_same_order(tmp_path, picture):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, names in ((first, "abcd"), (second, ("z/4", "z/3", "y/2", "1"))):
        for seed, name in enumerate(names):
            path = folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(seed))
    one, other = read(first, tmp_path), read(second, tmp_path)
    assert one.fingerprint == other.fingerprint
    everything = range(4)
    assert (one.images.batch(everything) == other.images.batch(everything)).all()


def test_a_killed_reading_goes_on_where_it_was(tmp_path, folder, picture, noise, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK", 3)
    for seed in range(8):
        (folder / f"{seed}.png").write_bytes(picture(seed))
    decode, calls = reading._decode, []

    def killed_at_third(root, names, size, file):
        calls.append(names)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return decode(root, names, size, file)

    monkeypatch.setattr(reading, "_decode", killed_at_third)
    with pytest.raises(KeyboardInterrupt):
        read(folder, tmp_path)
    said = []
    gathered = read(folder, tmp_path, said=said)
    assert [len(names) for names in calls] == [3, 3, 2, 2], "two chunks were there"
    assert said == [("files", 3, 8), ("files", 6, 8), ("files", 8, 8)]
    for seed, pixels in enumerate(by_file(gathered)):
        np.testing.assert_array_equal(pixels, noise(seed))


def test_nothing_that_can_be_read(tmp_path, folder):
    (folder / "1.png").write_bytes(b"")
    with pytest.raises(BenchError, match="none of the 1 files can be read; the first: not an image"):
        len(read(folder, tmp_path).images)


def test_a_file_that_is_far_too_large_is_not_read(tmp_path, folder, picture, monkeypatch):
    monkeypatch.setattr(reading, "MOST_BYTES", 400)
    (folder / "1.png").write_bytes(picture(0))
    (folder / "2").write_bytes(bytes(401))
    assert read(folder, tmp_path).faults == ["", "larger than 0 MiB"]
