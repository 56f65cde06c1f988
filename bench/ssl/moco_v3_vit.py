"""MoCo-v3's vision transformer: timm's, with another position embedding and other initial weights.

After Chen, Xie and He, "An Empirical Study of Training Self-Supervised Vision Transformers" (2021), section 4 and the
published settings: a fixed 2-D sine-cosine position embedding, Xavier-uniform weights, zero biases. Written from that
description. Layer normalisations keep timm's start, ones and zeros, which is the same.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bench.errors import BenchError

TEMPERATURE = 10_000.0
CLASS_TOKEN_STD = 1e-6


def make_moco_v3(model: nn.Module) -> None:
    """Give a timm VisionTransformer the position embedding and the initial weights of MoCo-v3, by torch's default
    generator. Raises BenchError for another backbone, and for one without a position embedding of its own."""
    from timm.models.vision_transformer import VisionTransformer

    wanted = "encoder.vit 'moco-v3' is for timm's VisionTransformer (such as vit_base_patch16_224)"
    if not isinstance(model, VisionTransformer):
        raise BenchError(f"{wanted}; this backbone is a {type(model).__name__}. Use encoder.vit = 'timm'.")
    if not isinstance(getattr(model.patch_embed, "proj", None), nn.Conv2d) or hasattr(model.patch_embed, "backbone"):
        raise BenchError(f"{wanted} whose patches become tokens by one convolution. Use encoder.vit = 'timm'.")
    if not isinstance(model.pos_embed, nn.Parameter) or model.embed_dim % 4:
        raise BenchError(
            f"{wanted} with a position embedding whose width is a multiple of 4. Use encoder.vit = 'timm'."
        )
    with torch.no_grad():
        _start_linear_layers(model)
        _start_patches(model.patch_embed.proj)
        if model.cls_token is not None:
            nn.init.normal_(model.cls_token, std=CLASS_TOKEN_STD)
        rows, columns = model.patch_embed.grid_size
        grid = position_embedding(rows, columns, model.embed_dim)
        model.pos_embed.zero_()  # the class token's, which is in front, stays so
        model.pos_embed[0, -len(grid) :] = grid
    model.pos_embed.requires_grad_(False)


def position_embedding(rows: int, columns: int, dim: int) -> Tensor:
    """The position embedding of a grid of patches, (rows * columns, dim) float32, row after row.

    A quarter of the dimensions each: sine and cosine of the row, sine and cosine of the column, at the frequencies
    10000^(-i / (dim / 4)) for i = 0, 1, ...
    """
    frequencies = TEMPERATURE ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    row = torch.arange(rows, dtype=torch.float64).repeat_interleave(columns)[:, None] * frequencies
    column = torch.arange(columns, dtype=torch.float64).repeat(rows)[:, None] * frequencies
    return torch.cat([row.sin(), row.cos(), column.sin(), column.cos()], 1).float()


def _start_linear_layers(model: nn.Module) -> None:
    """Xavier-uniform: within +-sqrt(6 / (inputs + outputs)). Queries, keys and values are one layer in timm, three
    matrices here: their outputs count by a third."""
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            outputs = layer.out_features // (3 if name.endswith(".qkv") else 1)
            bound = math.sqrt(6 / (layer.in_features + outputs))
            nn.init.uniform_(layer.weight, -bound, bound)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _start_patches(convolution: nn.Conv2d) -> None:
    """Xavier-uniform of the linear layer that the convolution is, from the pixels of a patch to its token."""
    pixels = convolution.in_channels * math.prod(convolution.kernel_size)
    bound = math.sqrt(6 / (pixels + convolution.out_channels))
    nn.init.uniform_(convolution.weight, -bound, bound)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
