"""MoCo-v3's vision transformer: its position embedding by hand, its weights within their bounds, what it refuses."""

import math

import pytest
import torch
from torch import nn

from bench.errors import BenchError
from bench.ssl.backbone import build, build_encoder
from bench.ssl.moco_v3_vit import position_embedding
from bench.ssl.settings import EncoderSettings

SIZE = 32
OPTIONS = {"depth": 2, "embed_dim": 48, "num_heads": 3, "patch_size": 8}
SETTINGS = EncoderSettings(backbone="vit_tiny_patch16_224", options=OPTIONS, vit="moco-v3")


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return build_encoder(SETTINGS, SIZE)[0]


def test_the_embedding_of_four_patches_by_hand():
    """8 dimensions: a sine and a cosine of row and column, each at the frequencies 1 and 10000^(-1/2) = 0.01."""
    s, c, small_s, small_c = 0.8414710, 0.5403023, 0.0099998, 0.9999500  # of 1 and of 0.01
    at_0, at_1 = [0, 0, 1, 1], [s, small_s, c, small_c]
    expected = [[*at_0, *at_0], [*at_0, *at_1], [*at_1, *at_0], [*at_1, *at_1]]
    found = position_embedding(2, 2, 8)
    assert (found.shape, found.dtype) == ((4, 8), torch.float32)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=0)


def test_a_grid_that_is_not_square_goes_row_after_row():
    found = position_embedding(2, 3, 8)
    torch.testing.assert_close(found[:, 0], torch.tensor([0.0, 0, 0, 1, 1, 1]).sin())
    torch.testing.assert_close(found[:, 4], torch.tensor([0.0, 1, 2, 0, 1, 2]).sin())


def test_the_model_has_it_behind_a_zero_for_the_class_token_and_does_not_learn_it(model):
    assert model.pos_embed.shape == (1, 17, 48)
    assert not model.pos_embed[0, 0].any()
    assert torch.equal(model.pos_embed[0, 1:], position_embedding(4, 4, 48))
    model(torch.randn(2, 3, SIZE, SIZE)).square().sum().backward()
    assert model.pos_embed.grad is None
    learning = {name for name, value in model.named_parameters() if value.requires_grad}
    assert learning == {name for name, _ in model.named_parameters()} - {"pos_embed"}
    assert all(value.grad is not None for name, value in model.named_parameters() if name in learning)


def test_weights_fill_their_bounds_and_biases_are_zero(model):
    """By hand: 48 -> 48 for each of query, key, value and the projection, 48 -> 192 -> 48, patches of 3 x 8 x 8."""
    bounds = {"qkv": 6 / (48 + 48), "proj": 6 / (48 + 48), "fc1": 6 / (48 + 192), "fc2": 6 / (192 + 48)}
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    assert len(layers) == 2 * len(bounds)
    found = {name: (layer, bounds[name.rpartition(".")[2]]) for name, layer in layers.items()}
    found["patches"] = (model.patch_embed.proj, 6 / (3 * 8 * 8 + 48))
    for name, (layer, square) in found.items():
        largest, bound = layer.weight.abs().max().item(), math.sqrt(square)
        assert 0.98 * bound < largest <= bound, name
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05), name  # uniform
        assert not layer.bias.any(), name
    assert 0.5e-6 < model.cls_token.std().item() < 2e-6
    for layer in (module for module in model.modules() if isinstance(module, nn.LayerNorm)):
        assert (layer.weight == 1).all()
        assert not layer.bias.any()


def test_views_of_another_size_go_through(model):
    assert model(torch.zeros(2, 3, 16, 16)).shape == (2, 48)


@pytest.mark.parametrize(
    ("backbone", "options", "said"),
    [
        ("resnet18", {"layers": [1, 1, 1, 1]}, "VisionTransformer .* this backbone is a ResNet"),
        ("swin_tiny_patch4_window7_224", {"img_size": 56}, "this backbone is a SwinTransformer"),
        ("vit_tiny_r_s16_p8_224", {}, "whose patches become tokens by one convolution"),
        ("vit_tiny_patch16_224", {**OPTIONS, "pos_embed": "none"}, "a position embedding whose width"),
        ("vit_tiny_patch16_224", {**OPTIONS, "embed_dim": 42}, "a multiple of 4"),
    ],
)
def test_other_backbones_are_refused(backbone, options, said):
    with pytest.raises(BenchError, match=f"encoder.vit 'moco-v3' is for .*{said}.*Use encoder.vit = 'timm'"):
        build(backbone, options, SIZE, vit="moco-v3")
