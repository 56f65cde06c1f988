"""Sets in the formats of the Hugging Face Hub: generated parquet files and folders; no network."""

import io
import pickle
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from bench.api import Split
from bench.data import checked
from bench.data.fingerprint import fingerprint
from bench.data.huggingface import HuggingFace
from bench.data.images import Decoded
from bench.errors import BenchError
from bench.plugins.manager import Plugins


def drawn(seed):
    return np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)


def encoded(seed, kind="png"):
    buffer = io.BytesIO()
    Image.fromarray(drawn(seed)).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """The library itself, with a cache of its own and without a network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    found = pytest.importorskip("datasets")
    monkeypatch.setattr(found.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr(found.config, "HF_HUB_OFFLINE", True)
    found.disable_progress_bars()
    return found


@pytest.fixture
def table(offline):
    """table(labels, first seed, names of classes or None, **columns): one with an image and a label for each."""

    def make(labels, first=0, names=("ant", "bee", "cat"), *, image="picture", label="insect", **columns):
        kind = (
            offline.ClassLabel(names=list(names)) if names else offline.Value("string" if labels[0] == "x" else "int64")
        )
        features = {image: offline.Image(), label: kind}
        pictures = [{"bytes": encoded(first + row), "path": None} for row in range(len(labels))]
        made = offline.Dataset.from_dict({image: pictures, label: labels}, features=offline.Features(features))
        for name, values in columns.items():
            made = made.add_column(name, values)
        return made

    return make


@pytest.fixture
def parquet(tmp_path):
    """parquet(train=table, test=table) -> the folder that holds them as the Hub does."""

    def write(**splits):
        root = tmp_path / "set"
        for name, table in splits.items():
            (root / "data").mkdir(parents=True, exist_ok=True)
            table.to_parquet(str(root / "data" / f"{name}-00000-of-00001.parquet"))
        return root

    return write


def load(root, **options):
    return HuggingFace(root=str(root), **{"size": 6, **options}).load()


def pictures(split: Split):
    return split.images.batch(range(len(split))).permute(0, 2, 3, 1).numpy()


def test_a_folder_of_parquet_files_with_class_names(table, parquet):
    data = load(parquet(train=table([2, 0, 1, 0]), test=table([1, 2, 0], first=50)))
    assert (data.name, data.classes, data.skipped) == ("huggingface", ("ant", "bee", "cat"), ())
    assert list(data.train.ids) == ["train/00000001", "train/00000003", "train/00000002", "train/00000000"]
    assert data.train.labels.tolist() == [0, 0, 1, 2]
    assert np.array_equal(pictures(data.train), [drawn(seed) for seed in (1, 3, 2, 0)])
    assert list(data.val.ids) == ["test/00000002", "test/00000000", "test/00000001"]
    assert np.array_equal(pictures(data.val), [drawn(seed) for seed in (52, 50, 51)])
    assert isinstance(data.train.images, Decoded)


def test_the_same_images_in_other_hands(table, parquet, tmp_path, offline):
    """One file, a saved set, an imagefolder: the same pictures. A split by the seed is that of `folder`."""
    whole = table([0, 1] * 10, names=("ant", "bee"))
    whole.to_parquet(str(tmp_path / "one.parquet"))
    whole.save_to_disk(str(tmp_path / "saved"))
    offline.DatasetDict({"train": whole}).save_to_disk(str(tmp_path / "several"))
    for row in range(20):
        place = tmp_path / "images/train" / ("ant", "bee")[row % 2] / f"{row:02d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(row))
    seen = [load(tmp_path / each, val_ratio=0.3) for each in ("one.parquet", "saved", "several", "images")]
    for data in seen:
        assert (data.classes, len(data.train), len(data.val)) == (("ant", "bee"), 14, 6)
        every = np.concatenate([pictures(data.train), pictures(data.val)])
        assert {each.tobytes() for each in every} == {drawn(seed).tobytes() for seed in range(20)}
    assert list(seen[0].val.ids) == list(seen[1].val.ids)
    assert list(load(tmp_path / "saved", val_ratio=0.3, split_seed=1).val.ids) != list(seen[1].val.ids)


def test_what_names_the_set_is_its_classes_ids_and_encoded_images(table, parquet, monkeypatch):
    root = parquet(train=table([0, 1], names=("a", "b")), val=table([0, 1], first=7, names=("a", "b")))
    digests = [checked.hashlib.sha256(encoded(seed)).digest() for seed in (0, 1, 7, 8)]
    ids = [f"{split}/0000000{row}" for split in ("train", "val") for row in range(2)]
    parts = [("train", ids[:2], digests[:2]), ("val", ids[2:], digests[2:])]
    assert load(root).fingerprint == fingerprint(("a", "b"), parts, of="files", law=1, size=6)
    monkeypatch.setattr("bench.data.huggingface.check_bytes", lambda data: pytest.fail("decoded a second time"))
    assert load(root).fingerprint == fingerprint(("a", "b"), parts, of="files", law=1, size=6)


def test_labels_without_names_are_called_by_their_text(table, parquet):
    root = parquet(train=table([10, 9, 2, 10, 9], names=None))
    assert load(root, val_ratio=0.5, max_per_class=1, classes=("10", "9")).classes == ("9", "10")


def test_numbers_in_their_order_and_strings_in_theirs(table, tmp_path):
    for labels, expected in (([10, 9, 9, 2, 2, 10], ("2", "9", "10")), (["x", "a", "a", "x"], ("a", "x"))):
        file = tmp_path / f"{len(labels)}.parquet"
        table(labels, names=None).to_parquet(str(file))
        assert load(file).classes == expected


def test_chosen_classes_and_caps(table, parquet):
    root = parquet(train=table([0, 1, 2] * 4), validation=table([0, 1, 2] * 2, first=90))
    data = load(root, classes=("cat", "ant"), max_per_class=3, max_val_per_class=1)
    assert data.classes == ("ant", "cat")
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert list(data.val.ids) == ["validation/00000000", "validation/00000002"]
    with pytest.raises(BenchError, match=r"has no class 'cta'\. Did you mean 'cat'"):
        load(root, classes=("cta", "ant"))


def test_columns_that_types_do_not_tell(table, parquet, tmp_path):
    several = table([0, 1, 0, 1], names=("a", "b"), coarse=[5, 6, 5, 6], note=["p", "q", "p", "q"])
    root = parquet(train=several)
    assert load(root).classes == ("a", "b"), "class names are found before numbers and text"
    assert load(root, label="coarse").classes == ("5", "6")
    assert load(root, label="note").classes == ("p", "q")
    with pytest.raises(BenchError, match=r"dataset\.label is 'notes', no column\. Did you mean 'note'"):
        load(root, label="notes")
    with pytest.raises(BenchError, match=r"dataset\.image is 'note', which holds string, no images"):
        load(root, image="note")
    with pytest.raises(BenchError, match=r"dataset\.label is 'picture', which holds Image, no classes"):
        load(root, label="picture", image="picture")
    bare = tmp_path / "bare.parquet"
    table([0, 1, 0, 1], names=None, coarse=[5, 6, 5, 6]).to_parquet(str(bare))
    said = (
        r"column of the labels may be insect or coarse: name it .*dataset\.label=NAME\. Columns: picture \(Image\), in"
    )
    with pytest.raises(BenchError, match=said):
        load(bare)
    table([0, 1, 0, 1], names=None, label="label", coarse=[5, 6, 5, 6]).to_parquet(str(bare))
    assert load(bare).classes == ("0", "1"), "a usual name tells"


def test_parquet_that_the_library_did_not_write(tmp_path):
    """Bytes, or bytes and a path, without a word on what they are."""
    arrow, write = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet").write_table
    images = [encoded(seed) for seed in range(4)]
    write(arrow.table({"jpg": images, "cls": ["a", "b"] * 2}), tmp_path / "bytes.parquet")
    pairs = [{"bytes": data, "path": ""} for data in images]
    write(arrow.table({"image": pairs, "cls": ["a", "b"] * 2}), tmp_path / "pairs.parquet")
    for name in ("bytes", "pairs"):
        data = load(tmp_path / f"{name}.parquet", val_ratio=0.5)
        every = np.concatenate([pictures(data.train), pictures(data.val)])
        assert {each.tobytes() for each in every} == {drawn(seed).tobytes() for seed in range(4)}
    write(arrow.table({"words": ["x", "y"], "cls": ["a", "b"]}), tmp_path / "none.parquet")
    with pytest.raises(BenchError, match=r"column of the images cannot be told.*Columns: words \(string\), cls"):
        load(tmp_path / "none.parquet")


def test_broken_images_are_left_out_by_their_row(table, parquet, caplog, offline):
    whole = table([0, 1] * 4, names=("a", "b"))
    rows = [{"bytes": b"nothing" if row == 2 else encoded(row), "path": None} for row in range(8)]
    broken = offline.Dataset.from_dict({"picture": rows, "insect": whole["insect"][:]}, features=whole.features)
    root = parquet(train=broken, test=table([0, 1], first=30, names=("a", "b")))
    for _ in range(2):
        caplog.clear()
        data = load(root)
        assert data.skipped == ("train/00000002",)
        assert "that cannot be read: 1 (not an image, or" in caplog.text
    assert "train/00000002" not in data.train.ids
    with pytest.raises(BenchError, match=r"1 of the images of .* cannot be read"):
        load(root, on_bad="refuse")


def test_splits(table, parquet):
    names = ("a", "b")
    root = parquet(train=table([0, 1], 0, names), dev=table([1, 0], 10, names), test=table([-1, -1], 20, names))
    assert list(load(root).val.ids) == ["dev/00000001", "dev/00000000"]
    with pytest.raises(BenchError, match=r"2 of the 2 rows of 'test' have no class in 'insect'\. Choose another split"):
        load(root, val_split="test")
    assert list(load(root, train_split="train", val_split="dev").val.ids) == ["dev/00000001", "dev/00000000"]
    with pytest.raises(BenchError, match=r"cannot be opened: Unknown split"):
        load(root, train_split="train", val_split="deb")
    with pytest.raises(BenchError, match="are the same split, 'train'"):
        load(root, val_split="train")
    with pytest.raises(BenchError, match=r"no split 'trian'\. Did you mean 'train'"):
        load(root, train_split="trian")
    part = load(root, train_split="train", val_split="dev[:100%]")
    assert part.val.ids[0] == "dev[:100%]/00000001"


def test_classes_that_do_not_go_together(table, parquet):
    root = parquet(train=table([1, 2] * 2, names=None), test=table([1, 3] * 2, 9, names=None))
    with pytest.raises(BenchError, match="only in train: 2; only in test: 3"):
        load(root)
    shutil.rmtree(root)
    root = parquet(train=table([0, 2] * 2), test=table([0, 2], 9))
    said = r"""the classes bee have no image in 'train'\. .*--set 'dataset\.classes=\["ant", "cat"\]'"""
    with pytest.raises(BenchError, match=said):
        load(root)
    assert load(root, classes=("ant", "cat")).classes == ("ant", "cat")


def test_sets_that_are_not_there(tmp_path):
    with pytest.raises(BenchError, match=r"needs a set: --set dataset\.root=NAME"):
        HuggingFace().load()
    for missing in ("./none", str(tmp_path / "none"), "none.parquet"):
        with pytest.raises(BenchError, match="which is not there"):
            load(missing)
    with pytest.raises(BenchError, match=r"'nobody/nothing' cannot be opened: .*"):
        load("nobody/nothing")
    (tmp_path / "list.txt").write_text("x")
    with pytest.raises(BenchError, match=r"of single files \.parquet, \.arrow are read"):
        load(tmp_path / "list.txt")


def test_without_the_library_it_is_listed_and_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "huggingface" in Plugins.load().names("dataset")
    with pytest.raises(BenchError, match=r"needs the library datasets .*pip install 'ssl-backdoor-bench\[hf\]'"):
        HuggingFace(root="x").load()


def test_images_travel_to_other_processes(table, parquet):
    data = load(parquet(train=table([0, 1], names=("a", "b")), test=table([0, 1], 9, ("a", "b"))), cache="none")
    there = pickle.loads(pickle.dumps(data.train.images))
    assert np.array_equal(there.batch([1]), data.train.images.batch([1]))
    assert there.original_size(0) == (6, 6)
