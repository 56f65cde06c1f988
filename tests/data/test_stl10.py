"""STL-10: the publishers' binary format, read from the disk when needed, refused where damaged."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from torchvision import datasets

from bench.data.arrays import ArrayDataset
from bench.data.cifar10 import CIFAR10
from bench.data.fingerprint import fingerprint
from bench.data.stl10 import CLASSES, STL10
from bench.errors import BenchError

TRAIN, TEST = [1, 0, 1, 0, 9, 1], [9, 0, 1]


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Nine images (3, 96, 96) in the format of the archive, without the unlabelled ones: the pixels."""
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 96, 96), dtype=np.uint8)

    def write(name, array):
        data = array.astype(np.uint8).tobytes()
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data).hexdigest()]

    def part(name, images, labels):
        by_column = np.ascontiguousarray(images.transpose(0, 1, 3, 2))
        return [write(f"{name}_X.bin", by_column), write(f"{name}_y.bin", np.array(labels) + 1)]

    train = part("train", pixels[:6], TRAIN)
    monkeypatch.setattr(datasets.STL10, "train_list", [*train, ["unlabeled_X.bin", "0" * 32]])
    monkeypatch.setattr(datasets.STL10, "test_list", part("test", pixels[6:], TEST))
    return pixels


def load(tmp_path, **options):
    return STL10(root=str(tmp_path), **options).load()


def test_the_whole_set_without_the_unlabelled_images(fake, tmp_path):
    data = load(tmp_path)
    assert (data.name, data.classes, data.size) == ("stl10", CLASSES, 96)
    assert data.train.labels.tolist() == TRAIN
    assert data.val.labels.tolist() == TEST
    assert data.train.labels.dtype == np.int64
    assert list(data.train.ids) == [f"train/{i:05d}" for i in range(6)]
    assert np.array_equal(data.train.images.batch(range(6)).numpy(), fake[:6])
    assert np.array_equal(data.val.images.batch([2, 0]).numpy(), fake[[8, 6]])


def test_it_reads_as_torchvision_does(fake, tmp_path):
    unlabelled = np.zeros((1, 3, 96, 96), np.uint8).tobytes()
    (tmp_path / "stl10_binary/unlabeled_X.bin").write_bytes(unlabelled)
    datasets.STL10.train_list[2][1] = hashlib.md5(unlabelled).hexdigest()
    theirs = datasets.STL10(str(tmp_path), split="train")
    ours = load(tmp_path).train
    assert np.array_equal(theirs.data, ours.images.batch(range(6)).numpy())
    assert theirs.labels.tolist() == ours.labels.tolist()


def test_pixels_are_mapped_and_batches_are_the_callers_own(fake, tmp_path):
    _, train, _ = STL10(root=str(tmp_path)).read()
    held = [train.pixels]
    while held[-1].base is not None and isinstance(held[-1].base, np.ndarray):
        held.append(held[-1].base)
    assert any(isinstance(array, np.memmap) for array in held)
    images = load(tmp_path).train.images
    images.batch([0])[:] = 0
    assert np.array_equal(images.batch([0]).numpy(), fake[:1])


def test_the_unlabelled_file_is_never_opened(fake, tmp_path):
    (tmp_path / "stl10_binary/unlabeled_X.bin").mkdir()  # opening it would fail
    assert len(load(tmp_path).train) == 6


def test_the_first_of_each_class(fake, tmp_path):
    data = STL10(root=str(tmp_path))
    with pytest.raises(BenchError, match=r"dataset\.per_class is 1, but 'car' has 0 images"):
        STL10(root=str(tmp_path), per_class=1).load()
    assert data.identity() == STL10(root="elsewhere", download=True).identity()


def test_another_size(fake, tmp_path):
    data = load(tmp_path, size=32)
    assert data.size == data.val.images.size == 32
    batch = data.train.images.batch([4, 1])
    assert batch.shape == (2, 3, 32, 32)
    assert abs(float(batch[0].float().mean()) - fake[4].mean()) < 2


def test_fingerprints(fake, tmp_path):
    data = load(tmp_path)
    rows = list(zip([*TRAIN, *TEST], fake, strict=True))
    digests = [hashlib.sha256(f"{label}:".encode() + image.tobytes()).digest() for label, image in rows]
    parts = [("train", data.train.ids, digests[:6]), ("val", data.val.ids, digests[6:])]
    assert data.fingerprint == fingerprint(CLASSES, parts, of="pixels", size=96)
    assert load(tmp_path, size=32).fingerprint != data.fingerprint


def test_a_missing_root_says_what_to_do(tmp_path):
    with pytest.raises(BenchError) as error:
        load(tmp_path / "none")
    text = str(error.value)
    assert "stl10_binary is missing" in text
    assert "--set dataset.download=true" in text
    assert "--set dataset.root=DIR" in text
    assert not (tmp_path / "none").exists()


def test_missing_and_damaged_files_are_named(fake, tmp_path):
    path = tmp_path / "stl10_binary/test_y.bin"
    path.write_bytes(b"\x01\x01\x01")
    with pytest.raises(BenchError, match=r"test_y\.bin is damaged"):
        load(tmp_path)
    path.unlink()
    (tmp_path / "stl10_binary/train_X.bin").unlink()
    with pytest.raises(BenchError, match=r"train_X\.bin is missing, test_y\.bin is missing"):
        load(tmp_path)


def test_a_download_happens_only_where_something_is_missing(fake, tmp_path, monkeypatch):
    asked = []

    def fetch(url, root, **more):
        asked.append(root)
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", fetch)
    assert len(load(tmp_path, download=True).val) == 3
    assert asked == []
    with pytest.raises(BenchError, match=r"could not be fetched into .* \(no route to host\)\. Unpack http"):
        load(tmp_path / "new", download=True)
    assert asked == [str(tmp_path / "new")]


@pytest.mark.parametrize("options", [{"per_class": 0}, {"val_per_class": -1}, {"size": 0}])
def test_options_out_of_range(options):
    with pytest.raises(BenchError, match=f"dataset.{next(iter(options))} is"):
        STL10(**options)


def test_it_shares_what_cifar10_has():
    assert issubclass(STL10, ArrayDataset)
    assert issubclass(CIFAR10, ArrayDataset)
