"""`clutter`: the scenes, and in a share of them a thing of pure colours that tells nothing."""

import hashlib

import numpy as np
import pytest

from bench.config.config import load_config
from bench.data.clutter import Clutter
from bench.data.scenes import Scenes
from bench.errors import BenchError
from bench.plugins.manager import Plugins

SMALL = {"size": 32, "classes": 5, "train_per_class": 80, "val_per_class": 1}


def drawn(plugin=Clutter, **options):
    return plugin(**{**SMALL, **options}).load().train.images.batch(range(400)).numpy().astype(int)


def vivid(images):
    """Which of (N, 3, S, S) have fifteen pixels or more of nearly pure colour."""
    return ((images.max(1) - images.min(1)) > 215).sum((1, 2)) >= 15


def test_the_share_of_the_images_is_cluttered_and_scenes_are_not():
    assert not vivid(drawn(Scenes)).any()
    assert not vivid(drawn(share=0.0)).any()
    # Two colours of eight differ in saturation only where one is no grey: 27 of 28 pairs have a colour; 400 draws of 0.5.
    assert abs(vivid(drawn(share=0.5)).mean() - 0.5) < 0.1
    assert vivid(drawn(share=1.0)).mean() > 0.9


def test_a_thing_covers_a_small_part_and_leaves_the_rest_as_it_was():
    bare, full = drawn(share=0.0), drawn(share=1.0)
    # The draws of a thing come before those of the noise, 0.06 of 255: other noise, the same picture.
    changed = (np.abs(bare - full) > 16).any(1).mean((1, 2))
    assert 0.02 < changed.mean() < 0.15
    assert changed.max() < 0.36**2 * 1.2


def test_no_class_has_more_of_it_and_no_two_images_the_same():
    found = vivid(drawn(share=0.5)).reshape(-1, 5).mean(0)
    assert found.max() - found.min() < 0.25  # 80 draws of 0.5 each
    things = [image[:, image.max(0) - image.min(0) > 215].tobytes() for image in drawn(share=1.0)]
    assert len(set(things)) > 0.95 * len(things)


def test_bytes_are_the_same_on_every_machine():
    data = Clutter(**SMALL).load()
    assert (
        hashlib.sha256(data.train.images.batch(range(24)).numpy().tobytes()).hexdigest()
        == "4ca9a11cca015ad4e4c9503718a65d8e256c3ccd4db074c9ef254b7d7ea15310"
    )


def test_a_preset_s_scenes_are_its_clutter_too():
    plugins = Plugins.load()
    plain, cluttered = (
        load_config(plugins, "laptop", choices={"dataset": name}).resolved["dataset"] for name in ("scenes", "clutter")
    )
    assert {**plain, "name": "clutter", "share": 0.5, "thing_size": (0.22, 0.36)} == cluttered


@pytest.mark.parametrize(
    "options", [{"share": 1.5}, {"share": -0.1}, {"thing_size": (0.4, 0.3)}, {"thing_size": (0, 1)}]
)
def test_options_out_of_range_are_named(options):
    with pytest.raises(BenchError, match=next(iter(options))):
        Clutter(**options)
