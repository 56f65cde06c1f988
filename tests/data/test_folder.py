import hashlib
import json
import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from bench.data.fingerprint import fingerprint
from bench.data.folder import Folder
from bench.data.images import Decoded, FileImages
from bench.data.layout import split_by_ratio
from bench.errors import BenchError
from bench.scan.listing import find_files


def picture(path, seed, size=(6, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(array).save(path)
    return array.transpose(2, 0, 1)


def fill(root, splits=("train", "val"), classes=("cat", "dog"), count=3):
    for s, split in enumerate(splits):
        for c, name in enumerate(classes):
            for i in range(count):
                picture(root / split / name / f"{i}.png", 100 * s + 10 * c + i)
    return root


def load(root, **options):
    return Folder(root=str(root), **{"size": 6, **options}).load()


def test_train_and_val_folders(tmp_path):
    data = load(fill(tmp_path))
    assert (data.name, data.classes, data.size, data.skipped) == ("folder", ("cat", "dog"), 6, ())
    assert list(data.train.ids) == [f"train/{c}/{i}.png" for c in ("cat", "dog") for i in range(3)]
    assert list(data.val.ids) == [f"val/{c}/{i}.png" for c in ("cat", "dog") for i in range(3)]
    assert data.train.labels.tolist() == data.val.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.train.labels.dtype == np.int64
    expected = picture(tmp_path / "copy.png", 112)
    assert np.array_equal(data.val.images.batch([5])[0].numpy(), expected)


@pytest.mark.parametrize("name", ["valid", "validation", "test"])
def test_other_names_of_the_validation_folder(tmp_path, name):
    assert load(fill(tmp_path, ("train", name))).val.ids[0] == f"{name}/cat/0.png"
    fill(tmp_path, ("val",))
    assert load(tmp_path).val.ids[0] == "val/cat/0.png", "val goes before the others"
    assert load(tmp_path, val_dir=name).val.ids[0] == f"{name}/cat/0.png"
    assert load(tmp_path, train_dir=name).train.ids[0] == f"{name}/cat/0.png"


def test_without_a_validation_folder_each_class_is_split(tmp_path):
    fill(tmp_path, ("",), count=10)
    data = load(tmp_path, val_ratio=0.3)
    assert (len(data.train), len(data.val)) == (14, 6)
    assert data.train.labels.tolist() == [0] * 7 + [1] * 7
    assert not set(data.train.ids) & set(data.val.ids)
    assert {one.split("/")[0] for one in data.val.ids[:3]} == {"cat"}
    assert list(load(tmp_path, val_ratio=0.3).val.ids) == list(data.val.ids)
    assert list(load(tmp_path, val_ratio=0.3, split_seed=1).val.ids) != list(data.val.ids)
    # a cap on training images leaves the validation images alone
    assert list(load(tmp_path, val_ratio=0.3, max_per_class=2).val.ids) == list(data.val.ids)


def test_a_lone_train_folder_is_split_and_classes_called_train_and_test_are_no_splits(tmp_path):
    data = load(fill(tmp_path / "a", ("train",)))
    assert (len(data.train), len(data.val)) == (4, 2)
    assert data.train.ids[0].startswith("train/cat/")
    assert load(fill(tmp_path / "b", ("",), classes=("test", "train"))).classes == ("test", "train")


def test_the_drawn_share_is_the_same_on_every_machine_and_leaves_one_image_on_each_side():
    ids = [f"cat/{i}.png" for i in range(10)]
    train, val = split_by_ratio({"cat": ids}, 0.25, 0)
    assert val == {"cat": ["cat/6.png", "cat/9.png"]}
    assert train == {"cat": [one for one in ids if one not in val["cat"]]}
    for ratio in (0.001, 0.999):
        train, val = split_by_ratio({"cat": ["a", "b"]}, ratio, 0)
        assert (len(train["cat"]), len(val["cat"])) == (1, 1)
    with pytest.raises(BenchError, match="'cat' has one image"):
        split_by_ratio({"cat": ["a"]}, 0.5, 0)


def test_other_files_are_passed_over_and_images_may_lie_deeper_and_behind_links(tmp_path):
    fill(tmp_path)
    for name in ("Thumbs.db", ".DS_Store", "list.txt", "._0.png"):
        (tmp_path / "train/cat" / name).write_bytes(b"x")
    for name in (".git", "__MACOSX"):
        (tmp_path / "train" / name).mkdir()
    picture(tmp_path / "train/cat/more/x.PNG", 1)
    picture(tmp_path / "elsewhere/y.png", 2)
    (tmp_path / "train/cat/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "train/cat/loop").symlink_to(tmp_path / "train/cat")
    data = load(tmp_path)
    assert (data.classes, data.skipped) == (("cat", "dog"), ())
    ids = [one for one in data.train.ids if "/cat/" in one]
    assert ids == [f"train/cat/{x}" for x in ("0.png", "1.png", "2.png", "linked/y.png", "more/x.PNG")]


def save(path, seed, kind, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(array).save(path, kind, **options)


def test_every_file_that_a_scan_tries_is_an_image_here_too(tmp_path, caplog):
    """One folder, both commands: the same files, and what is left out is named."""
    fill(tmp_path)
    cat = tmp_path / "train/cat"
    frames = [Image.new("RGB", (6, 6), colour) for colour in ((250, 0, 0), (0, 0, 250))]
    frames[0].save(cat / "moving.gif", save_all=True, append_images=frames[1:])
    save(cat / "a.JFIF", 1, "jpeg")
    save(cat / "bare", 2, "png")
    save(cat / "c.webp", 3, "webp")
    for name in ("list.txt", "notes.md", "more.txt", "Thumbs.db", "desktop.ini"):
        (cat / name).write_bytes(b"x")
    (cat / "photo.heic").write_bytes(b"x")
    (cat / "LICENSE").write_bytes(b"words")
    data = load(tmp_path)
    assert set(data.skipped) == {"train/cat/photo.heic", "train/cat/LICENSE"}
    assert {*data.train.ids, *data.val.ids, *data.skipped} == set(find_files(tmp_path).names)
    moving = list(data.train.ids).index("train/cat/moving.gif")
    assert data.train.images.batch([moving])[0, :, 3, 3].tolist() == [250, 0, 0], "the first frame"
    assert "train these files are not taken for images: 2 .txt, 1 .md\n" in caplog.text
    assert f"images below {tmp_path} that cannot be read: 2 (not an image, or not one that Pillow knows)" in caplog.text


def test_a_set_in_which_nothing_is_left_out_is_silent(tmp_path, caplog):
    load(fill(tmp_path))
    assert caplog.text == ""


def test_a_licence_beside_the_class_folders_is_no_image(tmp_path):
    fill(tmp_path)
    (tmp_path / "train/LICENSE").write_bytes(b"words")
    assert load(tmp_path).classes == ("cat", "dog")


def test_a_link_to_a_folder_around_its_class_is_refused_by_name(tmp_path):
    fill(tmp_path)
    for around in ("train", "."):
        link = tmp_path / "train/dog/all"
        link.symlink_to(tmp_path / around)
        with pytest.raises(BenchError, match=f"{link} is a link to .*, a folder around it.*those of .*train/dog"):
            load(tmp_path)
        link.unlink()


@pytest.mark.parametrize("link", ["train/dog/others", "train/hog", "val/dog/more"])
def test_two_ways_to_one_folder_are_refused_with_both(tmp_path, link):
    fill(tmp_path, classes=("cat", "dog", "hog") if link != "train/hog" else ("cat", "dog"))
    (tmp_path / link).symlink_to(tmp_path / "train/cat")
    with pytest.raises(BenchError, match=f"{tmp_path / link} and {tmp_path}/train/cat are one folder"):
        load(tmp_path)


def test_a_picture_under_two_labels_is_named(tmp_path, caplog):
    fill(tmp_path)
    shutil.copyfile(tmp_path / "train/cat/1.png", tmp_path / "train/dog/7.png")
    (tmp_path / "val/dog/8.png").symlink_to(tmp_path / "train/cat/1.png")
    shutil.copyfile(tmp_path / "val/dog/0.png", tmp_path / "val/cat/9.png")
    shutil.copyfile(tmp_path / "val/dog/1.png", tmp_path / "val/dog/9.png")  # of one class: no contradiction
    assert len(load(tmp_path).train) == 7
    assert f"2 pictures below {tmp_path} stand in two classes:" in caplog.text
    assert "train/cat/1.png (cat) = train/dog/7.png (dog)\n" in caplog.text
    assert "val/cat/9.png (cat) = val/dog/0.png (dog)\n" in caplog.text


@pytest.mark.skipif(sys.platform == "darwin", reason="there both forms are one name")
def test_a_class_in_both_forms_of_unicode_is_one(tmp_path):
    composed, apart = "caf\u00e9", "cafe\u0301"
    fill(tmp_path, ("train",), (composed, "dog"))
    fill(tmp_path, ("val",), (apart, "dog"))
    data = load(tmp_path)
    assert data.classes == (composed, "dog")
    assert data.val.ids[0] == f"val/{apart}/0.png", "as it is on the disk"
    assert data.val.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert load(tmp_path, classes=(apart, "dog")).classes == (composed, "dog")
    picture(tmp_path / "train" / apart / "more.png", 99)
    assert load(tmp_path).train.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]


def deep(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint16)).save(path)


def test_12_bit_data_in_16_bit_files_are_said_to_come_out_black(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("bench.data.checked.SETTLED_NS", -(10**18))
    root = fill(tmp_path / "set")
    for i in range(3):
        deep(root / f"train/cat/deep{i}.png", [[0, 4095], [i, 7]])
    deep(root / "train/cat/full.png", [[0, 65535], [9, 9]])
    said = f"3 of the 4 16-bit images below {root} use only the lowest 12 bits or fewer, and come out black"
    for _ in range(2):  # the second time nothing is decoded
        caplog.clear()
        load(root)
        assert said in caplog.text
    for i in range(3):
        deep(root / f"train/cat/deep{i}.png", [[0, 5000], [i, 7]])
    caplog.clear()
    load(root)
    assert "16-bit" not in caplog.text


def test_chosen_classes_are_sorted(tmp_path):
    fill(tmp_path, classes=("ant", "bee", "cat"))
    assert load(tmp_path, classes=("cat", "ant")).classes == ("ant", "cat")
    with pytest.raises(BenchError, match=r"no class 'cta'\. Did you mean 'cat'"):
        load(tmp_path, classes=("cta", "ant"))


def test_caps_take_the_first_of_each_class(tmp_path):
    data = load(fill(tmp_path), max_per_class=2, max_val_per_class=1)
    assert list(data.train.ids) == [f"train/{c}/{i}.png" for c in ("cat", "dog") for i in range(2)]
    assert list(data.val.ids) == ["val/cat/0.png", "val/dog/0.png"]
    assert len(load(tmp_path, max_per_class=99).train) == 6


def damage(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def test_broken_images_are_skipped_and_named_and_the_rest_is_a_set_without_them(tmp_path):
    fill(tmp_path)
    damage(tmp_path / "train/cat/1.png")
    (tmp_path / "val/dog/2.png").write_bytes(b"")
    os.mkfifo(tmp_path / "val/dog/x.png")  # nothing waits for the other end of a pipe
    data = load(tmp_path)
    assert data.skipped == ("train/cat/1.png", "val/dog/2.png", "val/dog/x.png")
    assert (len(data.train), len(data.val)) == (5, 5)
    assert data.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert data.train.images.batch(range(5)).shape == (5, 3, 6, 6)
    capped = load(tmp_path, max_per_class=2)
    assert list(capped.train.ids) == [f"train/{x}.png" for x in ("cat/0", "cat/2", "dog/0", "dog/1")], (
        "sound ones count"
    )
    for name in data.skipped:
        (tmp_path / name).unlink()
    assert load(tmp_path).fingerprint == data.fingerprint


def test_broken_images_are_refused_with_names_and_reasons(tmp_path):
    fill(tmp_path, count=8)
    damage(tmp_path / "train/cat/1.png")
    os.mkfifo(tmp_path / "val/dog/2a.png")
    said = r"(?s)^2 of the images below.*train/cat/1.png: .*val/dog/2a.png: no regular file.*=skip"
    with pytest.raises(BenchError, match=said):
        load(tmp_path, on_bad="refuse")
    for path in tmp_path.glob("train/*/[1-7].png"):
        path.write_bytes(b"")
    with pytest.raises(BenchError, match=r"(?s)15 of the images .* not an image.* and 5 more"):
        load(tmp_path, on_bad="refuse")
    for path in (tmp_path / "val/dog").glob("?.png"):
        path.write_bytes(b"")
    with pytest.raises(BenchError, match="'dog' has no readable validation image"):
        load(tmp_path)


def test_layouts_that_cannot_be_used(tmp_path):
    def refuses(message, **options):
        with pytest.raises(BenchError, match=message):
            load(tmp_path / "set", **options)

    refuses("not there.*DIR/train/CLASS")
    (tmp_path / "set").write_text("")
    refuses("no directory")
    (tmp_path / "set").unlink()
    (tmp_path / "set").mkdir()
    refuses("no class folder, expected two or more")
    picture(tmp_path / "set/x.png", 0)
    refuses("images lie in it directly")
    picture(tmp_path / "set/cat/0.png", 0)
    refuses(r"one class \(cat\)")
    (tmp_path / "set/dog").mkdir()
    refuses(r"set/dog holds no image\. Fill")
    (tmp_path / "set/dog/list.npy").write_text("")
    refuses(r"holds no image \(1 \.npy; known are \.apng, .*\)\. Fill or remove it\.$")
    picture(tmp_path / "set/ant/0.png", 0)
    refuses(r"""or leave the class out by naming the others, --set 'dataset\.classes=\["ant", "cat"\]'\.$""")
    refuses("or leave the class out of those that are named", classes=("ant", "cat", "dog"))
    refuses("no folder 'dgo'. Did you mean 'dog'", train_dir="dgo")


def test_splits_that_do_not_go_together(tmp_path):
    with pytest.raises(BenchError, match=r"dataset\.root=DIR"):
        Folder().load()
    with pytest.raises(BenchError, match="holds val/ but no train/"):
        load(fill(tmp_path / "a", ("val",)))
    with pytest.raises(BenchError, match="the same folder"):
        load(tmp_path / "a", train_dir="val", val_dir="val")
    fill(tmp_path / "b")
    picture(tmp_path / "b/train/ant/0.png", 0)
    picture(tmp_path / "b/val/bee/0.png", 0)
    with pytest.raises(BenchError, match=r"only in .*train: ant; only in .*val: bee"):
        load(tmp_path / "b")
    assert load(tmp_path / "b", classes=("cat", "dog")).classes == ("cat", "dog")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_in_another_encoding(tmp_path):
    os.rename(fill(tmp_path) / "val/cat/0.png", os.fsencode(tmp_path) + b"/val/cat/\xff.png")  # noqa: PTH104
    with pytest.raises(BenchError, match="not valid UTF-8"):
        load(tmp_path)


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    inner = os.scandir

    def scandir(path):
        if str(path).endswith("val/dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return inner(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(BenchError, match=r"Cannot list .*val/dog: Permission denied"):
        load(fill(tmp_path))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("val_ratio", ratio) for ratio in (0.0, 1.0, float("nan"))),
        *{"size": 0, "max_per_class": 0, "max_val_per_class": -1, "on_bad": "ignore", "cache": "disk"}.items(),
    ],
)
def test_options_out_of_range(option, value):
    with pytest.raises(BenchError, match=f"dataset.{option} is"):
        Folder(root=".", **{option: value})


def test_the_fingerprint_is_over_ids_and_file_bytes_and_not_of_place_or_cache(tmp_path):
    ids = ("train/cat/x.ppm", "train/dog/x.ppm", "val/cat/x.ppm", "val/dog/x.ppm")
    digests = []
    for i, one in enumerate(ids):
        data = b"P6 1 1 255\n" + bytes([i, i, i])
        (tmp_path / "a" / one).parent.mkdir(parents=True)
        (tmp_path / "a" / one).write_bytes(data)
        digests.append(hashlib.sha256(data).digest())
    parts = [("train", ids[:2], digests[:2]), ("val", ids[2:], digests[2:])]
    expected = fingerprint(["cat", "dog"], parts, of="files", law=1, size=2)
    assert load(tmp_path / "a", size=2).fingerprint == expected
    shutil.copytree(tmp_path / "a", tmp_path / "b/c", copy_function=shutil.copyfile)
    for cache in ("auto", "memory", "none"):
        assert load(tmp_path / "b/c", size=2, cache=cache).fingerprint == expected


def test_the_fingerprint_sees_every_change(tmp_path):
    fill(tmp_path)
    seen = {load(tmp_path).fingerprint, load(tmp_path, size=7).fingerprint}
    seen.add(load(tmp_path, max_per_class=2).fingerprint)
    picture(tmp_path / "val/dog/2.png", 999)
    seen.add(load(tmp_path).fingerprint)
    (tmp_path / "val/dog/2.png").rename(tmp_path / "val/dog/3.png")
    seen.add(load(tmp_path).fingerprint)
    for split in ("train", "val"):
        (tmp_path / split / "dog").rename(tmp_path / split / "hog")
    seen.add(load(tmp_path).fingerprint)
    assert len(seen) == 6


def test_the_cache_is_an_option_that_changes_no_identity(tmp_path, monkeypatch):
    one, two = Folder(root="x", cache="none"), Folder(root="x", cache="memory")
    assert json.loads(json.dumps(one.identity())) == json.loads(json.dumps(two.identity()))
    assert one.identity() != Folder(root="x", split_seed=1).identity()
    fill(tmp_path)
    assert isinstance(load(tmp_path).train.images, Decoded)
    assert isinstance(load(tmp_path, cache="none").train.images, FileImages)
    monkeypatch.setattr("bench.data.images.CACHE_BYTES", 12 * 3 * 6 * 6 - 1)
    assert isinstance(load(tmp_path).train.images, FileImages)
    assert isinstance(load(tmp_path, cache="memory").val.images, Decoded)
