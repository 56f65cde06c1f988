"""CIFAR-10 and STL-10 in tiny fakes of their formats: what they share, and what each has of its own."""

import hashlib
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from torchvision import datasets

from bench.data.cifar10 import CIFAR10
from bench.data.fingerprint import fingerprint
from bench.data.stl10 import CLASSES, STL10
from bench.errors import BenchError

WARNS = np.__version__.startswith("2.4.")
both = pytest.mark.parametrize("kind", [CIFAR10, STL10])


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


def write(path, data):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return hashlib.md5(data).hexdigest()


def fake_cifar10(root, patch):
    """In torchvision's format, in two training batches."""
    folder, names = root / "cifar-10-batches-py", ("airplane", "automobile", "bird")
    train, val = [0, 1, 2, 0, 1, 2, 1, 1, 0, 2], [2, 1, 0, 2]
    pixels = np.random.default_rng(0).integers(0, 256, (14, 3072), dtype=np.uint8)

    def batch(name, rows, labels):
        return [name, write(folder / name, pickle.dumps({"data": OldArray(pixels[rows]), "labels": labels}, 2))]

    first, second = batch("data_batch_1", slice(0, 6), train[:6]), batch("data_batch_2", slice(6, 10), train[6:])
    patch.setattr(datasets.CIFAR10, "train_list", [first, second])
    patch.setattr(datasets.CIFAR10, "test_list", [batch("test_batch", slice(10, 14), val)])
    sums = write(folder / "batches.meta", pickle.dumps({"label_names": list(names)}, 2))
    meta = {"filename": "batches.meta", "key": "label_names", "md5": sums}
    patch.setattr(datasets.CIFAR10, "meta", meta)
    return SimpleNamespace(pixels=pixels.reshape(14, 3, 32, 32), train=train, val=val, classes=names, folder=folder)


def fake_stl10(root, patch):
    """In the format of the archive, without the unlabelled images."""
    folder, train, val = root / "stl10_binary", [1, 0, 1, 0, 9, 1], [9, 0, 1]
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 96, 96), dtype=np.uint8)

    def part(name, images, labels):
        files = {f"{name}_X.bin": images.transpose(0, 1, 3, 2), f"{name}_y.bin": np.array(labels) + 1}
        return [[file, write(folder / file, array.astype(np.uint8).tobytes())] for file, array in files.items()]

    patch.setattr(datasets.STL10, "train_list", [*part("train", pixels[:6], train), ["unlabeled_X.bin", "0" * 32]])
    patch.setattr(datasets.STL10, "test_list", part("test", pixels[6:], val))
    return SimpleNamespace(pixels=pixels, train=train, val=val, classes=CLASSES, folder=folder)


@pytest.fixture
def fake(request, tmp_path, monkeypatch):
    """fake(kind) -> what the files of that set hold."""
    return lambda kind: {CIFAR10: fake_cifar10, STL10: fake_stl10}[kind](tmp_path, monkeypatch)


def load(kind, tmp_path, **options):
    return kind(root=str(tmp_path), **options).load()


@both
def test_the_whole_set(kind, fake, tmp_path):
    held = fake(kind)
    data, count = load(kind, tmp_path), len(held.train)
    assert (data.name, data.classes, data.size) == (kind.name, held.classes, held.pixels.shape[-1])
    assert (data.train.labels.tolist(), data.val.labels.tolist()) == (held.train, held.val)
    assert data.train.labels.dtype == np.int64
    assert list(data.train.ids) == [f"train/{i:05d}" for i in range(count)]
    assert list(data.val.ids) == [f"val/{i:05d}" for i in range(len(held.val))]
    assert np.array_equal(data.train.images.batch(range(count)).numpy(), held.pixels[:count])
    assert np.array_equal(data.val.images.batch([2, 0]).numpy(), held.pixels[[count + 2, count]])


@both
def test_fingerprints(kind, fake, tmp_path):
    held = fake(kind)
    data, count = load(kind, tmp_path), len(held.train)
    rows = zip([*held.train, *held.val], held.pixels, strict=True)
    digests = [hashlib.sha256(f"{label}:".encode() + image.tobytes()).digest() for label, image in rows]
    parts = [("train", data.train.ids, digests[:count]), ("val", data.val.ids, digests[count:])]
    assert data.fingerprint == fingerprint(held.classes, parts, of="pixels", size=data.size)
    assert load(kind, tmp_path, size=16).fingerprint != data.fingerprint


@both
def test_another_size(kind, fake, tmp_path):
    held, data = fake(kind), load(kind, tmp_path, size=16)
    batch = data.train.images.batch([4, 1])
    assert (data.size, data.val.images.size, batch.shape) == (16, 16, (2, 3, 16, 16))
    assert abs(float(batch[0].float().mean()) - held.pixels[4].mean()) < 2


