"""Which encoder, at which size."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.plugins.manager import Plugins
from bench.scan.encoders import choose


@pytest.fixture(scope="module")
def plugins():
    return Plugins.load()


def test_the_preset_follows_the_number_of_images(plugins):
    assert [choose(plugins, count).config.preset for count in (3500, 3501)] == ["laptop", "cifar10-cpu"]
    found = choose(plugins, 5000)
    assert (found.size, found.origin, found.defense.window) == (32, "trained", 12)


def test_another_size_lets_the_rule_choose_the_window_and_scales_local_views(plugins):
    found = choose(plugins, 5000, size=64)
    assert (found.size, found.defense.window, found.config.views.local_size) == (64, None, 32)
    assert choose(plugins, 5000, size=64, settings=["defense.window=20"]).defense.window == 20


def test_settings_defense_and_seed_reach_the_configuration(plugins):
    found = choose(plugins, 100, defense="patchsearch", settings=["train.epochs=3"], seed=4)
    assert (found.defense.name, found.config.train.epochs, found.config.seed) == ("patchsearch", 3, 4)


def test_a_file_is_a_checkpoint(plugins, tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"weights")
    found = choose(plugins, 100, encoder=str(path))
    assert (found.origin, found.size, found.checkpoint.path) == ("file", 32, path)
    assert found.encoder_words == "mine.safetensors, not trained here"


def test_timms_weights_by_name_at_their_own_size(plugins):
    found = choose(plugins, 100, encoder="resnet18")
    assert (found.origin, found.size, found.config.encoder.backbone) == ("timm", 224, "resnet18")
    assert (found.config.encoder.options, found.defense.window) == ({}, None)


def test_a_quick_scan_is_recur_without_an_encoder(plugins):
    found = choose(plugins, 5000, quick=True, settings=["defense.rank=9"], size=48, seed=2)
    assert (found.origin, found.encoder_words, found.size, found.config.seed) == ("none", "none", 48, 2)
    assert (found.defense.name, found.defense.effect, found.defense.rank) == ("recur", False, 9)
    assert found.defense.needs == frozenset()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "resnet1888"}, "neither a file nor a model of timm. Did you mean 'resnet"),
        ({"encoder": "resnet18", "train": "smoke"}, "give one of them"),
        ({"train": "smokee"}, "Did you mean 'smoke'"),
        ({"defense": "oracle"}, "a control needs the truth"),
        ({"defense": "none"}, "finds poisoned images"),
        ({"defense": "icutmix"}, "finds poisoned images"),
        ({"defense": "poisoncam+icutmix"}, "finds poisoned images"),
        ({"defense": "poisonca"}, "Did you mean 'poisoncam'"),
        ({"quick": True, "train": "smoke"}, "--quick and --train exclude each other"),
        ({"quick": True, "encoder": "resnet18"}, "--quick and --encoder exclude each other"),
        ({"quick": True, "defense": "recur"}, "--quick and --defense exclude each other"),
        ({"quick": True, "defense": "recur", "train": "smoke"}, "Leave out --train and --defense for the quick scan"),
        ({"quick": True, "settings": ["defense.effect=true"]}, "--quick asks no encoder, so defense.effect=false"),
    ],
)
def test_what_cannot_be(plugins, options, message):
    with pytest.raises(BenchError, match=message):
        choose(plugins, 100, **options)
