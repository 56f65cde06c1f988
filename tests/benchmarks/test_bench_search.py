"""Times of a defense's parts: features, k-means, masking, flip test, poison classifier; and of the plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench import Seeds
from bench.defenses.search.classifier import TrainingData, train
from bench.defenses.search.clusters import Clusters, k_means
from bench.defenses.search.defaults import scale
from bench.defenses.search.flip_test import FlipTest
from bench.defenses.search.masking import ActivationMasking
from bench.defenses.search.quick import SEARCHES, quickened

SMALL = ("cnn-32", "vit-32")


class Shown:
    """As much of a View as the poison classifier asks for."""

    device = torch.device("cpu")

    def __init__(self, images):
        self.images, self.size = images, images.shape[-1]

    def batch(self, indices):
        return self.images[torch.as_tensor(indices)]

    def progress(self, what, done, total):
        pass


@pytest.fixture
def clusters(encoders, noise):
    """clusters(name, search) -> Clusters of 16 centres behind the encoder of that name, and the image width."""

    def make(name, search="exact"):
        encoder, size = encoders(name)
        features = torch.nn.functional.normalize(encoder(noise(32, size)))
        return quickened(Clusters(encoder, features[:16].clone(), 256), search), size

    return make


@pytest.mark.benchmark(group="features")
@pytest.mark.parametrize("name", SMALL)
def test_features(benchmark, encoders, noise, amount, name):
    encoder, size = encoders(name)
    assert benchmark(encoder, noise(amount(64, 2), size)).shape[1] == encoder.dim


@pytest.mark.benchmark(group="k-means")
def test_k_means(benchmark, amount):
    rows = amount(4000, 100)
    features = np.random.default_rng(0).standard_normal((rows, 128)).astype(np.float32)
    assert benchmark(k_means, features, rows // 60 + 2, 0).shape == (rows // 60 + 2, 128)


@pytest.mark.benchmark(group="masking")
@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("name", SMALL)
def test_masking(benchmark, clusters, noise, amount, name, search):
    behind, size = clusters(name, search)
    masks = amount(64, 16)
    finder = ActivationMasking(clusters=behind, window=9, masks=masks, coarse=search == "coarse")
    images, own = noise(1, size), torch.zeros(1, dtype=torch.long)
    assert benchmark(finder, images, own, Seeds(0)).shape == (1, 4)


@pytest.mark.benchmark(group="flip test")
@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("name", SMALL)
def test_flip_test(benchmark, clusters, noise, amount, name, search):
    behind, size = clusters(name, search)
    flip = FlipTest(behind, noise(amount(32, 10), size), halving=search == "coarse")
    patches = noise(amount(4, 2), size)[:, :, :9, :9]
    own = torch.zeros(len(patches), dtype=torch.long)
    assert benchmark(flip, patches, own, Seeds(0)).max() <= len(flip.images)


@pytest.mark.benchmark(group="plain loop")
@pytest.mark.parametrize("at_once", [True, False])
def test_plain_loop(benchmark, clusters, noise, amount, plain_search, at_once):
    """One image: 128 masks and 128 images of the flip set, together or each by itself."""
    behind, size = clusters("cnn-32")
    count = amount(128, 4)
    images = noise(count, size)
    plain = plain_search(behind.encoder, behind.centres, images, window=9, masks=count, at_once=at_once)
    (score, box), *_ = benchmark(plain.images, images[:1], Seeds(0))
    assert 0 <= score <= count
    assert box[2:] == [9, 9]


@pytest.mark.benchmark(group="poison classifier")
def test_poison_classifier(benchmark, noise, amount):
    images, iterations, truth = noise(64, 32), amount(20, 1), np.arange(8) < 4
    lesson = TrainingData(patches=images[:4, :, :9, :9], pool=np.arange(8, 64), held_out=images[:8], truth=truth)
    training = scale(
        32, 64, iterations=iterations, patch_min=8, patch_max=12, learning_rate=0.01, crops=1.0, decoys=0.0
    )
    made = benchmark(train, Shown(images), lesson, training, Seeds(0), "member")
    assert len(made["f1"]) == 1