@both
def test_a_missing_root_says_what_to_do(kind, tmp_path):
    with pytest.raises(BenchError, match=r"is missing.*--set dataset\.download=true.*--set dataset\.root=DIR"):
        load(kind, tmp_path / "none")
    assert not (tmp_path / "none").exists()


@both
@pytest.mark.parametrize("options", [{"per_class": 0}, {"val_per_class": -1}, {"size": 0}])
def test_options_out_of_range(kind, options):
    with pytest.raises(BenchError, match=f"dataset.{next(iter(options))} is"):
        kind(**options)


@both
def test_identity_holds_neither_place_nor_download(kind):
    assert kind(root="a", download=True).identity() == kind(root="b").identity()
    assert kind(per_class=1).identity() != kind().identity()


def test_the_first_of_each_class_keep_their_ids(fake, tmp_path):
    held = fake(CIFAR10)
    whole, two, three = (load(CIFAR10, tmp_path, per_class=n, val_per_class=n and 1) for n in (None, 2, 3))
    assert list(two.train.ids) == [f"train/{i:05d}" for i in range(6)]
    assert list(two.val.ids) == ["val/00000", "val/00001", "val/00002"]
    assert three.train.labels.tolist() == [0, 1, 2, 0, 1, 2, 1, 0, 2]
    assert list(three.train.ids)[6:] == ["train/00006", "train/00008", "train/00009"]
    assert np.array_equal(three.train.images.batch([7]).numpy(), held.pixels[[8]])
    assert len({whole.fingerprint, two.fingerprint, three.fingerprint}) == 3
    for option, most, has in (("per_class", 4, 3), ("val_per_class", 2, 1)):
        with pytest.raises(BenchError, match=rf"dataset\.{option} is {most}, but 'airplane' has {has} image"):
            load(CIFAR10, tmp_path, **{option: most})


def test_a_damaged_file_of_cifar10_is_never_unpickled(fake, tmp_path, monkeypatch):
    path = fake(CIFAR10).folder / "data_batch_2"
    path.write_bytes(path.read_bytes()[:-1])
    monkeypatch.setattr(pickle, "load", None)
    with pytest.raises(BenchError, match="incomplete or damaged"):
        load(CIFAR10, tmp_path)


def test_a_failed_download_is_a_clear_error_and_happens_only_where_something_is_missing(fake, tmp_path, monkeypatch):
    requested = []

    def fails(*arguments, **_):
        requested.append(arguments)
        raise OSError("no route to host")

    monkeypatch.setattr(datasets.CIFAR10, "download", fails)
    monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", fails)
    fake(STL10)
    assert len(load(STL10, tmp_path, download=True).val) == 3
    assert requested == []
    for kind in (CIFAR10, STL10):
        with pytest.raises(BenchError, match=r"could not be fetched into .* \(no route to host\)\. Unpack https?://"):
            load(kind, tmp_path / "new", download=True)
    assert requested[1][1] == str(tmp_path / "new")


def test_stl10_reads_as_torchvision_does(fake, tmp_path):
    folder = fake(STL10).folder
    sums = write(folder / "unlabeled_X.bin", np.zeros((1, 3, 96, 96), np.uint8).tobytes())
    datasets.STL10.train_list[2][1] = sums
    theirs, ours = datasets.STL10(str(tmp_path), split="train"), load(STL10, tmp_path).train
    assert np.array_equal(theirs.data, ours.images.batch(range(6)).numpy())
    assert theirs.labels.tolist() == ours.labels.tolist()


def test_stl10s_pixels_are_mapped_batches_are_the_callers_own_and_the_unlabelled_file_is_never_opened(fake, tmp_path):
    held = fake(STL10)
    (held.folder / "unlabeled_X.bin").mkdir()  # opening it would fail
    arrays = [STL10(root=str(tmp_path)).read()[1].pixels]
    while isinstance(arrays[-1].base, np.ndarray):
        arrays.append(arrays[-1].base)
    assert any(isinstance(array, np.memmap) for array in arrays)
    images = load(STL10, tmp_path).train.images
    images.batch([0])[:] = 0
    assert np.array_equal(images.batch([0]).numpy(), held.pixels[:1])


def test_missing_and_damaged_files_of_stl10_are_named(fake, tmp_path):
    folder = fake(STL10).folder
    (folder / "test_y.bin").write_bytes(b"\x01\x01\x01")
    with pytest.raises(BenchError, match=r"test_y\.bin is damaged"):
        load(STL10, tmp_path)
    (folder / "test_y.bin").unlink()
    (folder / "train_X.bin").unlink()
    with pytest.raises(BenchError, match=r"train_X\.bin is missing, test_y\.bin is missing"):
        load(STL10, tmp_path)
