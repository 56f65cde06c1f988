"""Grad-CAM on the clustering model (PatchSearch): which region speaks for the image's own cluster?"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, field
from functools import partial
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bench import BenchError, Encoder, Seeds, nearest

from .clusters import Clusters
from .locator import Locator

CELLS = 7
"""[?] Width of the map that "auto" wants: a ResNet's last stage at the paper's 224 px. At 32 px that stage has 2 x 2
cells, so that the window always is a corner. Measured on three encoders of the laptop preset, mean IoU of the window
with the true trigger: 0.01 at the last stage (2 x 2), 0.23 to 0.27 at the third, 0.37 to 0.42 at the second (8 x 8).
"""
STAGES = ("layer1", "layer2", "layer3", "layer4")
"""Stages of a ResNet in torchvision's layout; timm's networks name theirs in `feature_info`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GradCam(Locator):
    """The map of each image at `layer` ("auto", or a module's dotted name; see `choose`)."""

    clusters: Clusters
    window: int
    layer: str = "auto"
    chosen: dict[int, str] = field(default_factory=dict, init=False)  # by image width

    def maps(self, images: Tensor, own: Tensor, seeds: Seeds) -> Tensor:
        """See Locator.maps; in [0, 1] by image, min-max scaled (all 0 where nothing speaks for the cluster).

        Draws nothing: `seeds` are unused.
        """
        size = images.shape[-1]
        if size not in self.chosen:
            self.chosen[size] = choose(self.clusters.encoder, size, self.layer)
        spans = [slice(start, start + self.clusters.batch) for start in range(0, len(images), self.clusters.batch)]
        return torch.cat([self._map(images[span], own[span], self.chosen[size]) for span in spans])

    def _map(self, images: Tensor, own: Tensor, layer: str) -> Tensor:
        method, target = _library()
        encoder = self.clusters.encoder
        module = encoder.module.get_submodule(layer)
        # First of the layer's hooks. The encoder is frozen, so that there would be no gradient to record; starting at
        # this layer also spares the way back through those before it.
        start = module.register_forward_hook(lambda module, inputs, output: output.detach().requires_grad_())
        with torch.inference_mode(False), torch.enable_grad():
            cam = method(OwnCluster(encoder.module, self.clusters.centres), [module], partial(as_map, encoder.module))
            try:  # its own context manager prints and swallows an IndexError
                found = cam(encoder.prepare(images), [target(cluster) for cluster in own.tolist()])
            finally:
                cam.activations_and_grads.release()
                start.remove()
        return torch.from_numpy(found).to(images.device)


class OwnCluster(nn.Module):
    """An encoder under a cosine layer: the cosine (B, l) of the features with every cluster's centre.

    [?] The centres are those of k-means: the means of the features as assigned in its last iteration. The public
    code takes the means once more, after a last assignment.
    """

    def __init__(self, encoder: nn.Module, centres: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.centres = nn.Parameter(normalize(centres), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, S, S) -> (B, l)."""
        features: Tensor = self.encoder(images)
        return normalize(features.float()) @ self.centres.T


def _library() -> tuple[Any, Any]:
    """GradCAM and ClassifierOutputTarget; imported late, for they bring in OpenCV and pyplot (seconds)."""
    drawn = random.getstate()  # importing scikit-learn, as they do, draws from Python's global generator
    fonts = logging.getLogger("matplotlib.font_manager")
    level = fonts.level
    fonts.setLevel(logging.ERROR)  # the first import on a machine tells that it builds a font cache
    try:
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    finally:
        fonts.setLevel(level)
        random.setstate(drawn)
    return GradCAM, ClassifierOutputTarget


def as_map(module: nn.Module, activation: Any) -> Tensor:
    """An activation of `module`, tokens (B, prefix + h * h, C) or a map in either layout -> (B, C, h, w).

    timm's networks say how many leading tokens are no place, and whether channels come last. BenchError for other
    activations.
    """
    if isinstance(activation, Tensor) and activation.ndim == 4:
        return activation.permute(0, 3, 1, 2) if getattr(module, "output_fmt", "NCHW") == "NHWC" else activation
    if isinstance(activation, Tensor) and activation.ndim == 3:
        places = activation[:, getattr(module, "num_prefix_tokens", 0) :]
        side = isqrt(places.shape[1])
        if side and side * side == places.shape[1]:
            return places.transpose(1, 2).reshape(len(places), -1, side, side)
    shape = tuple(activation.shape) if isinstance(activation, Tensor) else type(activation).__name__
    raise BenchError(f"Grad-CAM needs a map (B, C, h, w) or a square of tokens (B, n, C) as activation, got {shape}")


def choose(encoder: Encoder, size: int, layer: str) -> str:
    """The dotted name of the layer for images of `size` px. Costs one forward of one image.

    "auto": of a transformer the last block's first norm; of a convolutional network the last stage with a map of at
    least CELLS x CELLS, where none has it the finest. Any other `layer` is the module of that name.
    Raises BenchError where there is no such layer, or where its map cannot tell one place from another.
    """
    names = candidates(encoder.module) if layer == "auto" else [_known(encoder.module, layer)]
    sides = map_sides(encoder, size, names)
    fine = [name for name in names if sides[name] >= CELLS]
    found = fine[-1] if fine else max(reversed(names), key=lambda name: sides[name])
    if sides[found] < 2:
        raise BenchError(f"the map of layer {found!r} is one cell for images of {size} px: set `layer` to an earlier")
    return found


def candidates(module: nn.Module) -> list[str]:
    """The layers that "auto" chooses from, first to last. Raises BenchError for a network of neither kind."""
    blocks = getattr(module, "blocks", None)
    if isinstance(blocks, nn.Sequential) and isinstance(getattr(blocks[-1], "norm1", None), nn.Module):
        return [f"blocks.{len(blocks) - 1}.norm1"]
    told = getattr(module, "feature_info", None)
    stages = [str(stage["module"]) for stage in told] if isinstance(told, list) else list(STAGES)
    modules = dict(module.named_modules())
    if not stages or any(name not in modules for name in stages):
        raise BenchError(
            f"Grad-CAM does not know where the last stage of {type(module).__name__} is: set the option `layer` to the "
            f"dotted name of a module. Known: {', '.join(name for name in modules if name and '.' not in name)}"
        )
    return stages


def map_sides(encoder: Encoder, size: int, names: list[str]) -> dict[str, int]:
    """Width in cells of each layer's map for images of `size` px. Raises BenchError for a layer without one."""
    sides: dict[str, int] = {}

    def note(name: str, part: nn.Module, inputs: Any, output: Any) -> None:
        sides[name] = as_map(encoder.module, output).shape[-1]

    hooks = [encoder.module.get_submodule(name).register_forward_hook(partial(note, name)) for name in names]
    try:
        with torch.inference_mode():
            encoder.module(encoder.prepare(torch.zeros(1, 3, size, size, dtype=torch.uint8)))
    except BenchError as error:
        raise BenchError(f"layer {' or '.join(names)} cannot be used: {error}") from None
    finally:
        for hook in hooks:
            hook.remove()
    unused = [name for name in names if name not in sides]
    if unused:
        raise BenchError(f"layer {unused[0]!r} takes no part in the encoder's forward pass: choose another `layer`")
    return sides


def _known(module: nn.Module, layer: str) -> str:
    names = [name for name, _ in module.named_modules() if name]
    if layer not in names:
        raise BenchError(f"layer={layer!r} is no module of {type(module).__name__}.{nearest(layer, names)}")
    return layer
