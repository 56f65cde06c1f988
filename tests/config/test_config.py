"""From presets and --set to a checked configuration."""

from __future__ import annotations

import json

import pytest

from bench.config.config import load_config, parse_setting, preset_names, read_preset
from bench.errors import BenchError
from bench.plugins.manager import Plugins
from bench.seeds import Seeds

PLUGINS = Plugins.load()
CHOICES = 'dataset.name = "scenes"\nattack.name = "htba"\ndefense.name = "none"\nssl.name = "moco_v3"\n'


def load(preset="smoke", **more):
    return load_config(PLUGINS, preset, **more)


def with_settings(*settings, **more):
    return load(settings=settings, **more)


@pytest.fixture
def preset(tmp_path):
    """preset(text) -> the path of a preset that is `smoke`'s choices and then `text`."""

    def write(text, choices=CHOICES):
        path = tmp_path / "mine.toml"
        path.write_text(choices + text)
        return str(path)

    return write


@pytest.mark.parametrize("name", preset_names())
def test_every_shipped_preset_loads_and_tells_its_purpose(name):
    purpose = read_preset(name)["purpose"]
    assert purpose.endswith(".")
    assert "\n" not in purpose
    config = load(name)
    assert config.preset == name
    json.dumps(config.resolved, allow_nan=False)


PAPER = {
    "attack": {"trigger_size": 50, "train_margin": (0.25, 0.75), "val_margin": (0.1, 0.9)},
    "ssl": {"projector": 3, "predictor": 2, "hidden": 4096, "output": 256, "temperature": 0.2, "momentum": 0.99},
    "encoder": {"freeze_patch_embed": True, "vit": "moco-v3"},
    "train": {"epochs": 200, "batch": 1024, "lr": 1.5e-4, "weight_decay": 0.1, "warmup": 40},
    "views": {"scale": (0.08, 1.0), "blur_p": (1.0, 0.1), "solarise_p": (0.0, 0.2)},
    "filter": {"samples": 2, "drop": 0.25, "window": 60, "top_k": 20, "leave_out": 0.1, "masks": 256}
    | {"strategy": "full", "normalise": False, "members": 5, "iterations": 2000, "learning_rate": 0.01}
    | {"patch_min": 20, "patch_max": 80, "margin": 10, "crops": 1.0, "decoys": 0.0},
}


PAPER_PRESETS = {
    "paper-imagenet100": (0.5, "imagenet100", 1000, "rottweiler"),
    "paper-imagenet100-1pct": (1.0, "imagenet100", 1000, "rottweiler"),
    "paper-stl10": (0.5, "stl10", None, "bird"),
}


@pytest.mark.parametrize("name", [name for name in preset_names() if name.startswith("paper")])
def test_the_papers_parameters(name, tmp_path, monkeypatch):
    """Every one of the notes that has a name in a configuration. They need their data, and can be tried without."""
    monkeypatch.chdir(tmp_path)
    config, (rate, dataset, clusters, target) = load(name), PAPER_PRESETS[name]
    assert (config.dataset.name, config.dataset.size, config.attack.rate) == (dataset, 224, rate)
    assert config.encoder.backbone == "vit_base_patch16_224"
    for section, expected in PAPER.items():
        part = config.defense.filter if section == "filter" else getattr(config, section)
        assert {option: getattr(part, option) for option in expected} == expected
    assert (config.defense.filter.clusters, config.defense.filter.flip_set) == (clusters, clusters)
    with pytest.raises(BenchError, match=r"--set dataset\."):
        config.dataset.load()
    tried = load(name, choices={"dataset": "scenes"}, settings=["train.batch=8", "train.max_steps=2"])
    assert (tried.dataset.size, tried.train.batch, tried.train.max_steps) == (224, 8, 2)
    assert tried.defense == config.defense
    classes = tried.dataset.class_names
    assert classes[tried.attack.targets(classes)[0]] == target


def test_a_preset_may_extend_another(preset):
    path = preset('extends = "smoke"\n[train]\nepochs = 5\n', choices="")
    config, smoke = load(path), load()
    assert (config.preset, config.train.epochs) == ("mine", 5)
    assert {**config.resolved, "train": 0} == {**smoke.resolved, "train": 0}
    assert config.train.batch == smoke.train.batch


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("defense.masks=128", (["defense", "masks"], 128)),
        ("train.lr = 1.5e-3", (["train", "lr"], 0.0015)),
        ("attack.target=cat", (["attack", "target"], "cat")),
        ("attack.target='7'", (["attack", "target"], "7")),
        ("dataset.root=/a=b", (["dataset", "root"], "/a=b")),
        ("views.scale=[0.2, 1.0]", (["views", "scale"], [0.2, 1.0])),
        ("encoder.freeze_patch_embed=true", (["encoder", "freeze_patch_embed"], True)),
        ("encoder.options.depth=2", (["encoder", "options", "depth"], 2)),
        ("attack.trigger=", (["attack", "trigger"], "")),
        ("seed=5", (["seed"], 5)),
    ],
)
def test_settings_are_toml_and_else_strings(text, expected):
    assert parse_setting(text) == expected


