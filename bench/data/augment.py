"""Augmentations of a batch, made on the device, every image with its own draw: views for SSL, and single changes.

Views are drawn and rendered apart: `draw` makes small vectors for the whole batch on the CPU from one generator,
`render` applies a slice of them. So the views of image i do not depend on how many processes share the batch.
The single changes (`random_resized_crop` ... `random_flip`) draw from a CPU generator, so that they are the same on
every device; images are float32 (B, 3, S, S) in [0, 1].

Ours for speed: two global views of 32 px and four local ones of 16 px of 64 images took 12 ms on two CPU cores,
kornia 0.9 50 ms, torchvision v2 (one image at a time) 288 ms, beside a training step of 90 ms. Crops are one
grid_sample, colour changes one 3x3 matrix per image. `tests/benchmarks/` times ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TRIES = 10
"""How often torchvision draws a crop that does not fit."""
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


@dataclass(frozen=True, kw_only=True)
class ViewSpec:
    """How one view is drawn. Probabilities in [0, 1]; scale and aspect as in torchvision's RandomResizedCrop.

    `jitter` is (brightness, contrast, saturation, hue) as in torchvision's ColorJitter, here always in that order,
    and hue as a rotation in YIQ: close to, not the same as, a shift in HSV.
    """

    size: int
    scale: tuple[float, float]
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)
    jitter_p: float = 0.8
    grey_p: float = 0.2
    blur_p: float = 0.0
    solarise_p: float = 0.0
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


Draws = dict[str, Tensor]


def draw(spec: ViewSpec, count: int, generator: Generator) -> Draws:
    """The random numbers for `count` views: CPU float32 tensors whose first dimension is `count`."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator) * (high - low) + low

    size = torch.stack(crop_shares(count, spec.scale, spec.aspect, generator), 1)
    b, c, s, h = spec.jitter
    jitter = torch.stack([uniform(1 - b, 1 + b), uniform(1 - c, 1 + c), uniform(1 - s, 1 + s), uniform(-h, h)], 1)
    plain = torch.tensor([1.0, 1.0, 1.0, 0.0])
    return {
        "size": size,
        "centre": (uniform(-1, 1, 2)) * (1 - size),
        "flip": (uniform(0, 1) < spec.flip).float(),
        "jitter": torch.where(uniform(0, 1)[:, None] < spec.jitter_p, jitter, plain),
        "grey": (uniform(0, 1) < spec.grey_p).float(),
        "sigma": uniform(0.1, 2.0) * (uniform(0, 1) < spec.blur_p),
        "solarise": (uniform(0, 1) < spec.solarise_p).float(),
    }


def crop_shares(
    count: int, scale: tuple[float, float], aspect: tuple[float, float], generator: Generator
) -> tuple[Tensor, Tensor]:
    """Heights and widths (count,) of crops as shares of a square image, as torchvision's RandomResizedCrop draws them:
    area uniform in `scale`, width over height log-uniform in `aspect`, drawn again up to ten times until both sides
    fit, else the whole image. No rounding to whole pixels: the crop is resampled anyway."""
    area = torch.rand(count, TRIES, generator=generator) * (scale[1] - scale[0]) + scale[0]
    low, high = math.log(aspect[0]), math.log(aspect[1])
    ratio = torch.exp(torch.rand(count, TRIES, generator=generator) * (high - low) + low)
    width, height = (area * ratio).sqrt(), (area / ratio).sqrt()
    fits = (width <= 1) & (height <= 1)
    first, row = fits.to(torch.uint8).argmax(1), torch.arange(count)
    whole = ~fits.any(1)
    return height[row, first].masked_fill(whole, 1.0), width[row, first].masked_fill(whole, 1.0)


def render(images: Tensor, spec: ViewSpec, draws: Draws) -> Tensor:
    """Views (B, 3, spec.size, spec.size) float32, of images (B, 3, S, S) float32 in [0, 1]: normalised by
    the spec's mean and deviation."""
    draws = {name: value.to(images.device, non_blocking=True) for name, value in draws.items()}
    height, width = draws["size"].unbind(1)
    y, x = draws["centre"].unbind(1)
    views = _crop(images, spec.size, width * (1 - 2 * draws["flip"]), height, x, y, "reflection")
    views = _colour(views, draws["jitter"], draws["grey"])
    if spec.blur_p:
        # The published sigma (0.1 to 2 pixels) is meant for 224 px views.
        views = _blur(views, draws["sigma"] * spec.size / 224)
    if spec.solarise_p:
        views = torch.where((draws["solarise"].view(-1, 1, 1, 1) > 0) & (views >= 0.5), 1 - views, views)
    return normalise(views, spec.mean, spec.std)


