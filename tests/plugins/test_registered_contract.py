"""Every registered plugin keeps the contract of its kind."""

import numpy as np
import pytest
from PIL import Image

from bench.plugins.contract.checks import assert_contract, contract, run_checks, toy_instance
from bench.plugins.contract.kit import Trial
from bench.plugins.manager import Plugins
from bench.plugins.options import options

PLUGINS = Plugins.load()


def instance(entry):
    return toy_instance(entry.cls)


ACTIVE = [instance(entry) for kind in ("attack", "defense") for entry in PLUGINS.entries(kind)]
SMALLER = {"dino": {"prototypes": 32}}
METHODS = [PLUGINS.make("ssl", name, {"hidden": 32, **SMALLER.get(name, {})}) for name in PLUGINS.names("ssl")]
DRAWN = ("scenes", "vivid")
DATA = [PLUGINS.make("dataset", name, {"train_per_class": 3, "val_per_class": 2}) for name in DRAWN]
NEED_FILES = [entry for entry in PLUGINS.entries("dataset") if entry.name not in DRAWN]


@contract(*ACTIVE, *METHODS, *DATA)
def test_registered(): ...


@pytest.mark.parametrize("entry", NEED_FILES, ids=lambda entry: entry.name)
def test_datasets_whose_files_are_not_here(entry):
    """What can be told without them; the rest is told to be missing, with the mend."""
    common = {check.name for check in Trial.checks()}
    results = {result.name: result for result in run_checks("dataset", PLUGINS.make("dataset", entry.name))}
    assert [results[name] for name in common if not results[name].ok] == []
    assert "BenchError" in results["loads"].why
    assert "--set" in results["loads"].fix
    assert results["batch"].why == "not reached: see loads"


def test_a_folder_of_images_keeps_the_contract(tmp_path):
    for number in range(8):
        path = tmp_path / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (9, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    assert_contract(PLUGINS.make("dataset", "folder", {"root": str(tmp_path), "size": 8, "val_ratio": 0.3}))


def test_nothing_registered_is_broken():
    assert [str(broken) for broken in PLUGINS.broken] == []


def test_every_option_is_explained():
    entries = [entry for kind in ("attack", "defense", "dataset", "ssl") for entry in PLUGINS.entries(kind)]
    unexplained = [f"{entry.name}.{o.name}" for entry in entries for o in options(entry.cls) if not o.doc]
    assert unexplained == []
