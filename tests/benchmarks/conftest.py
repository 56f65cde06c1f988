"""What the benchmarks share. They run once, untimed and on little, with every test run, and timed on demand:

    pytest tests/benchmarks --benchmark-enable --benchmark-json=times.json
    python tests/benchmarks/compare.py times.json

compare.py holds their times, divided by that of a matrix product in the same session, against baseline.json.
"""

from __future__ import annotations

import pytest
import torch

from bench.ssl.backbone import build
from bench.ssl.encoder import FrozenEncoder

NETWORKS = {
    "cnn-32": ("resnet18", {"layers": (1, 1, 1, 1), "channels": (16, 32, 64, 128)}, 32, "small"),  # preset laptop's
    "vit-32": ("vit_tiny_patch16_224", {"patch_size": 4}, 32, "timm"),
    "cnn-224": ("resnet18", {}, 224, "timm"),
    "vit-224": ("vit_tiny_patch16_224", {}, 224, "timm"),
}


@pytest.fixture
def amount(benchmark):
    """amount(timed, smoke): how much work, timed or not."""
    return lambda timed, smoke: timed if benchmark.enabled else smoke


@pytest.fixture(scope="session")
def encoders():
    """encoders(name) -> a randomly initialised FrozenEncoder of NETWORKS, and its image width; each is made once."""
    made: dict[str, FrozenEncoder] = {}

    def encoder(name):
        network, options, size, stem = NETWORKS[name]
        if name not in made:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                module, dim = build(network, options, size, stem)
            made[name] = FrozenEncoder(module, dim, torch.device("cpu"))
        return made[name], size

    return encoder


@pytest.fixture(scope="session")
def noise():
    """noise(count, size) -> that many random images, uint8."""

    def images(count, size):
        generator = torch.Generator().manual_seed(count)
        return torch.randint(256, (count, 3, size, size), generator=generator, dtype=torch.uint8)

    return images
