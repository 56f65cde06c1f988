"""Backbones by timm name, and the frozen encoder: what it takes, what it gives, how it is found again on disk."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bench.data.images import ArrayImages
from bench.errors import BenchError
from bench.ssl.backbone import build, build_encoder, pretrained_normalisation
from bench.ssl.encoder import FrozenEncoder, load_encoder, normalised_features
from bench.ssl.settings import EncoderSettings

CPU = torch.device("cpu")
RESNET = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}
VIT = {"depth": 1, "embed_dim": 48, "num_heads": 3, "patch_size": 8}
SETTINGS = EncoderSettings(backbone="resnet18", options=RESNET, stem="small")
PIXELS = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32)).astype(np.uint8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module, _ = build_encoder(SETTINGS, 32)
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    save_file(module.state_dict(), path)
    return path


@pytest.fixture
def encoder(saved):
    return load_encoder(saved, SETTINGS, 32, CPU)


def test_prepare_by_hand_bytes_and_floats_alike(encoder):
    white = encoder.prepare(torch.full((1, 3, 32, 32), 255, dtype=torch.uint8))
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert white[0, :, 5, 7].tolist() == pytest.approx(expected)
    images = torch.from_numpy(PIXELS)
    for floats in (images.float() / 255, images.double() / 255):
        torch.testing.assert_close(encoder.prepare(floats), encoder.prepare(images))  # the dtype, too


HALVES = {"mean": (0.5, 0.25, 0.0), "std": (0.5, 0.5, 0.25)}


def test_prepare_by_the_mean_and_deviation_that_are_set(saved):
    white, black = torch.ones(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    prepare = load_encoder(saved, dataclasses.replace(SETTINGS, **HALVES), 32, CPU).prepare
    assert prepare(white)[0, :, 5, 7].tolist() == [1.0, 1.5, 4.0]
    assert prepare(black)[0, :, 5, 7].tolist() == [-1.0, -0.5, 0.0]
    only_std = load_encoder(saved, dataclasses.replace(SETTINGS, std=(0.5, 0.5, 0.5)), 32, CPU)
    assert only_std.prepare(white)[0, :, 0, 0].tolist() == pytest.approx([1.03, 1.088, 1.188])


def test_mean_and_deviation_are_part_of_what_names_an_encoder_where_they_are_set_only():
    assert SETTINGS.identity().keys().isdisjoint(HALVES)
    given = dataclasses.replace(SETTINGS, **HALVES).identity()
    assert {option: given.pop(option) for option in HALVES} == HALVES
    assert given == SETTINGS.identity()


def test_what_timms_pretrained_weights_expect():
    assert pretrained_normalisation("resnet18") == {}
    assert pretrained_normalisation("vit_base_patch16_224.augreg_in21k") == {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    assert pretrained_normalisation("no_such_model") == {}


@pytest.mark.parametrize("batch", [1, 3, 256])
def test_features_and_normalised_ones_of_length_1(encoder, batch):
    features = encoder(torch.from_numpy(PIXELS))
    assert (features.shape, encoder.dim, features.dtype) == ((10, 16), 16, torch.float32)
    assert not features.requires_grad
    found = normalised_features(encoder, ArrayImages(PIXELS), batch)
    torch.testing.assert_close(found, features / features.norm(dim=1, keepdim=True), atol=1e-5, rtol=1e-4)


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
    wider = EncoderSettings(backbone="resnet18", options={**RESNET, "channels": [8, 8, 16, 32]})
    spoilt = tmp_path / "spoilt.safetensors"
    spoilt.write_bytes(saved.read_bytes()[:1000])
    for path, settings in [(saved, wider), (spoilt, SETTINGS), (tmp_path / "none", SETTINGS)]:
        with pytest.raises(BenchError, match="does not fit backbone 'resnet18'"):
            load_encoder(path, settings, 32, CPU)


def test_features_that_are_not_finite_are_counted():
    class Broken(nn.Module):
        def forward(self, images):
            return torch.where(images[:, 0, 0, :4] > 1.5, torch.nan, images[:, 0, 0, :4])

    images = np.full((10, 3, 8, 8), 50, np.uint8)
    images[[2, 5, 9]] = 255
    with pytest.raises(BenchError, match="3 of 10 images have features that are not finite"):
        normalised_features(FrozenEncoder(Broken(), 4, CPU), ArrayImages(images), batch=4)


# --- backbones --------------------------------------------------------------------------------------------


def test_a_small_resnet_keeps_resolution():
    model, dim = build("resnet18", RESNET, 32, "small")
    assert dim == 16
    assert isinstance(model.maxpool, nn.Identity)
    assert model.conv1.kernel_size == (3, 3)
    seen = []
    model.layer1.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 16)
    assert seen == [(2, 8, 16, 16)]  # timm's own stem leaves 8 x 8
    fresh, _ = build("resnet18", RESNET, 32, "small")
    assert (fresh.training, int(fresh.bn1.num_batches_tracked)) == (True, 0), "untouched by the trial of its width"
    own, _ = build("resnet18", RESNET, 32)
    assert isinstance(own.maxpool, nn.MaxPool2d)
    assert own.conv1.kernel_size == (7, 7)


def test_a_transformer_takes_views_of_other_sizes():
    model, dim = build("vit_tiny_patch16_224", VIT, 32)
    assert dim == 48
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 48)
    assert model(torch.zeros(2, 3, 16, 16)).shape == (2, 48)


UNFIT = "timm backbone '{}' with .* at {} px cannot be built"


@pytest.mark.parametrize(
    ("name", "options", "size", "stem", "said"),
    [
        ("resnt18", {}, 32, "timm", "unknown timm backbone 'resnt18'.*'resnet18'"),
        ("#", {}, 32, "timm", r"timm\.list_models"),
        ("vit_tiny_patch16_224", VIT, 32, "small", "stem 'small' is for timm ResNets"),
        ("resnet18", {"wings": 2}, 32, "timm", UNFIT),
        ("vit_tiny_patch16_224", {**VIT, "num_heads": 5}, 32, "timm", UNFIT),
        ("vit_tiny_patch16_224", {**VIT, "patch_size": 7}, 4, "timm", UNFIT),
        ("resnet18", {**RESNET, "channels": [8, 8, 0, 16]}, 32, "timm", UNFIT),
        ("resnet18", {**RESNET, "channels": [8, 8, 16, 0]}, 32, "timm", UNFIT),
    ],
)
def test_what_cannot_be_built(name, options, size, stem, said):
    with pytest.raises(BenchError, match=said.format(name, size)):
        build(name, options, size, stem)