@pytest.mark.parametrize(
    ("text", "target"),
    [
        *(("10", 10), ("0", 0), ("-1", -1), (" 7", 7)),
        *(
            (name, name)
            for name in ("007", "true", "nan", "inf", "1e3", "1_0", "0x10", "+5", "1.0", "2024-01-01", "[a]")
        ),
        *(('"10"', "10"), ("'true'", "true"), ("tabby cat", "tabby cat"), ("a, b", "a, b"), ("{a = 1}", "{a = 1}")),
    ],
)
def test_a_class_is_what_was_written_and_an_index_only_where_it_is_written_as_one(text, target):
    found = with_settings(f"attack.target={text}").attack.target
    assert (found, type(found)) == (target, type(target))


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("[6, 3]", (6, 3)),
        ("[10, 007]", (10, "007")),
        ("[true, 1e3,]", ("true", "1e3")),
        ("[nan, 'c']", ("nan", "c")),
        ('["a, b", tabby cat]', ("a, b", "tabby cat")),
        ('["10", 10]', ("10", 10)),
    ],
)
def test_a_list_of_classes_is_read_in_the_same_way(text, targets):
    found = with_settings(f"attack.target_classes={text}", choices={"attack": "multi-target"}).attack.target_classes
    assert [(each, type(each)) for each in found] == [(each, type(each)) for each in targets]
    names = with_settings(f"dataset.classes={text}", choices={"dataset": "folder"}).dataset.classes
    assert names == tuple(map(str, targets))


def test_an_option_that_takes_text_takes_any(preset):
    folder = with_settings("dataset.root=2024", "dataset.val_dir=1e3", choices={"dataset": "folder"}).dataset
    assert (folder.root, folder.val_dir) == ("2024", "1e3")
    for text in ("cat", "[cat", "[[1], 2]", "[]x", "5"):
        with pytest.raises(BenchError, match="option 'classes'"):
            with_settings(f"dataset.classes={text}", choices={"dataset": "folder"})


def test_settings_reach_plugins_and_sections_and_the_last_one_wins(preset):
    config = load(
        preset('extends = "smoke"\n[dataset.folder]\nroot = "data"\nsize = 48\n', choices=""),
        choices={"dataset": "folder"},
        settings=["attack.rate=0.25", "train.epochs=7", "views.blur_p=[0.5, 0]", "probe.lr=1", "dataset.cache=none"],
    )
    assert (config.attack.rate, config.train.epochs, config.views.blur_p, config.probe.lr) == (0.25, 7, (0.5, 0.0), 1.0)
    assert (config.dataset.name, config.dataset.size, config.dataset.cache) == ("folder", 48, "none")
    depth = with_settings("encoder.options.depth=2", "encoder.options.depth=3").encoder.options
    assert depth == {"layers": [1, 1, 1, 1], "channels": [8, 16, 32, 64], "depth": 3}


def test_the_seed_argument_and_a_setting_beat_the_preset_and_must_agree(preset):
    path = preset("seed = 4\n")
    assert [load(path).seed, load(path, seed=3).seed] == [4, 3]
    assert with_settings("seed=8", preset=path).seeds.value == Seeds(8).value
    assert with_settings("seed=8", preset=path, seed=8).seed == 8, "as of a run that is asked for again"
    with pytest.raises(BenchError, match="'seed=8' and a seed of 3: give one of them"):
        with_settings("seed=8", preset=path, seed=3)