def normalise(images: Tensor, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> the same, less `mean` (of red, green and blue), over the standard deviation `std`."""
    centre = torch.tensor(mean, device=images.device).view(3, 1, 1)
    return (images - centre) / torch.tensor(std, device=images.device).view(3, 1, 1)


def _crop(images: Tensor, size: int, width: Tensor, height: Tensor, x: Tensor, y: Tensor, padding: str) -> Tensor:
    """Windows at `size` px, bilinear; each (B,): width and height as shares of the image (a negative width mirrors),
    the middle from -1 to 1."""
    zero = torch.zeros_like(x)
    theta = torch.stack([torch.stack([width, zero, x], 1), torch.stack([zero, height, y], 1)], 1)
    grid = F.affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode=padding, align_corners=False)


def _colour(images: Tensor, jitter: Tensor, grey: Tensor) -> Tensor:
    """Brightness, contrast, saturation, hue and greying as one affine map of RGB per image."""
    brightness, contrast, saturation, hue = (column.view(-1, 1, 1) for column in jitter.unbind(1))
    luma = torch.tensor(LUMA, device=images.device)
    mean = torch.einsum("bchw,c->b", images, luma).view(-1, 1, 1) / images[0, 0].numel()
    to_grey = luma.expand(3, 3)
    eye = torch.eye(3, device=images.device)
    matrix = _hue(hue) @ (saturation * eye + (1 - saturation) * to_grey)
    matrix = torch.where(grey.view(-1, 1, 1) > 0, to_grey @ matrix, matrix)
    # Contrast blends with the mean grey of the brightened image; a grey offset passes every later matrix unchanged.
    offset = (1 - contrast) * brightness * mean
    flat = torch.baddbmm(offset, matrix * (brightness * contrast), images.flatten(2))
    return flat.clamp_(0, 1).view_as(images)


def _hue(turn: Tensor) -> Tensor:
    """Rotation of hue by `turn` (B, 1, 1), a share of the circle, as RGB matrices (B, 3, 3)."""
    to_yiq = _TO_YIQ.to(turn.device)
    angle = 2 * math.pi * turn.view(-1)
    rotation = torch.zeros(len(angle), 3, 3, device=turn.device)
    rotation[:, 0, 0] = 1
    rotation[:, 1, 1] = rotation[:, 2, 2] = angle.cos()
    rotation[:, 1, 2], rotation[:, 2, 1] = -angle.sin(), angle.sin()
    turned: Tensor = torch.linalg.inv(to_yiq) @ rotation @ to_yiq
    return turned


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with one sigma (pixels) per image; sigma 0 leaves the image as it is."""
    radius = max(1, math.ceil(3 * 2.0 * images.shape[-1] / 224))
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma.clamp(min=1e-3)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    b, c, h, w = images.shape
    flat = F.pad(images, (radius,) * 4, mode="reflect").reshape(1, b * c, h + 2 * radius, w + 2 * radius)
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=b * c)
    blurred: Tensor = F.conv2d(flat, kernel[:, None, None, :], groups=b * c)
    return blurred.view(b, c, h, w)


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: Generator, device: torch.device) -> Tensor:
    """Uniform draws in [low, high), float32, on `device`."""
    return (torch.rand(shape, generator=generator) * (high - low) + low).to(device)


def random_resized_crop(images: Tensor, generator: Generator, scale: tuple[float, float] = (0.2, 1.0)) -> Tensor:
    """A crop of `scale` of the area, aspect 3/4 to 4/3 (log-uniform), enlarged to the image, bilinear."""
    count, device, size = len(images), images.device, images.shape[-1]
    height, width = (side.to(device) for side in crop_shares(count, scale, (3 / 4, 4 / 3), generator))
    top = _uniform((count,), 0, 1, generator, device) * (1 - height)
    left = _uniform((count,), 0, 1, generator, device) * (1 - width)
    return _crop(images, size, width, height, 2 * left + width - 1, 2 * top + height - 1, "border")


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
    drawn = F.grid_sample(patches, grid, padding_mode="border", align_corners=False)
    return torch.where(inside, drawn, images)


def colour_jitter(images: Tensor, generator: Generator, strength: float = 0.4, hue: float = 0.1) -> Tensor:
    """Brightness, contrast, saturation by 1 +- strength, hue by +- `hue` of a turn, on 80 % of the images."""
    count, device = len(images), images.device
    factors = _uniform((3, count, 1, 1, 1), 1 - strength, 1 + strength, generator, device)
    angle = _uniform((count,), -hue, hue, generator, device) * (2 * torch.pi)
    chosen = some(images, 0.8, generator)
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
    return torch.where(some(images, share, generator), grey(images), images)


def random_flip(images: Tensor, generator: Generator) -> Tensor:
    """Half of the images mirrored left to right."""
    return torch.where(some(images, 0.5, generator), images.flip(3), images)


def some(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Which images are changed, `share` of them: bool (B, 1, 1, 1)."""
    return (torch.rand(len(images), generator=generator) < share).to(images.device)[:, None, None, None]
