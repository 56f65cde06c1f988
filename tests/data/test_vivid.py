"""`vivid`: the scenes, a share of them in pure colours or with a sticker, which tell no more than the scenes do."""

import hashlib

import numpy as np
import pytest

from bench.config.config import load_config
from bench.data.scenes import Scenes
from bench.data.vivid import Vivid
from bench.errors import BenchError
from bench.plugins.manager import Plugins

SMALL = {"size": 32, "classes": 5, "train_per_class": 80, "val_per_class": 1}


def drawn(plugin=Vivid, **options):
    if plugin is Vivid:
        options = {"stickers": 0.0, **options}
    return plugin(**{**SMALL, **options}).load().train.images.batch(range(400)).numpy().astype(int)


def pure(images):
    """Which of (N, 3, S, S) have sixteen pixels with a channel at 255 and one at 0: what `colour` sees."""
    return ((images.max(1) - images.min(1)) == 255).sum((1, 2)) >= 16


def test_a_share_of_the_images_is_vivid_and_no_scene_is():
    assert not pure(drawn(Scenes)).any()
    assert not pure(drawn(share=0.0)).any()
    assert abs(pure(drawn(share=0.5)).mean() - 0.5) < 0.1  # 400 draws of 0.5: four standard deviations
    assert pure(drawn(share=1.0)).mean() > 0.95


def test_of_every_class_as_many_are_vivid():
    found = pure(drawn(share=0.5)).reshape(-1, 5).mean(0)
    assert found.max() - found.min() < 0.25  # 80 draws of 0.5 each


def test_shape_place_texture_and_hue_are_those_of_the_scene():
    plain, vivid = drawn(share=0.0), drawn(share=1.0)
    inside = np.stack([Vivid(**SMALL).load().train.images.mask(row).numpy() for row in range(400)])
    assert np.abs(plain - vivid).transpose(0, 2, 3, 1)[~inside].max() == 0
    # By the definition of hue: which channel is strongest and which weakest stays, where noise does not decide it.
    clear = inside & (plain.max(1) - plain.min(1) > 60)
    for most in (np.argmax, np.argmin):
        assert (most(plain, 1) == most(vivid, 1))[clear].mean() > 0.97


def test_a_share_of_the_images_has_a_sticker_within_it_and_of_its_own():
    bare, found = drawn(share=0.5), drawn(share=0.5, stickers=0.25)
    differs = (bare != found).any(1)
    changed = differs.any((1, 2))
    assert abs(changed.mean() - 0.25) < 0.09  # 400 draws of 0.25: four standard deviations
    pictures = set()
    for image, where in zip(found[changed], differs[changed], strict=True):
        (top, bottom), (left, right) = (np.flatnonzero(where.any(axis))[[0, -1]] for axis in (1, 0))
        assert max(bottom - top, right - left) < round(0.4 * 32)  # at most 0.4 of the width
        pictures.add(image[:, top : bottom + 1, left : right + 1].tobytes())
    assert len(pictures) == changed.sum()


def test_bytes_are_the_same_on_every_machine():
    data = Vivid(**SMALL).load()
    assert (
        hashlib.sha256(data.train.images.batch(range(24)).numpy().tobytes()).hexdigest()
        == "ee0c566b3d92ad990dd3f3132e84a401ba4a72e8a3f43660f67d596c3933ddee"
    )


def test_what_a_preset_says_for_scenes_it_says_for_these():
    plugins = Plugins.load()
    plain, vivid = (
        load_config(plugins, "laptop", choices={"dataset": name}).resolved["dataset"] for name in ("scenes", "vivid")
    )
    assert {**plain, "name": "vivid", "share": 0.3, "stickers": 0.05} == vivid


@pytest.mark.parametrize("option", ["share", "stickers"])
@pytest.mark.parametrize("share", [1.5, -0.1])
def test_a_share_out_of_range_is_named(option, share):
    with pytest.raises(BenchError, match=rf"dataset\.{option} must be in \[0, 1\]"):
        Vivid(**{option: share})
