"""The Grad-CAM locator: by hand, against plain autograd, on a ViT and on ResNets."""

from types import SimpleNamespace

import pytest
import timm
import torch
from torch import nn
from torch.nn.functional import interpolate, normalize

from bench import BenchError, Seeds
from bench.defenses.search.clusters import Clusters
from bench.defenses.search.gradcam import GradCam, as_map, candidates, choose


class MeanColour(nn.Module):
    """Features = the mean colour; the layer "pixels" gives the pixels as they are."""

    def __init__(self):
        super().__init__()
        self.pixels = nn.Identity()

    def forward(self, images):
        return self.pixels(images).mean((2, 3))


def _timm(name, **options):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return timm.create_model(name, num_classes=0, **options).eval().requires_grad_(False)


def _resnet():
    """With timm's stem, which halves 5 times: 64 px -> 16, 8, 4, 2 cells in its four stages."""
    return _timm("resnet18", layers=(1, 1, 1, 1), channels=(8, 16, 24, 32))


def _small_resnet():
    module = _resnet()
    module.maxpool = nn.Identity()
    module.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False).requires_grad_(False)
    return module


def _vit(**options):
    return _timm("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, embed_dim=24, num_heads=3, **options)


NETWORKS = {
    "resnet": _small_resnet,
    "vit": _vit,
    "vit with registers": lambda: _vit(reg_tokens=4),
    "vit, mean of tokens": lambda: _vit(global_pool="avg", class_token=False),
}


@pytest.fixture(scope="module")
def images():
    return torch.randint(256, (7, 3, 32, 32), generator=Seeds(0).torch(), dtype=torch.uint8)


@pytest.fixture(params=NETWORKS)
def network(request, toy_view, images):
    """An encoder, and three centres anywhere (an image at its centre would have no gradient but rounding)."""
    encoder = toy_view(images, NETWORKS[request.param](), 0).encoder
    dim = encoder(images[:1]).shape[1]
    return Clusters(encoder, normalize(torch.randn(3, dim, generator=Seeds(1).torch())), 64)


OWN = torch.tensor([0, 1, 2, 0, 1, 2, 0])


class TestByHand:
    """4 x 4 px, a red box on green: features f = (1/4, 3/4, 0), u = f / |f| = (0.316, 0.949, 0).

    Every pixel of channel k has gradient ~ c_k - cos u_k. Centre red: cos = 0.316, (0.9, -0.3): red pixels 0.9,
    green -0.3. Centre green: cos = 0.949, (-0.3, 0.1): red pixels -0.3, green 0.1.
    """

    def _finder(self, toy_view, images):
        return GradCam(
            clusters=Clusters(toy_view(images, MeanColour(), 3).encoder, torch.eye(3), 8), window=2, layer="pixels"
        )

    @pytest.mark.parametrize(("top", "left"), [(0, 0), (1, 1), (2, 0), (0, 2), (2, 2)])
    def test_the_map_and_the_box(self, toy_view, top, left):
        images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
        images[:, 1] = 255
        images[:, :, top : top + 2, left : left + 2] = torch.tensor([255, 0, 0])[:, None, None]
        finder = self._finder(toy_view, images)
        red, green = finder.maps(images, torch.tensor([0, 1]), Seeds(0))
        is_red = (images[0, 0] > 0).float()
        torch.testing.assert_close(red, is_red, atol=1e-5, rtol=0)
        torch.testing.assert_close(green, 1 - is_red, atol=1e-5, rtol=0)
        assert finder(images[:1], torch.tensor([0]), Seeds(0)).tolist() == [[top, left, 2, 2]]

    def test_a_map_of_three_levels(self, toy_view):
        """16 pixels: 4 red (1, 0, 0), 4 of half the red (0.5, 0, 0), 8 green. f = (6, 8, 0) / 16, u = (0.6, 0.8, 0).

        The cosine with red, 0.6, has the gradient (1 - 0.6 x 0.6, -0.6 x 0.8) / |f| = (0.64, -0.48) / |f|: the weights
        of the channels but for a factor. Maps: red 0.64, half red 0.32, green -0.48, cut to 0; stretched: 1, 0.5, 0.
        With window 2 red on the bottom left wins over half red on the top left.
        """
        images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
        images[0, 1] = 254
        images[0, :, :2, :2] = torch.tensor([127, 0, 0])[:, None, None]
        images[0, :, 2:, :2] = torch.tensor([254, 0, 0])[:, None, None]
        finder = self._finder(toy_view, images)
        wanted = torch.tensor([[0.5, 0.5, 0, 0]] * 2 + [[1.0, 1, 0, 0]] * 2)
        torch.testing.assert_close(finder.maps(images, torch.tensor([0]), Seeds(0))[0], wanted, atol=1e-5, rtol=0)
        assert finder(images, torch.tensor([0]), Seeds(0)).tolist() == [[2, 0, 2, 2]]

    def test_without_evidence_the_map_is_0_and_the_window_the_first(self, toy_view):
        images = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
        finder = self._finder(toy_view, images)
        assert finder.maps(images, torch.tensor([1]), Seeds(0)).tolist() == torch.zeros(1, 4, 4).tolist()
        assert finder(images, torch.tensor([1]), Seeds(0)).tolist() == [[0, 0, 2, 2]]


def _plain(clusters, images, own, layer):
    """Grad-CAM in a few lines of autograd, for one image."""
    module, kept = clusters.encoder.module, []

    def keep(module, inputs, output):
        kept.append(output.detach().requires_grad_())
        return kept[-1]

    hook = module.get_submodule(layer).register_forward_hook(keep)
    features = module(clusters.encoder.prepare(images))
    hook.remove()
    cosine = (normalize(features)[0] * normalize(clusters.centres[own : own + 1])[0]).sum()
    cosine.backward()
    act, grad = kept[0].detach()[0], kept[0].grad[0]
    if act.ndim == 2:  # tokens: the last 16 are places
        act, grad = act[-16:].T.unflatten(1, (4, 4)), grad[-16:].T.unflatten(1, (4, 4))
    heat = (act * grad.mean((1, 2), keepdim=True)).sum(0).clamp_min(0)
    large = interpolate(_stretched(heat)[None, None], size=images.shape[-2:], mode="bilinear")[0, 0]
    return _stretched(large)


def _stretched(heat):
    return (heat - heat.min()) / (1e-7 + heat.max() - heat.min())


class TestNetworks:
    def test_as_plain_autograd(self, network, images):
        layer = "blocks.1.norm1" if hasattr(network.encoder.module, "blocks") else "layer2"
        finder = GradCam(clusters=network, window=12)
        maps = finder.maps(images, OWN, Seeds(0))
        assert finder.chosen == {32: layer}
        assert (maps.shape, maps.dtype) == ((7, 32, 32), torch.float32)
        assert 0 <= maps.min() <= maps.max() <= 1
        assert (maps.amax((1, 2)) > 0.9).sum() >= 2  # gradients flow, although nothing requires any
        for i in range(7):
            torch.testing.assert_close(maps[i], _plain(network, images[i : i + 1], OWN[i], layer), atol=2e-3, rtol=0)
        for batch in (1, 3):
            split = GradCam(clusters=Clusters(network.encoder, network.centres, batch), window=12)
            torch.testing.assert_close(maps, split.maps(images, OWN, Seeds(1)), atol=1e-4, rtol=0)
            assert torch.equal(finder(images, OWN, Seeds(0)), split(images, OWN, Seeds(1)))

    def test_it_leaves_nothing_behind(self, network, images, global_rng):
        module = network.encoder.module
        before = [p.clone() for p in module.parameters()]
        with torch.inference_mode():
            GradCam(clusters=network, window=12).maps(images, OWN, Seeds(0))
        assert all(torch.equal(p, q) for p, q in zip(module.parameters(), before, strict=True))
        assert not any(p.requires_grad or p.grad is not None for p in module.parameters())
        assert not any(part.training or part._forward_hooks or part._backward_hooks for part in module.modules())


class TestLayer:
    @pytest.mark.parametrize(
        ("size", "layer", "found"),
        [
            *[(224, "auto", "layer4"), (112, "auto", "layer3"), (64, "auto", "layer2"), (32, "auto", "layer1")],
            (8, "auto", "act1"),  # where no stage is fine enough the finest: 4 cells before the pooling
            (64, "layer4.0.conv1", "layer4.0.conv1"),
        ],
    )
    def test_auto_is_the_last_stage_as_fine_as_the_papers(self, toy_view, size, layer, found):
        encoder = toy_view(torch.zeros(1, 3, size, size), _resnet(), 32).encoder
        assert choose(encoder, size, layer) == found  # 7, 7, 8 and 8 cells

    def test_torchvisions_layout(self):
        stages = ["layer1", "layer2", "layer3", "layer4"]
        assert candidates(nn.ModuleDict({name: nn.Identity() for name in stages})) == stages

    @pytest.mark.parametrize(
        ("layer", "said"),
        [
            ("layer5", r"layer='layer5' is no module of ResNet. Did you mean 'layer"),
            ("layer4", r"map of layer 'layer4' is one cell for images of 32 px"),
            ("global_pool", r"layer global_pool cannot be used: .* got \(1, 32\)"),
            ("spare", r"layer 'spare' takes no part in the encoder's forward pass"),
        ],
    )
    def test_layers_that_cannot_be(self, toy_view, layer, said):
        module = _resnet()
        module.spare = nn.Identity()
        encoder = toy_view(torch.zeros(1, 3, 32, 32), module, 32).encoder
        with pytest.raises(BenchError, match=said):
            choose(encoder, 32, layer)
        assert not any(part._forward_hooks for part in module.modules())

    def test_an_unknown_network_names_the_option(self):
        with pytest.raises(BenchError, match=r"last stage of MeanColour is: set the option `layer` .* Known: pixels"):
            candidates(MeanColour())


def test_a_map_of_tokens_or_of_either_layout():
    tokens = torch.tensor([[[9.0, 9.0], [1, 10], [2, 20], [3, 30], [4, 40]]])  # by rows after the prefix
    vit, last = SimpleNamespace(num_prefix_tokens=1), SimpleNamespace(output_fmt="NHWC")
    assert as_map(vit, tokens).tolist() == [[[[1, 2], [3, 4]], [[10, 20], [30, 40]]]]
    maps = torch.arange(12.0).view(1, 2, 3, 2)
    assert torch.equal(as_map(last, maps), maps.permute(0, 3, 1, 2))
    assert torch.equal(as_map(vit, maps), maps)
    for bad, got in ((torch.zeros(2, 6, 3), r"\(2, 6, 3\)"), (torch.zeros(2, 1, 3), r"\(2, 1, 3\)"), ((), "tuple")):
        with pytest.raises(BenchError, match=got):
            as_map(vit, bad)
