"""Odd formats and modes, broken files, copies, and going on after a kill."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bench.data import decode
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


def test_every_format_and_mode_is_read(tmp_path, folder):
    """All are red once decoded."""
    red, plain = (255, 0, 0), Image.new("RGB", (8, 8), (255, 0, 0))
    for name in ("a.jpg", "b.png", "c.bmp", "d.tiff"):
        plain.save(folder / name)
    plain.save(folder / "e.webp", lossless=True)
    plain.save(folder / "f.gif", save_all=True, append_images=[Image.new("RGB", (8, 8), (0, 0, 255))])
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(folder / "g-cmyk.jpg")
    plain.convert("P").save(folder / "h-palette.png")
    Image.new("RGBA", (8, 8), (*red, 255)).save(folder / "i-alpha.png")
    plain.save(folder / "j-without-suffix", "PNG")
    gathered = read(folder, tmp_path)
    assert gathered.faults == [""] * 10
    for pixels in by_file(gathered):
        assert np.abs(pixels.reshape(3, -1).mean(1) - red).max() < 6, "JPEG rounds"


def test_grey_with_alpha_sixteen_bit_and_turned(tmp_path, folder):
    Image.new("LA", (8, 8), (0, 0)).save(folder / "1-la.png")
    Image.fromarray(np.full((8, 8), 32896, np.uint16)).save(folder / "2-sixteen.png")
    halves = np.zeros((8, 8, 3), np.uint8)
    halves[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise: the top is then on the right
    Image.fromarray(halves).save(folder / "3-turned.png", exif=exif)
    clear, sixteen, turned = by_file(read(folder, tmp_path))
    assert (clear == 255).all(), "transparent is white"
    assert (sixteen == 128).all()
    assert (turned[:, :, 4:] == 255).all()
    assert (turned[:, :, :4] == 0).all()


def test_broken_files_are_named_and_nothing_else_is_lost(tmp_path, folder, picture, monkeypatch):
    whole = picture(0, 64)
    monkeypatch.setattr(decode, "MOST_BYTES", 10 * len(whole))
    large = bytes(10 * len(whole) + 1)
    files = (whole, whole[: len(whole) // 2], b"", b"<html>404</html>", picture(1, 64), large)
    for name, data in zip(("1.png", "2.png", "3.jpg", "4.png", "5.png", "6"), files, strict=True):
        (folder / name).write_bytes(data)
    gathered = read(folder, tmp_path)
    first, cut, empty, page, last, large = gathered.faults
    assert (first, last, large) == ("", "", "larger than 0 MiB")
    assert cut
    assert empty == page == "not an image, or not one that Pillow knows"
    assert [owner < 0 for owner in gathered.owner] == [False, True, True, True, False, True]
    assert len(gathered.images) == 2


def test_copies_are_one_image_whatever_their_names(tmp_path, folder, picture, noise):
    for name, data in zip("abcde", (picture(0), picture(1), picture(0), b"", b""), strict=True):
        (folder / f"{name}.png").write_bytes(data)
    gathered = read(folder, tmp_path)
    assert len(gathered.images) == 2
    assert [group.tolist() for group in gathered.duplicates()] == [[0, 2]], "broken files are nobody's copies"
    np.testing.assert_array_equal(by_file(gathered)[:3], [noise(0), noise(1), noise(0)])


def test_other_names_are_the_same_images_in_the_same_order(tmp_path, picture):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, names in ((first, "abcd"), (second, ("z/4", "z/3", "y/2", "1"))):
        for seed, name in enumerate(names):
            path = folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(seed))
    one, other = read(first, tmp_path), read(second, tmp_path)
    assert one.fingerprint == other.fingerprint
    assert (one.images.batch(range(4)) == other.images.batch(range(4))).all()


def test_a_killed_reading_resumes(tmp_path, folder, picture, noise, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK", 3)
    for seed in range(8):
        (folder / f"{seed}.png").write_bytes(picture(seed))
    inner, calls = reading._decode, []

    def killed_at_third(root, names, size, file):
        calls.append(names)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return inner(root, names, size, file)

    monkeypatch.setattr(reading, "_decode", killed_at_third)
    with pytest.raises(KeyboardInterrupt):
        read(folder, tmp_path)
    said = []
    gathered = read(folder, tmp_path, said=said)
    assert [len(names) for names in calls] == [3, 3, 2, 2], "two chunks were there"
    assert said == [("files", 3, 8), ("files", 6, 8), ("files", 8, 8)]
    np.testing.assert_array_equal(by_file(gathered), [noise(seed) for seed in range(8)])


def test_nothing_that_can_be_read(tmp_path, folder):
    (folder / "1.png").write_bytes(b"")
    with pytest.raises(BenchError, match="none of the 1 file can be read; the first: not an image"):
        len(read(folder, tmp_path).images)
