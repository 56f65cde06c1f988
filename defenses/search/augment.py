"""Batched augmentations of the poison classifier: each image has draws of its own, no loop over images.

Images are float32 (B, 3, S, S) in [0, 1]. Draws come from a CPU generator, so they are the same on every
device.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def uniform(shape: tuple[int, ...], low: float, high: float, generator: Generator, device: torch.device) -> Tensor:
    """Uniform draws in [low, high), float32, on `device`."""
    return (torch.rand(shape, generator=generator) * (high - low) + low).to(device)


def random_resized_crop(images: Tensor, generator: Generator, scale: tuple[float, float] = (0.2, 1.0)) -> Tensor:
    """A crop of `scale` of the area, aspect 3/4 to 4/3 (log-uniform), enlarged to the image, bilinear."""
    count, device, size = len(images), images.device, images.shape[-1]
    area = uniform((count,), *scale, generator, device)
    ratio = uniform((count,), -1.0, 1.0, generator, device).mul(float(torch.tensor(4 / 3).log())).exp()
    height, width = (
        (area / ratio).sqrt().clamp_max(1),
        (area * ratio).sqrt().clamp_max(1),
    )  # shares of the image
    top = uniform((count,), 0, 1, generator, device) * (1 - height)
    left = uniform((count,), 0, 1, generator, device) * (1 - width)
    zero = torch.zeros_like(top)
    rows = [
        torch.stack([width, zero, 2 * left + width - 1], 1),
        torch.stack([zero, height, 2 * top + height - 1], 1),
    ]
    grid = affine_grid(torch.stack(rows, 1), [count, 3, size, size], align_corners=False)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)


def paste_resized(
    images: Tensor, patches: Tensor, generator: Generator, *, sizes: tuple[int, int], margin: int
) -> Tensor:
    """Patch i (B, 3, w, w) on image i, resized to a random width in [sizes[0], sizes[1]] px, opaque.

    The place is uniform over those that leave `margin` px to every edge; whole pixels; bilinear.
    """
    size, device = images.shape[-1], images.device
    side = torch.randint(sizes[0], sizes[1] + 1, (len(images),), generator=generator)
    room = size - 2 * margin - side + 1
    corner = margin + (torch.rand((2, len(images)), generator=generator) * room).long()
    side, corner = side.to(device), corner.to(device)
    line = torch.arange(size, device=device) + 0.5
    rows, columns = ((line - place[:, None]) / side[:, None] * 2 - 1 for place in corner)
    whole = (len(images), size, size)
    grid = torch.stack([columns[:, None, :].expand(whole), rows[:, :, None].expand(whole)], dim=-1)
    inside = (grid.abs() < 1).all(-1)[:, None]
    drawn = grid_sample(patches, grid, padding_mode="border", align_corners=False)
    return torch.where(inside, drawn, images)


def colour_jitter(images: Tensor, generator: Generator, strength: float = 0.4, hue: float = 0.1) -> Tensor:
    """Brightness, contrast, saturation by 1 +- strength, hue by +- `hue` of a turn, on 80 % of the images."""
    count, device = len(images), images.device
    factors = uniform((3, count, 1, 1, 1), 1 - strength, 1 + strength, generator, device)
    angle = uniform((count,), -hue, hue, generator, device) * (2 * torch.pi)
    chosen = (torch.rand(count, generator=generator) < 0.8).to(device)[:, None, None, None]
    bright = images * factors[0]
    middle = grey(bright).mean((2, 3), keepdim=True)
    contrast = middle + (bright - middle) * factors[1]
    saturated = torch.lerp(grey(contrast).expand_as(contrast), contrast, factors[2])
    return torch.where(chosen, turn_hue(saturated, angle), images).clamp(0, 1)


def grey(images: Tensor) -> Tensor:
    """Luma (B, 1, S, S)."""
    weights = torch.tensor(LUMA, device=images.device, dtype=images.dtype)
    return torch.einsum("c,bchw->bhw", weights, images)[:, None]


def turn_hue(images: Tensor, angle: Tensor) -> Tensor:
    """Turn colours about the grey axis by `angle` (B,) radians (Rodrigues): near a hue shift, and linear."""
    device, dtype = images.device, images.dtype
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    third = torch.full((3, 3), 1 / 3, device=device, dtype=dtype)
    cross = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=device, dtype=dtype) / 3**0.5
    turn = cos * torch.eye(3, device=device, dtype=dtype) + (1 - cos) * third + sin * cross
    return torch.einsum("bij,bjhw->bihw", turn, images)


def random_grey(images: Tensor, generator: Generator, share: float = 0.1) -> Tensor:
    """Luma in all three channels for `share` of the images ([?] 0.2 costs precision: a grey trigger is any texture)."""
    chosen = (torch.rand(len(images), generator=generator) < share).to(images.device)
    return torch.where(chosen[:, None, None, None], grey(images), images)


def random_flip(images: Tensor, generator: Generator) -> Tensor:
    """Half of the images mirrored left to right."""
    chosen = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)
    return torch.where(chosen[:, None, None, None], images.flip(3), images)
