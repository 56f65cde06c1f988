import hashlib
import pickle

import numpy as np
import pytest
from torchvision import datasets

from bench.data.cifar10 import CIFAR10
from bench.data.fingerprint import fingerprint
from bench.errors import BenchError

NAMES = ["airplane", "automobile", "bird"]


WARNS = np.__version__.startswith("2.4.")


class OldDtype:
    """Pickles uint8 as NumPy 1 did: align=0, at which NumPy 2.4.0 to 2.4.4 warn; without copy, all 2.4 do."""

    def __reduce__(self):
        return np.dtype, ("u1", 0) if WARNS else ("u1", 0, 1), (3, "|", None, None, None, -1, -1, 0)


class OldArray:
    """Pickles as NumPy 1 wrote an array of uint8."""

    def __init__(self, array):
        self.array = array

    def __reduce__(self):
        state = (1, self.array.shape, OldDtype(), False, self.array.tobytes())
        return np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A tiny set in torchvision's format: training labels 0 1 2 0 1 2 | 1 1 0 2, validation 2 1 0 2."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (14, 3072), dtype=np.uint8)

    def write(name, content):
        data = pickle.dumps(content, protocol=2)
        (folder / name).write_bytes(data)
        return hashlib.md5(data).hexdigest()

    def batch(name, rows, labels):
        return [name, write(name, {"data": OldArray(pixels[rows]), "labels": labels})]

    first = batch("data_batch_1", slice(0, 6), [0, 1, 2, 0, 1, 2])
    second = batch("data_batch_2", slice(6, 10), [1, 1, 0, 2])
    test = batch("test_batch", slice(10, 14), [2, 1, 0, 2])
    meta = {
        "filename": "batches.meta",
        "key": "label_names",
        "md5": write("batches.meta", {"label_names": NAMES}),
    }
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [first, second])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [test])
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    return pixels.reshape(14, 3, 32, 32)


def load(tmp_path, **options):
    return CIFAR10(root=str(tmp_path), **options).load()


@pytest.mark.skipif(not WARNS, reason="this NumPy does not warn")
def test_the_fake_set_warns_in_itself(fake, tmp_path):
    data = (tmp_path / "cifar-10-batches-py/test_batch").read_bytes()
    with pytest.warns(Warning, match="align"):
        pickle.loads(data, encoding="latin1")


def test_the_whole_set(fake, tmp_path):
    data = load(tmp_path)
    assert (data.name, data.classes, data.size) == ("cifar10", tuple(NAMES), 32)
    assert data.train.labels.tolist() == [0, 1, 2, 0, 1, 2, 1, 1, 0, 2]
    assert data.val.labels.tolist() == [2, 1, 0, 2]
    assert data.train.labels.dtype == np.int64
    assert list(data.train.ids) == [f"train/{i:05d}" for i in range(10)]
    assert list(data.val.ids) == [f"val/{i:05d}" for i in range(4)]
    assert np.array_equal(data.train.images.batch(range(10)).numpy(), fake[:10])
    assert np.array_equal(data.val.images.batch([3, 0]).numpy(), fake[[13, 10]])


def test_the_first_of_each_class_keep_their_ids(fake, tmp_path):
    data = load(tmp_path, per_class=2, val_per_class=1)
    assert list(data.train.ids) == [f"train/{i:05d}" for i in (0, 1, 2, 3, 4, 5)]
    assert list(data.val.ids) == ["val/00000", "val/00001", "val/00002"]
    three = load(tmp_path, per_class=3)
    assert three.train.labels.tolist() == [0, 1, 2, 0, 1, 2, 1, 0, 2]
    assert list(three.train.ids)[6:] == ["train/00006", "train/00008", "train/00009"]
    assert np.array_equal(three.train.images.batch([7]).numpy(), fake[[8]])


def test_more_than_there_are(fake, tmp_path):
    with pytest.raises(BenchError, match=r"dataset\.per_class is 4, but 'airplane' has 3 images"):
        load(tmp_path, per_class=4)
    with pytest.raises(BenchError, match=r"dataset\.val_per_class is 2, but 'airplane' has 1 images"):
        load(tmp_path, val_per_class=2)


def test_another_size(fake, tmp_path):
    data = load(tmp_path, size=16)
    assert data.size == 16
    batch = data.train.images.batch([4, 1])
    assert batch.shape == (2, 3, 16, 16)
    assert abs(float(batch[0].float().mean()) - fake[4].mean()) < 2


def test_fingerprints(fake, tmp_path):
    data = load(tmp_path)
    whole = data.fingerprint
    rows = list(zip([*data.train.labels, *data.val.labels], fake, strict=True))
    digests = [hashlib.sha256(f"{label}:".encode() + image.tobytes()).digest() for label, image in rows]
    parts = [("train", data.train.ids, digests[:10]), ("val", data.val.ids, digests[10:])]
    assert whole == fingerprint(NAMES, parts, of="pixels", size=32)
    others = {load(tmp_path, **o).fingerprint for o in ({"per_class": 1}, {"val_per_class": 1}, {"size": 16})}
    assert len(others | {whole}) == 4


def test_a_missing_root_says_what_to_do(tmp_path):
    with pytest.raises(BenchError) as error:
        load(tmp_path / "none")
    text = str(error.value)
    assert "is missing" in text
    assert "--set dataset.download=true" in text
    assert "--set dataset.root=DIR" in text
    assert not (tmp_path / "none").exists()


def test_a_damaged_file_is_never_unpickled(fake, tmp_path, monkeypatch):
    path = tmp_path / "cifar-10-batches-py/data_batch_2"
    path.write_bytes(path.read_bytes()[:-1])
    monkeypatch.setattr(pickle, "load", None)
    with pytest.raises(BenchError, match="incomplete or damaged"):
        load(tmp_path)


def test_a_failed_download_is_a_clear_error(tmp_path, monkeypatch):
    def fails(self):
        raise OSError("no route to host")

    monkeypatch.setattr(datasets.CIFAR10, "download", fails)
    with pytest.raises(BenchError, match=r"could not be fetched into .* \(no route to host\)\. Unpack https://"):
        load(tmp_path, download=True)


@pytest.mark.parametrize("options", [{"per_class": 0}, {"val_per_class": -1}, {"size": 0}])
def test_options_out_of_range(options):
    with pytest.raises(BenchError, match=f"dataset.{next(iter(options))} is"):
        CIFAR10(**options)


def test_identity_holds_neither_place_nor_download():
    assert CIFAR10(root="a", download=True).identity() == CIFAR10(root="b").identity()
    assert CIFAR10(per_class=1).identity() != CIFAR10().identity()
