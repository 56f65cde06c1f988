"""Times of the parts that a run spends its time in. Run once, untimed and on little, with every test run; timed by:

    pytest tests/benchmarks --benchmark-enable --benchmark-json=times.json
    python tests/benchmarks/compare.py times.json

compare.py holds their times, divided by that of a matrix product in the same session, against baseline.json.
"""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import Seeds, boards
from bench.data.augment import ViewSpec, draw, render
from bench.defenses.search.classifier import TrainingData, build as member, train
from bench.defenses.search.clusters import Clusters, k_means
from bench.defenses.search.defaults import scale
from bench.defenses.search.flip_test import FlipTest
from bench.defenses.search.masking import ActivationMasking
from bench.defenses.search.quick import SEARCHES, quickened
from bench.ssl import bench_ssl_methods
from bench.ssl.backbone import build
from bench.ssl.encoder import FrozenEncoder
from bench.ssl.settings import TrainSettings
from bench.ssl.train import make_optimiser
from bench.store import Store, write_arrays

RECORDS = Path(__file__).parents[2] / "leaderboards" / "records"
LAPTOP = ("resnet18", {"layers": (1, 1, 1, 1), "channels": (16, 32, 64, 128)}, 32, "small")
NETWORKS = {"cnn-32": LAPTOP, "vit-32": ("vit_tiny_patch16_224", {"patch_size": 4}, 32, "timm")}
SPECS = [ViewSpec(size=32, scale=(0.25, 1.0))] * 2 + [ViewSpec(size=16, scale=(0.05, 0.25))] * 4
METHODS = {method.name: method for method in bench_ssl_methods()}
OPTIONS = {
    "moco_v3": {"predictor": 0},
    "moco_v2": {"queue": 512},
    "byol": {"hidden": 512},
    "simsiam": {"bottleneck": 32},
    "dino": {"prototypes": 512},
}

each_network = pytest.mark.parametrize("name", NETWORKS)
each_search = pytest.mark.parametrize("search", SEARCHES)


@pytest.fixture
def amount(benchmark):
    """amount(timed, smoke): how much work, timed or not."""
    return lambda timed, smoke: timed if benchmark.enabled else smoke


@pytest.fixture(scope="session")
def encoders():
    """{name: a randomly initialised FrozenEncoder of NETWORKS}."""
    made = {}
    for name, network in NETWORKS.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made[name] = FrozenEncoder(*build(*network), torch.device("cpu"))
    return made