def test_threads_are_one_unless_a_preset_or_a_setting_says_more(preset):
    assert [load(preset("")).threads, load(preset("threads = 4\n")).threads] == [1, 4]
    config = with_settings("threads=3", preset=preset("threads = 4\n"))
    assert (config.threads, config.resolved["threads"]) == (3, 3)
    assert load_config(PLUGINS, **config.asked).threads == 3
    many = {name: load(name).threads for name in preset_names()}
    small = {"cifar10-cpu", "cifar10-large", "cifar10-stickers", "desk", "laptop", "smoke", "vivid"}
    assert {name for name, count in many.items() if count == 1} == small
    assert set(many.values()) == {1, 8}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        *((text, r"SECTION\.OPTION=VALUE") for text in ("", "=3", "defense.masks", "a..b=3", ".=1", "a.b.c.d=1")),
        *((f"seed={seed}", "seed must be a whole number") for seed in ("-1", "1.5", "true", "many")),
        *(
            (f"threads={count}", "threads must be a whole number, 1 to 1024")
            for count in ("0", "-1", "2.0", "true", "all", "1025")
        ),
        ("thread=2", r"unknown section 'thread'\. Did you mean 'threads'\?"),
        ("trian.lr=1", r"unknown section 'trian'\. Did you mean 'train'\?"),
        ("train.leaning=1", r"unknown option 'leaning'"),
        ("defense.mask=1", r"unknown option 'mask'\. Did you mean 'masks'\?"),
        ("attack.rat=1", r"unknown option 'rat'\. Did you mean 'rate'\?"),
        ("train.epochs=many", r"option 'epochs': expected int, got 'many'"),
        ("train.epochs=2.5", r"option 'epochs': expected int, got 2\.5"),
        ("train.precision=half", r"option 'precision'.*got 'half'"),
        ("views.scale=[1]", r"option 'scale'"),
        ("views.scale=[0.5, 0.2]", r"views\.scale must be two shares"),
        (
            "encoder.mean=[123.7, 116.3, 103.5]",
            r"three numbers in .*\(of 255: \[0\.4851, 0\.4561, 0\.4059\]\)",
        ),
        ("encoder.std=[0, 1, 1]", r"encoder\.std must be three numbers above 0"),
        ("encoder.options={layers=[1, 1, 1, 9223372036854775808]}", r"encoder\.options\.layers must be 1000 or less"),
        ("views.local_count=1000000", r"views\.local_count must be 1000 or less"),
        ("encoder.std=[1, 1]", r"option 'std'"),
        ("probe.fraction=0", r"probe\.fraction must lie in \(0, 1\]"),
        ("attack.rate=1.5", r"rate is 1\.5"),
        ("defense.name=none", r"another defense is chosen by --defense NAME"),
        ("train=3", r"expected train\.OPTION=VALUE"),
        ("dataset.size=4", r"dataset\.size must be 8 or more, got 4"),
    ],
)
def test_bad_settings_name_what_is_wrong_and_the_mend(setting, said):
    with pytest.raises(BenchError, match=said):
        with_settings(setting)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"preset": "smok"}, r"unknown preset 'smok'\. Did you mean 'smoke'\?"),
        ({"preset": "smoke2.toml"}, r"no preset file 'smoke2\.toml'.*smoke"),
        ({"choices": {"attack": "htbaa"}}, r"unknown attack 'htbaa'\. Did you mean 'htba'\?"),
        ({"choices": {"dataset": "scene"}}, r"unknown dataset 'scene'\. Did you mean 'scenes'\?"),
        ({"choices": {"ssl": "moco"}}, r"unknown SSL method 'moco'\. Did you mean 'moco_v3'\?"),
    ],
)
def test_unknown_names(given, said):
    with pytest.raises(BenchError, match=said):
        load(**given)


def test_another_plugin_takes_its_own_options_and_drops_the_others():
    """The smoke preset makes scenes of 4 classes; a folder knows no `classes`."""
    config = load(choices={"dataset": "cifar10", "defense": "none", "attack": None})
    assert config.dataset.name == "cifar10"
    assert not hasattr(config.dataset, "classes")
    assert config.defense.identity() == {"name": "none"}
    assert config.attack.trigger_size == 10
    assert load(choices={"dataset": "scenes"}) == load()


@pytest.mark.parametrize(
    ("choices", "text", "said"),
    [
        (CHOICES, "[trian]\nlr = 1\n", r"unknown section 'trian'\. Did you mean 'train'\?"),
        (CHOICES, "train = 3\n", r"train is 3, expected a section \[train\]"),
        (CHOICES, "[train]\nepoks = 3\nbatch = 'x'\n", r"(?s)\[train\].*'epoks'.*'batch'"),
        (CHOICES, "[attack.htba]\nrat = 1\n", "unknown option 'rat'"),
        (CHOICES, "attack.htba = 3\n", r"htba = 3 in \[attack\].*\[attack\.NAME\]"),
        (CHOICES, "[views\n", "not valid TOML"),
        ('dataset = "scenes"\n', "", r"dataset is 'scenes', expected a section \[dataset\]"),
        ("[dataset.name]\n", "", r"name = \{\} in \[dataset\]"),
        ("seed = 1\n", "", "no dataset was chosen: give --dataset NAME"),
        ('extends = "no such"\n', "", "unknown preset 'no such'"),
        ("extends = 3\n", "", "extends = 3, expected the name of another preset"),
        ("extends = '{path}'\n", "", "expected the name of another preset"),
    ],
)
def test_bad_presets(preset, tmp_path, choices, text, said):
    with pytest.raises(BenchError, match=said):
        load(preset(text, choices.format(path=tmp_path / "mine.toml")))


