"""Batches on the device, resident or read by workers: the same."""

import numpy as np
import pytest
import torch

from bench.data.images import ArrayImages
from bench.ssl import loader as module
from bench.ssl.loader import feed, resident

CPU = torch.device("cpu")
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8)).astype(np.uint8)
BATCHES = [np.array([3, 1, 19]), np.array([0, 0, 7])]


def test_batches_are_the_images_in_that_order_scaled_to_1():
    made = list(feed(ArrayImages(PIXELS), BATCHES, CPU, workers=0))
    assert len(made) == 2
    for batch, rows in zip(made, BATCHES, strict=True):
        assert batch.dtype == torch.float32
        np.testing.assert_allclose(batch.numpy(), PIXELS[rows] / 255, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_set_too_large_to_be_resident_gives_the_same(monkeypatch, workers):
    kept = list(feed(ArrayImages(PIXELS), BATCHES, CPU, workers=0))
    monkeypatch.setattr(module, "RESIDENT_BYTES", PIXELS.size - 1)
    assert resident(ArrayImages(PIXELS), "cpu") is None
    read = list(feed(ArrayImages(PIXELS), BATCHES, CPU, workers))
    assert all(torch.equal(one, other) for one, other in zip(kept, read, strict=True))


def test_resident_reads_in_chunks_and_keeps_all(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 7)
    monkeypatch.setattr(module, "RESIDENT_BYTES", PIXELS.size)
    kept = resident(ArrayImages(PIXELS), "cpu")
    assert kept.dtype == torch.uint8
    np.testing.assert_array_equal(kept.numpy(), PIXELS)
