"""Which encoder, at which size."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.pipeline.pretrain import encoder_of, import_stage
from bench.pipeline.stage import Machine
from bench.plugins.manager import Plugins
from bench.scan.encoders import USUAL, choose, encoder_stage
from bench.ssl.backbone import build_encoder
from bench.store import Store


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


@pytest.mark.parametrize(
    ("setting", "given", "how"),
    [
        ("attack.rate=0.3", {}, "a scan has no use for attack"),
        ("probe.epochs=3", {"encoder": "resnet18"}, "a scan has no use for probe"),
        ("train.epochs=3", {"quick": True}, "a scan --quick has no use for train"),
        ("train.epochs=3", {"encoder": "resnet18"}, "a scan with --encoder has no use for train"),
        ("encoder.backbone=resnet50", {"encoder": "resnet18"}, "a scan with --encoder has no use for encoder"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(plugins, setting, given, how):
    with pytest.raises(BenchError, match=how):
        choose(plugins, 100, settings=[setting], **given)


@pytest.mark.parametrize(("name", "why"), [("strip", "it removes nothing"), ("oracle", "a control needs the truth")])
def test_what_cannot_search_a_folder_is_refused_with_the_reason(plugins, name, why):
    with pytest.raises(BenchError, match=why):
        choose(plugins, 100, defense=name)


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
    assert (found.look.defense.name, found.look.defense.filter.needs) == ("recur", frozenset())


def test_an_encoder_has_its_own_normalisation(plugins, tmp_path):
    assert choose(plugins, 100).normalisation == choose(plugins, 100, encoder="resnet18").normalisation == USUAL
    found = choose(plugins, 100, encoder="vit_base_patch16_224.augreg_in21k").normalisation
    assert found == {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"weights")
    assert choose(plugins, 100, encoder=str(path)).normalisation == USUAL
    found = choose(plugins, 100, encoder=str(path), mean="0.5, 0.4,0.3").normalisation
    assert found == {"mean": (0.5, 0.4, 0.3), "std": USUAL["std"]}


def test_the_usual_is_what_encoders_here_are_trained_with():
    from bench.data.augment import IMAGENET_MEAN, IMAGENET_STD

    assert {"mean": IMAGENET_MEAN, "std": IMAGENET_STD} == USUAL


def test_the_imported_encoder_keeps_it_and_another_is_another_stage(plugins, tmp_path):
    """`prepare` is checked against the arithmetic: (0.5 - 0.4) / 0.2."""
    import torch
    from safetensors.torch import save_file

    options = ["encoder.options.channels=[8, 16, 32, 64]"]
    settings = choose(plugins, 100, train="smoke", settings=options).config.encoder
    path = tmp_path / "mine.safetensors"
    save_file(build_encoder(settings, 32)[0].state_dict(), path)
    keys, store = [], Store(tmp_path / "store")
    for more, wanted in (({}, (0.5 - 0.485) / 0.229), ({"mean": "0.4,0.4,0.4", "std": "0.2,0.2,0.2"}, 0.5)):
        chosen = choose(plugins, 100, encoder=str(path), settings=options, **more)
        stage = encoder_stage(chosen, list, 100, "fingerprint", Machine(accelerator="cpu"))
        with store.open(stage.name, stage.key) as making:
            stage.make(making, lambda *_, **__: None)
        found = encoder_of(store.find(stage.name, stage.key), chosen.config, 32, Machine(accelerator="cpu"))
        assert float(found.prepare(torch.full((1, 3, 32, 32), 0.5))[0, 0, 0, 0]) == pytest.approx(wanted)
        keys.append(stage.key)
    plain = choose(plugins, 100, encoder=str(path), settings=options)
    assert keys[0] == import_stage(plain.config, plain.checkpoint, 32).key != keys[1]


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
        ({"mean": "0.5,0.5,0.5"}, "give one, or leave them out"),
        ({"encoder": "resnet18", "mean": "0.5,0.5"}, "expected three numbers R,G,B from 0 to 1"),
        ({"encoder": "resnet18", "mean": "123.7,116.3,103.5"}, "divide numbers up to 255 by 255"),
        ({"encoder": "resnet18", "std": "0,0.2,0.2"}, "expected three numbers R,G,B from 0.001 to 1"),
        ({"quick": True, "settings": ["defense.effect=true"]}, "--quick asks no encoder, so defense.effect=false"),
    ],
)
def test_what_cannot_be(plugins, options, message):
    with pytest.raises(BenchError, match=message):
        choose(plugins, 100, **options)
