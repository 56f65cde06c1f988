"""Backbones by their timm name, and the changes that small images and MoCo-v3 need."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bench.data.augment import IMAGENET_MEAN, IMAGENET_STD
from bench.errors import BenchError

from .moco_v3_vit import make_moco_v3
from .settings import EncoderSettings


def build(
    name: str, options: Mapping[str, Any], size: int, stem: str = "timm", vit: str = "timm"
) -> tuple[nn.Module, int]:
    """A randomly initialised timm backbone without its classifier, and its feature dimension.

    `options` go to timm.create_model. stem "timm" keeps timm's; "small" (timm ResNets) takes the max-pooling out, and
    makes a 7x7 first convolution 3x3: together they would leave a 32 px image almost no resolution.
    vit "moco-v3" makes a transformer MoCo-v3's (moco_v3_vit.py).
    Raises BenchError for an unknown name, options that timm refuses, and a stem or vit that is for other backbones.
    """
    import timm

    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else "timm.list_models() lists them."
        raise BenchError(f"unknown timm backbone {name!r}. {hint}")
    try:
        model = timm.create_model(name, pretrained=False, num_classes=0, **sized(name, options, size))
        if stem == "small":
            _small_stem(model)
        if vit == "moco-v3":
            make_moco_v3(model)
        with torch.no_grad():
            dim = model.eval()(torch.zeros(1, 3, size, size)).shape[1]
        if not all(each.numel() for each in model.parameters()):
            raise ValueError("a layer has no width")
    except BenchError:
        raise
    except Exception as error:  # whatever timm and torch say to options that do not fit
        raise BenchError(
            f"timm backbone {name!r} with {dict(options)} at {size} px cannot be built: {error}"
        ) from error
    return model.train(), int(dim)


def build_encoder(settings: EncoderSettings, size: int) -> tuple[nn.Module, int]:
    """`build` by the section [encoder], for images of `size` px."""
    return build(settings.backbone, settings.options, size, settings.stem, settings.vit)


def sized(name: str, options: Mapping[str, Any], size: int) -> dict[str, Any]:
    """What timm.create_model is given: transformers fix their image size when they are built; convolutional networks
    take no such option."""
    fixed = {"img_size": size, "dynamic_img_size": True} if name.startswith(("vit_", "deit")) else {}
    return {**fixed, **{key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}}


def pretrained_normalisation(name: str) -> dict[str, Any]:
    """What timm's pretrained weights of that name expect, as options of the section [encoder]: `mean` and `std`, those
    of them that are not ImageNet's. None where timm has no weights of that name."""
    import timm

    facts = timm.get_pretrained_cfg(name)
    usual = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    found = {option: getattr(facts, option, None) for option in usual}
    return {option: tuple(value) for option, value in found.items() if value and tuple(value) != usual[option]}


def _small_stem(model: nn.Module) -> None:
    if not hasattr(model, "conv1") or not hasattr(model, "maxpool"):
        raise BenchError("stem 'small' is for timm ResNets; this backbone has no conv1 and maxpool. Use stem = 'timm'.")
    model.maxpool = nn.Identity()
    if isinstance(model.conv1, nn.Conv2d):
        model.conv1 = nn.Conv2d(3, model.conv1.out_channels, 3, stride=2, padding=1, bias=False)