def noise(count, size=32):
    """That many random images, uint8."""
    generator = torch.Generator().manual_seed(count)
    return torch.randint(256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


@pytest.fixture
def clusters(encoders):
    """clusters(name, search) -> Clusters of 16 centres behind the encoder of that name."""

    def make(name, search="exact"):
        features = torch.nn.functional.normalize(encoders[name](noise(32)))
        return quickened(Clusters(encoders[name], features[:16].clone(), 256), search)

    return make


def test_reference(benchmark):
    """What all other times are divided by: a product of two 512 x 512 matrices, float32."""
    one, two = torch.rand(2, 512, 512, generator=torch.Generator().manual_seed(0))
    assert benchmark(torch.mm, one, two).shape == (512, 512)


@each_network
def test_features(benchmark, encoders, amount, name):
    assert benchmark(encoders[name], noise(amount(64, 2))).shape[1] == encoders[name].dim


def test_k_means(benchmark, amount):
    rows = amount(4000, 100)
    features = np.random.default_rng(0).standard_normal((rows, 128)).astype(np.float32)
    assert benchmark(k_means, features, rows // 60 + 2, 0).shape == (rows // 60 + 2, 128)


@each_search
@each_network
def test_masking(benchmark, clusters, amount, name, search):
    behind, masks = clusters(name, search), amount(64, 16)
    finder = ActivationMasking(clusters=behind, window=9, masks=masks, fast=search == "fast")
    assert benchmark(finder, noise(1), torch.zeros(1, dtype=torch.long), Seeds(0)).shape == (1, 4)


@each_search
@each_network
def test_flip_test(benchmark, clusters, amount, name, search):
    flip = FlipTest(clusters(name, search), noise(amount(32, 10)))
    patches = noise(amount(4, 2))[:, :, :9, :9]
    own = torch.zeros(len(patches), dtype=torch.long)
    assert benchmark(flip, patches, own, Seeds(0)).max() <= len(flip.images)


@pytest.mark.parametrize("at_once", [True, False])
def test_plain_loop(benchmark, clusters, amount, plain_search, at_once):
    """One image: 128 masks and 128 images of the flip set, together or each by itself."""
    behind, count = clusters("cnn-32"), amount(128, 4)
    images = noise(count)
    plain = plain_search(behind.encoder, behind.centres, images, window=9, masks=count, at_once=at_once)
    (score, box), *_ = benchmark(plain.images, images[:1], Seeds(0))
    assert 0 <= score <= count
    assert box[2:] == [9, 9]


class Shown:
    """As much of a View as the poison classifier asks for."""

    device, size, images = torch.device("cpu"), 32, noise(64)

    def batch(self, indices):
        return self.images[torch.as_tensor(indices)]

    def progress(self, what, done, total):
        pass


def test_poison_classifier(benchmark, amount):
    images, truth, sizes = Shown.images, np.arange(8) < 4, {"patch_min": 8, "patch_max": 12}
    lesson = TrainingData(patches=images[:4, :, :9, :9], pool=np.arange(8, 64), held_out=images[:8], truth=truth)
    training = scale(32, 64, iterations=amount(20, 1), **sizes, learning_rate=0.01, crops=1.0, decoys=0.0)
    found = benchmark(lambda: train(Shown(), lesson, training, Seeds(0), member(32, 0), "member"))
    assert len(found["f1"]) == 1


def views(images):
    generator = torch.Generator().manual_seed(0)
    return [render(images, spec, draw(spec, len(images), generator)) for spec in SPECS]


@pytest.fixture
def images(amount):
    return torch.rand(amount(64, 8), 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_views(benchmark, images):
    assert [view.shape[-1] for view in benchmark(views, images)] == [32, 32, 16, 16, 16, 16]


@pytest.mark.parametrize("name", METHODS)
def test_step(benchmark, images, name):
    """Forward, backward, optimiser and momentum encoder, on views that are there."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        learner = METHODS[name](projector=0, **OPTIONS.get(name, {})).learner(*build(*LAPTOP))
    optimiser, batch = make_optimiser(learner, TrainSettings()), views(images)

    def step():
        loss = learner(batch)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        learner.after_step(0.5)
        return loss.item()

    assert math.isfinite(benchmark(step))


def test_make_an_artifact(benchmark, tmp_path):
    store, numbers = Store(tmp_path), itertools.count()
    values = np.arange(10_000, dtype=np.float32)

    def make():
        key = f"{next(numbers):064x}"
        with store.open("probe", key, version=1, config={}, inputs={}) as making:
            write_arrays(making.dir / "values.npz", {"values": values})
        return store.find("probe", key)

    assert (benchmark(make) / "values.npz").is_file()


def test_find_an_artifact(benchmark, tmp_path):
    store, key = Store(tmp_path), f"{7:064x}"
    with store.open("probe", key, version=1, config={}, inputs={}):
        pass
    assert benchmark(store.find, "probe", key) is not None


def copies(count):
    """`count` records: real ones with other seeds, keys and rates, of 40 defenses that differ in an option."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(RECORDS.glob("*.json"))]
    texts = [text for text in texts if '"defended": {' in text][:count]  # the runs with a second training
    for number, text in zip(range(count), itertools.cycle(texts)):
        record = json.loads(text)
        record["run"]["seed"] = record["config"]["seed"] = number
        record["config"]["defense"]["samples"] = number % 40
        record["metrics"]["defended"]["clean"]["acc"] = number % 1000 / 10
        for stage in record["stages"].values():
            stage["key"] = f"{number:064x}"
        yield record


def test_leaderboard(benchmark, amount):
    count = amount(10_000, 20)
    records, render = list(copies(count)), boards.renderer("markdown")
    assert benchmark(lambda: render(boards.tables(records))).count("|") > count / 100