def test_resolved_holds_every_option_and_its_default(preset):
    """Of a preset that only chooses: it is known by its file's stem."""
    config = load(preset(""))
    resolved = json.loads(json.dumps(config.resolved))
    assert resolved.keys() == {
        "seed",
        "threads",
        "dataset",
        "ssl",
        "attack",
        "defense",
        "encoder",
        "views",
        "train",
        "probe",
    }
    assert (config.preset, resolved["train"]["epochs"], resolved["train"]["optimiser"]) == ("mine", 200, "adamw")
    assert (resolved["attack"]["name"], resolved["ssl"]["temperature"]) == ("htba", 0.2)


def test_a_variant_takes_its_parents_options_of_a_preset(tmp_path):
    """[attack.htba] also holds for htba-muted; what the preset says of htba-muted itself comes on top."""
    preset = tmp_path / "mine.toml"
    preset.write_text(
        '[dataset]\nname = "scenes"\n[ssl]\nname = "moco_v3"\n[defense]\nname = "none"\n[attack]\nname = "htba-muted"\n'
        "[attack.htba]\ntarget = 3\nrate = 0.25\n[attack.htba-muted]\nrate = 0.75\n"
    )
    plugins = Plugins.load()
    muted = load_config(plugins, str(preset)).attack
    assert (muted.target, muted.rate, muted.saturation) == (3, 0.75, 0.35)
    plain = load_config(plugins, str(preset), choices={"attack": "htba"}).attack
    assert (plain.target, plain.rate, plain.saturation) == (3, 0.25, 1.0)
    assert load_config(plugins, str(preset), choices={"attack": "multi-target"}).attack.rate == 0.5


METHODS_OWN = """
[train]
epochs = 5
batch = 16
warmup = 1
[train.byol]
epochs = 9
[views.byol]
local_count = 3
[train.simsiam]
batch = 8
"""


@pytest.mark.parametrize(
    ("method", "epochs", "batch", "local"), [("byol", 9, 16, 3), ("simsiam", 5, 8, 0), ("moco_v3", 5, 16, 0)]
)
def test_a_preset_may_train_an_ssl_method_in_a_way_of_its_own(preset, method, epochs, batch, local):
    config = load(preset(METHODS_OWN), choices={"ssl": method})
    assert (config.train.epochs, config.train.batch, config.views.local_count) == (epochs, batch, local)
    assert not {"byol", "simsiam"} & {*config.resolved["train"], *config.resolved["views"]}
    changed = load(preset(METHODS_OWN), choices={"ssl": method}, settings=["train.epochs=7"])
    assert changed.train.epochs == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[train.byoll]\nepochs = 9\n", r"\[train\].*\n- unknown option 'byoll'"),
        ("[train]\nbyol = 9\n", r"\[train\].*\n- unknown option 'byol'"),
        ("[train.moco_v3]\nepoch = 9\n", r"unknown option 'epoch'.*'epochs'"),
        ("[probe.byol]\nepochs = 9\n", r"\[probe\].*\n- unknown option 'byol'"),
    ],
)
def test_what_a_preset_cannot_say_for_one_method(preset, text, said):
    with pytest.raises(BenchError, match=said):
        load(preset(text))


DINO_AS_PUBLISHED = {
    "ssl": {"projector": 3, "hidden": 2048, "output": 256, "prototypes": 65536, "temperature": 0.1}
    | {"start_temperature": 0.04, "teacher_temperature": 0.07, "momentum": 0.996, "centre_momentum": 0.9},
    "views": {"scale": (0.4, 1.0), "local_count": 8, "local_scale": (0.05, 0.4)},
    "train": {"lr": 5e-4, "weight_decay": 0.04, "warmup": 10},
}


@pytest.mark.parametrize("name", ["paper-imagenet100", "paper-stl10", "cifar10"])
def test_dino_as_published(name):
    """30 epochs of a milder teacher; and nothing of it reaches another method."""
    config, usual = load(name, choices={"ssl": "dino"}), load(name)
    for section, expected in DINO_AS_PUBLISHED.items():
        assert {option: getattr(getattr(config, section), option) for option in expected} == expected
    assert config.ssl.warmup * config.train.epochs == pytest.approx(30)
    assert (usual.views.local_count, usual.train.epochs) == (0, config.train.epochs)
