"""ImageNet-100: the classes of a list out of a tree; the list is hashed, and refused where it cannot be meant."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from bench.config.config import load_config
from bench.data.folder import Folder
from bench.data.imagenet100 import TARGETS, ImageNet100, list_digest, read_list, titles
from bench.data.images import FileImages
from bench.errors import BenchError
from bench.plugins.manager import Plugins

ROTTWEILER, BONNET, GOOSE, OTHER = "n02106550", "n02869837", "n01855672", "n02018207"


def picture(path, seed, size=(10, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(array).save(path, format="JPEG")


@pytest.fixture
def tree(tmp_path):
    """Four synsets, two training images and one validation image each."""
    for c, synset in enumerate((ROTTWEILER, BONNET, GOOSE, OTHER)):
        for i in range(2):
            picture(tmp_path / "imagenet/train" / synset / f"{synset}_{i}.JPEG", 10 * c + i)
        picture(tmp_path / "imagenet/val" / synset / f"ILSVRC2012_val_{c:08d}.JPEG", 100 + c)
    return tmp_path / "imagenet"


@pytest.fixture
def listed(tmp_path):
    """listed(text) -> the path of a class list."""

    def write(text, name="list.txt"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


THREE = f"# mine\n{ROTTWEILER}\n\n{BONNET} bonnet, poke_bonnet  # a hat\n{GOOSE}\n"


def plugin(tree, file, **options):
    return ImageNet100(root=str(tree), class_list=file, **{"size": 8, **options})


def test_only_the_classes_of_the_list_by_name(tree, listed):
    data = plugin(tree, listed(THREE)).load()
    assert (data.name, data.size) == ("imagenet100", 8)
    assert data.classes == ("goose", "rottweiler", "bonnet")  # in the order of the synsets
    expected = [f"train/{s}/{s}_{i}.JPEG" for s in (GOOSE, ROTTWEILER, BONNET) for i in range(2)]
    assert list(data.train.ids) == expected
    assert data.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert [one.split("/")[1] for one in data.val.ids] == [GOOSE, ROTTWEILER, BONNET]


def test_images_are_those_of_the_dataset_folder_and_unread(tree, listed):
    data = plugin(tree, listed(THREE), cache="none").load()
    assert isinstance(data.train.images, FileImages)
    folder = Folder(root=str(tree), size=8, classes=(ROTTWEILER, BONNET, GOOSE)).load()
    assert np.array_equal(data.train.images.batch(range(6)).numpy(), folder.train.images.batch(range(6)).numpy())
    assert list(data.train.ids) == list(folder.train.ids)
    assert data.fingerprint != folder.fingerprint  # other class names


def test_the_list_and_its_names_decide_and_not_its_order(tree, listed):
    """With another name `attack.target` would mean another class under the same key of the store."""
    given = plugin(tree, listed(THREE))
    order = plugin(tree, listed(f"{BONNET} bonnet\n{GOOSE} a bird\n{ROTTWEILER} Rottweiler", "b.txt"))
    other, named = (
        plugin(tree, listed(THREE.replace(*pair), pair[1])) for pair in ((GOOSE, OTHER), ("bonnet,", "hat,"))
    )
    assert given.load().fingerprint == order.load().fingerprint
    assert len({each.load().fingerprint for each in (given, other, named)}) == 3
    sha = given.identity()["class_list_sha256"]
    assert sha == order.identity()["class_list_sha256"] != other.identity()["class_list_sha256"]
    assert sha == hashlib.sha256(f"{GOOSE}\n{ROTTWEILER}\n{BONNET}\n".encode()).hexdigest()
    assert sha == list_digest([ROTTWEILER, GOOSE, BONNET]) == list_digest([BONNET, ROTTWEILER, GOOSE])


def test_identity_is_for_the_record_and_needs_no_data(tree, listed):
    identity = plugin(tree, listed(THREE), cache="none").identity()
    assert identity["class_list"] == "list.txt"
    assert "cache" not in identity
    json.dumps(identity)
    assert ImageNet100(class_list="none.txt").identity()["class_list_sha256"] is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (OTHER, ""),
        (f"  {OTHER}  ", ""),
        (f"{OTHER} American coot", "American coot"),
        (f"{OTHER}\tAmerican_coot, marsh hen", "American coot"),
        (f"{OTHER},American coot", "American coot"),
        (f"{OTHER}: American coot", "American coot"),
        (f"{OTHER} 12 American coot, marsh hen", "American coot"),
        (f"{OTHER} # coot", ""),
    ],
)
def test_lines_of_a_list(listed, line, expected):
    assert read_list(listed(f"{GOOSE}\n{line}\n")) == {GOOSE: "", OTHER: expected}


def test_a_windows_file_reads_the_same_and_what_is_no_text_is_refused(tmp_path):
    file = tmp_path / "w.txt"
    file.write_bytes(b"\xef\xbb\xbf" + f"{GOOSE} goose\r\n{OTHER}\r\n".encode())
    assert read_list(str(file)) == {GOOSE: "goose", OTHER: ""}
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BenchError, match="UTF-8"):
        read_list(str(file))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{GOOSE}\nrottweiler\n", r"line 2 is 'rottweiler', expected a synset"),
        (f"{GOOSE}\nn0185567\n", r"line 2 is 'n0185567'"),
        (f"{GOOSE}\n{OTHER}\n{GOOSE} again\n", rf"line 3: {GOOSE} stands there twice"),
        (f"{GOOSE}\n", r"names 1 class, expected two or more"),
        ("", r"names 0 classes"),
    ],
)
def test_bad_lists(listed, text, said):
    with pytest.raises(BenchError, match=said):
        read_list(listed(text))


@pytest.mark.parametrize("given", ["", "no/such/list.txt"])
def test_a_missing_list_says_what_it_should_hold_and_where_there_are_some(tree, given):
    what = f"dataset.class_list is {given!r}, no file" if given else "no class list was named"
    said = rf"{what}.*one synset a line.*--set dataset\.class_list=FILE.*HobbitLong/CMC"
    with pytest.raises(BenchError, match=said) as error:
        plugin(tree, given).load()
    assert "://" not in str(error.value)


def test_a_name_of_two_classes_tells_them_apart():
    cranes = ("n02012849", "n03126707")
    expected = {**{crane: f"crane ({crane})" for crane in cranes}, GOOSE: "goose", OTHER: OTHER}
    assert titles({**dict.fromkeys(cranes, "crane"), GOOSE: "bird", OTHER: ""}) == expected


def test_the_ten_targets_are_those_of_table_i():
    import timm.data

    lemmas = timm.data.ImageNetInfo()
    known = {lemmas.index_to_label_name(i): lemmas.index_to_description(i).lower() for i in range(1000)}
    for synset, name in TARGETS.items():
        assert name.lower().replace(" ", "") in known[synset].replace(" ", "").replace("vacuum, ", "")
    assert len(TARGETS) == len(set(TARGETS.values())) == 10


def test_trees_that_do_not_hold_the_classes(tree, listed, tmp_path):
    with pytest.raises(BenchError, match=r"train is not there\. Expected an ImageNet tree, ROOT/train/SYNSET"):
        plugin(tmp_path / "none", listed(THREE)).load()
    with pytest.raises(BenchError, match=r"no folder for 1 of the 4 classes of .*: n00000001\. Another class list"):
        plugin(tree, listed(THREE + "n00000001\n")).load()
    for file in list((tree / "val").rglob("*.JPEG")):
        file.rename(tree / "val" / file.name)
        file.parent.rmdir()
    with pytest.raises(BenchError, match=r"val holds its images directly \(ILSVRC2012_val_.*flat layout.*valprep\.sh"):
        plugin(tree, listed(THREE)).load()


def test_the_papers_targets_can_be_named_on_it(tree, listed):
    places = [f"dataset.root={tree}", f"dataset.class_list={listed(THREE)}", "dataset.size=8"]
    config = load_config(Plugins.load(), "paper-imagenet100", settings=places)
    data = config.dataset.load()
    assert data.classes[config.attack.targets(data.classes)[0]] == "rottweiler"
    config = load_config(Plugins.load(), "paper-imagenet100", choices={"attack": "multi-target"}, settings=places)
    assert set(config.attack.target_classes) <= set(TARGETS.values()), "by the names that its classes have"


@pytest.mark.parametrize("line", ["n02106550 0", "n02106550, 12", "n02106550"])
def test_a_number_is_no_name(tmp_path, line):
    (tmp_path / "list.txt").write_text(f"{line}\nn02123045 3 tabby\n")
    assert read_list(tmp_path / "list.txt") == {"n02106550": "", "n02123045": "tabby"}


@pytest.mark.parametrize("preset", ["paper-imagenet100", "paper-stl10"])
def test_a_layout_keeps_its_own_margin_in_the_papers_presets(preset):
    config = load_config(Plugins.load(), preset, choices={"attack": "noisy-alignment"})
    assert config.attack.train_margin == (0.45, 0.55)
