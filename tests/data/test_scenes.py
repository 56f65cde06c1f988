"""The rules of the embedded dataset. How its images look is tuned elsewhere: nothing here depends on a colour."""

import dataclasses
import hashlib
import importlib
import sys

import pytest
import torch
from hypothesis import given, settings, strategies as st

from bench.data import scenes as module
from bench.data.scenes import SceneImages, Scenes
from bench.errors import BenchError

SMALL = {"size": 16, "classes": 3, "train_per_class": 8, "val_per_class": 4}


def scenes(**options):
    return Scenes(**{**SMALL, **options})


def streamed(**options):
    """The images of the training split, each drawn when it is requested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "KEPT", 0)
        images = scenes(**options).load().train.images
    assert isinstance(images, SceneImages)
    return images


ALL = scenes().load().train.images.batch(range(24))


def test_shapes_counts_labels_names_and_ids():
    data = scenes().load()
    assert (data.name, data.size, len(data.train), len(data.val), data.skipped) == ("scenes", 16, 24, 12, ())
    assert len(set(data.classes)) == len(data.classes) == 3
    assert data.train.labels.tolist() == [0, 1, 2] * 8
    assert (data.train.ids[0], data.train.ids[-1]) == ("train/0000000", "train/0000023")
    assert data.val.ids[:2] == ["val/0000000", "val/0000001"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 23), max_size=6))
def test_an_image_depends_on_its_index_alone_not_on_the_order(indices):
    assert torch.equal(streamed().batch(indices), ALL[indices])


@pytest.mark.parametrize("limit", [{"KEPT": 1 << 40}, {"KEPT_BYTES": 24 * 3 * 16 * 16 - 1}])
def test_keeping_or_drawing_anew_gives_the_same_images_and_fingerprint(monkeypatch, limit):
    whole = scenes().load()
    for name, value in limit.items():
        monkeypatch.setattr(module, name, value)
    some = scenes().load()
    assert isinstance(some.train.images, SceneImages) == ("KEPT_BYTES" in limit)
    assert not isinstance(some.val.images, SceneImages)
    assert some.fingerprint == whole.fingerprint
    assert torch.equal(some.train.images.batch(range(24)), ALL)


def test_bytes_and_fingerprint_are_the_same_on_every_machine():
    assert (
        hashlib.sha256(ALL.numpy().tobytes()).hexdigest()
        == "21c7cf66c962d8377fe1b275ef310b254d377e2d75c96b8d43a98331b43c9be0"
    )
    assert scenes().load().fingerprint == "7eba4b76869792a98f64e93e4f390aec10211e5a4d46e3e1aa332391f621b080"


@pytest.mark.usefixtures("global_rng")
def test_images_differ_among_each_other_seeds_and_splits():
    data, other = scenes().load(), scenes(seed=1).load()
    assert len({image.numpy().tobytes() for image in ALL}) == 24
    assert not (other.train.images.batch(range(24)) == ALL).flatten(1).all(1).any()
    assert not torch.equal(data.val.images.batch(range(12)), ALL[:12])
    assert (ALL.float().std((1, 2, 3)) > 1).all()  # none is a plain surface


def test_the_fingerprint_changes_with_every_option():
    options = {"seed": 1, "size": 18, "classes": 4, "train_per_class": 9, "val_per_class": 5, "period": 0.5}
    options |= {"object_size": (0.2, 0.3), "hue_jitter": 0.01, "names": ("bird",)}
    assert options.keys() == {field.name for field in dataclasses.fields(Scenes)}
    prints = [scenes(**dict([changed] if changed else [])).load().fingerprint for changed in (*options.items(), None)]
    assert len(set(prints)) == len(prints)


def test_more_images_leave_the_first_ones_as_they_are_and_change_the_fingerprint(monkeypatch):
    assert torch.equal(scenes(train_per_class=100).load().train.images.batch(range(24)), ALL)
    monkeypatch.setattr(module, "KEPT", 6)
    assert scenes().load().fingerprint != scenes(train_per_class=9).load().fingerprint


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"size": 7}, "size must be 8 or more, got 7"),
        ({"classes": 1}, "classes must be 2 or more, got 1"),
        ({"train_per_class": 0}, "train_per_class"),
        ({"val_per_class": 0}, "val_per_class"),
        ({"object_size": (0.0, 0.5)}, "object_size"),
        ({"object_size": (0.6, 0.5)}, "object_size"),
        ({"object_size": (0.6, 1.5)}, "object_size"),
        ({"period": 0.0}, "period"),
        ({"names": ("a", "b", "c", "d")}, r"dataset\.names must be up to 3 different names"),
        ({"size": 4097}, "size must be 4096 or less, got 4097"),
        ({"classes": 10_001}, "classes must be 10000 or less"),
        ({"train_per_class": 10**9}, "dataset.train_per_class: 3000000000 images in all, expected 10000000 or fewer"),
        ({"names": ("a", "a")}, r"dataset\.names must be up to 3 different names"),
    ],
)
def test_options_out_of_range(bad, said):
    with pytest.raises(BenchError, match=said):
        scenes(**bad)


@pytest.mark.parametrize("size", [8, 9, 33])
def test_every_width_works(size):
    assert scenes(size=size, train_per_class=2).load().train.images.batch([5]).shape == (1, 3, size, size)


def test_an_index_outside_is_an_error():
    for images in (scenes().load().train.images, streamed()):
        for outside in (24, -1):
            with pytest.raises(IndexError):
                images.batch([0, outside])


def test_names_are_unique_and_those_of_another_dataset_can_stand_in():
    assert len(set(scenes(classes=100).class_names)) == 100
    plain, named = scenes().load(), scenes(names=("bird", "car")).load()
    assert named.classes == ("bird", "car", plain.classes[2])
    assert torch.equal(named.train.images.batch(range(24)), ALL)


def test_of_many_bytes_only_a_sample_is_drawn_for_the_fingerprint(monkeypatch):
    """A limit that the set does not reach changes nothing: fingerprints are part of stored results."""
    whole, size = scenes().load().fingerprint, 24 * 3 * 16 * 16
    for limit, same in ((size, True), (size - 1, False)):
        monkeypatch.setattr(module, "DRAWN_BYTES", limit)
        monkeypatch.setattr(module, "SAMPLE", 5)
        assert (scenes().load().fingerprint == whole) == same
    drawn = []
    monkeypatch.setattr(module, "render", lambda *about: drawn.append(about) or ALL[0].numpy())
    assert scenes(seed=3).load().fingerprint != scenes(seed=3, train_per_class=9).load().fingerprint
    assert len(drawn) == 2 * (5 + 12)


def test_an_edited_data_set_that_extends_this_one_has_another_fingerprint(tmp_path, monkeypatch):
    """Or its images would be taken for those of before the edit, and stored trainings on them for its own."""
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for fill in (1, 2, 2):
        (tmp_path / "edited_scenes.py").write_text(
            "from bench.data.scenes import Scenes\n"
            "class Edited(Scenes):\n"
            "    name = 'edited'\n"
            f"    def finish(self, image, rng):\n        image[:] = {fill}  # {'-' * fill}\n"
        )
        monkeypatch.delitem(sys.modules, "edited_scenes", raising=False)
        importlib.invalidate_caches()
        found.append(importlib.import_module("edited_scenes").Edited(**SMALL).load().fingerprint)
    assert found[0] != found[1] == found[2]
