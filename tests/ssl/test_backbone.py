"""Backbones by timm name: dimension, small stem, image size, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.errors import BenchError
from bench.ssl.backbone import build

RESNET = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}
VIT = {"depth": 1, "embed_dim": 48, "num_heads": 3, "patch_size": 8}


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


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(BenchError, match=r"unknown timm backbone 'resnt18'.*'resnet18'"):
        build("resnt18", {}, 32)
    with pytest.raises(BenchError, match=r"timm\.list_models"):
        build("#", {}, 32)


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("resnet18", {"wings": 2}, 32),
        ("vit_tiny_patch16_224", {**VIT, "num_heads": 5}, 32),
        ("vit_tiny_patch16_224", {**VIT, "patch_size": 7}, 4),
    ],
)
def test_what_cannot_be_built(name, options, size):
    with pytest.raises(BenchError, match="stem 'small' is for timm ResNets"):
        build("vit_tiny_patch16_224", VIT, 32, "small")
    with pytest.raises(BenchError, match=rf"timm backbone '{name}' with .* at {size} px cannot be built"):
        build(name, options, size)
