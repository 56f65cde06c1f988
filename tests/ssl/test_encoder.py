"""The frozen encoder: what it takes, what it gives, and how it is found again on disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bench.data.images import ArrayImages
from bench.errors import BenchError
from bench.ssl.backbone import build
from bench.ssl.encoder import FrozenEncoder, load_encoder, normalised_features
from bench.ssl.settings import EncoderSettings

CPU = torch.device("cpu")
SETTINGS = EncoderSettings(
    backbone="resnet18", options={"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}, stem="small"
)
PIXELS = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32)).astype(np.uint8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module, _ = build(SETTINGS.backbone, SETTINGS.options, 32, SETTINGS.stem)
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    save_file(module.state_dict(), path)
    return path


@pytest.fixture
def encoder(saved):
    return load_encoder(saved, SETTINGS, 32, CPU)


def toy(function, dim):
    class Toy(torch.nn.Module):
        def forward(self, images):
            return function(images)

    return FrozenEncoder(Toy(), dim, CPU)


def test_prepare_by_hand_bytes_and_floats_alike(encoder):
    white = encoder.prepare(torch.full((1, 3, 32, 32), 255, dtype=torch.uint8))
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert white[0, :, 5, 7].tolist() == pytest.approx(expected)
    images = torch.from_numpy(PIXELS)
    for floats in (images.float() / 255, images.double() / 255):
        torch.testing.assert_close(encoder.prepare(floats), encoder.prepare(images))  # the dtype, too


def test_features(encoder):
    features = encoder(torch.from_numpy(PIXELS))
    assert features.shape == (10, encoder.dim) == (10, 16)
    assert features.dtype == torch.float32
    assert not features.requires_grad
    alone = torch.cat([encoder(torch.from_numpy(PIXELS[i : i + 1])) for i in range(10)])
    torch.testing.assert_close(alone, features, atol=1e-5, rtol=1e-4)


def test_it_is_frozen_in_evaluation_mode_and_leaves_gradients_to_its_input(encoder):
    assert not encoder.module.training
    assert not any(parameter.requires_grad for parameter in encoder.module.parameters())
    images = encoder.prepare(torch.from_numpy(PIXELS)).requires_grad_()
    encoder.module(images).sum().backward()
    assert images.grad.abs().sum() > 0


@pytest.mark.usefixtures("global_rng")
def test_it_comes_back_from_disk_as_it_was(saved, encoder):
    again = load_encoder(saved, SETTINGS, 32, CPU)
    assert torch.equal(encoder(torch.from_numpy(PIXELS)), again(torch.from_numpy(PIXELS)))


def test_files_that_do_not_fit(saved, tmp_path):
    wider = EncoderSettings(backbone="resnet18", options={"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 32]})
    spoilt = tmp_path / "spoilt.safetensors"
    spoilt.write_bytes(saved.read_bytes()[:1000])
    for path, settings in [(saved, wider), (spoilt, SETTINGS), (tmp_path / "none", SETTINGS)]:
        with pytest.raises(BenchError, match="does not fit backbone 'resnet18'"):
            load_encoder(path, settings, 32, CPU)


@pytest.mark.parametrize("batch", [3, 256])
def test_normalised_features_have_length_1(encoder, batch):
    features = normalised_features(encoder, ArrayImages(PIXELS), batch)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(10))
    raw = encoder(torch.from_numpy(PIXELS))
    torch.testing.assert_close(features, raw / raw.norm(dim=1, keepdim=True), atol=1e-5, rtol=1e-4)


def test_features_that_are_not_finite_are_counted():
    broken = toy(lambda x: torch.where(x[:, 0, 0, :4] > 1.5, torch.nan, x[:, 0, 0, :4]), 4)
    images = np.full((10, 3, 8, 8), 50, np.uint8)
    images[[2, 5, 9]] = 255
    with pytest.raises(BenchError, match="3 of 10 images have features that are not finite"):
        normalised_features(broken, ArrayImages(images), batch=4)
