"""From a window that comes back to the trigger: align its twins, keep the pixels that do not vary, match those."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .windows import Copies, floats

if TYPE_CHECKING:
    from torch import Tensor

SIZES = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35)
"""Sizes at which a template is looked for, as shares of its own."""
TURNED_SIZES = (0.85, 1.0, 1.15)
TURNS, FINE_TURNS = tuple(range(0, 360, 15)), tuple(range(0, 360, 5))
"""Degrees by which a template is looked for turned, where that is asked: in all images, and in few to align them."""
MARGIN = 0.4  # px around the seed's window that are looked at too, as a share of its width
STACK = 24  # windows of as many images are aligned
ROUNDS = 4
GROWTH = 2.2  # a template this many times wider than its seed's window has run away


class Matches(NamedTuple):
    """For each of n images the best place of a template: score (n,), its NCC in [-1, 1], box (n, 4) int64, and by how
    many degrees it is turned in there, (n,)."""

    score: NDArray[np.float32]
    box: NDArray[np.int64]
    turn: NDArray[np.float32]


@dataclass(frozen=True)
class Template:
    """A trigger as it is believed to look: pixels (3, h, w) float32 in [0, 1], and how much its pixels vary between
    the aligned images, as a share of what chance gives (0: not at all, 1: as pixels of any images do).

    turned: whether each image has it turned by an angle of its own; then the disc in its middle is what is looked for.
    """

    pixels: Tensor
    deviation: float
    turned: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in px."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[2])


def match(images: Tensor, template: Tensor, turns: Sequence[int] = ()) -> Matches:
    """The best place of `template` (3, h, w) in each of `images` (B, 3, S, S), at each of SIZES times its own size; or
    of the disc in its middle, turned by each of `turns` degrees, at each of TURNED_SIZES.

    The score is the zero-mean normalised cross-correlation, which brightness and contrast do not change.
    """
    import torch
    import torch.nn.functional as F

    prepared = Prepared.of(images)
    if turns:
        template = middle(template)
    best, turn = torch.full((len(images),), -1.0), torch.zeros(len(images))
    box = torch.zeros((len(images), 4), dtype=torch.int64)
    sizes = TURNED_SIZES if turns else SIZES
    shapes = {tuple(max(4, round(side * size)) for side in template.shape[1:]) for size in sizes}
    for height, width in sorted(shapes):
        if max(height, width) > images.shape[-1]:
            continue
        sized = F.interpolate(template[None], size=(height, width), mode="bilinear", antialias=True)[0]
        for degrees, score in prepared.turned(sized, turns) if turns else [(0, prepared.ncc(sized))]:
            value, place = score.flatten(1).max(1)
            better = value > best
            best, turn = torch.where(better, value, best), turn.masked_fill(better, degrees)
            found = torch.stack([place // score.shape[2], place % score.shape[2]], 1)
            box[better] = torch.cat([found, found.new_tensor([[height, width]]).expand_as(found)], 1)[better]
    return Matches(best.numpy(), box.numpy(), turn.numpy())


class Prepared(NamedTuple):
    """Images (B, 3, S, S) as they are matched with several templates: their spectra, the sums over the channels of
    their pixels and of the squares of these, (B, 2, S, S) float64, and integral images of both."""

    spectrum: Tensor
    sums: Tensor
    integral: Tensor

    @classmethod
    def of(cls, images: Tensor) -> Prepared:
        import torch
        import torch.nn.functional as F

        sums = torch.stack([images.sum(1, dtype=torch.float64), images.double().square().sum(1)], 1)
        return cls(torch.fft.rfft2(images), sums, F.pad(sums.cumsum(2).cumsum(3), (1, 0, 1, 0)))

    def ncc(self, template: Tensor) -> Tensor:
        """Zero-mean normalised cross-correlation (B, S - h + 1, S - w + 1) with a template (3, h, w)."""
        height, width = template.shape[1:]
        whole = self.integral
        sums = whole[..., height:, width:] - whole[..., :-height, width:]
        sums = sums - whole[..., height:, :-width] + whole[..., :-height, :-width]
        return self._correlated(template - template.mean(), sums, template.numel())

    def turned(self, template: Tensor, turns: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """The same of the disc in a square template (3, h, h), turned by each of `turns` degrees: (degrees, NCC)."""
        import torch

        size, side = self.sums.shape[-1], template.shape[-1]
        disc, room = _disc(side), size - side + 1
        spectrum = torch.fft.rfft2(self.sums) * torch.fft.rfft2(disc.double(), s=(size, size)).conj()
        sums = torch.fft.irfft2(spectrum, s=(size, size))[..., :room, :room]
        count = 3 * int(disc.sum())
        for turn in turns:
            pixels = turned_by(template, turn)
            yield turn, self._correlated((pixels - (pixels * disc).sum() / count) * disc, sums, count)

    def _correlated(self, zero: Tensor, sums: Tensor, count: int) -> Tensor:
        """With a template (3, h, w) of `count` pixels whose mean is 0; sums (B, 2, ...): of the pixels under it, and of
        their squares, at each place."""
        import torch

        size = self.sums.shape[-1]
        spectrum = (self.spectrum * torch.fft.rfft2(zero, s=(size, size)).conj()).sum(1)
        together = torch.fft.irfft2(spectrum, s=(size, size))[:, : sums.shape[-2], : sums.shape[-1]]
        variance = (sums[:, 1] - sums[:, 0].square() / count).clamp_min(0).float()
        # Under a grey level or two of contrast there is no structure that could be alike.
        found: Tensor = together / (variance.sqrt().clamp_min(0.01 * count**0.5) * zero.norm().clamp_min(1e-6))
        return found


def middle(template: Tensor) -> Tensor:
    """The largest square in the middle of a template (3, h, w)."""
    height, width = template.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return template[:, top : top + side, left : left + side]


def _disc(side: int) -> Tensor:
    """1 in the largest disc of a square, 0 in its corners: (side, side) float32."""
    import torch

    place = (torch.arange(side) - (side - 1) / 2) / (side / 2)
    return (place[:, None].square() + place.square() <= 1).float()


def turned_by(square: Tensor, degrees: float) -> Tensor:
    """A picture (3, h, h) turned about its middle; beyond its edges its outermost pixels again."""
    import torch
    import torch.nn.functional as F

    turn = math.radians(degrees)
    theta = torch.tensor([[[math.cos(turn), -math.sin(turn), 0.0], [math.sin(turn), math.cos(turn), 0.0]]])
    grid = F.affine_grid(theta, [1, *square.shape], align_corners=False)
    return F.grid_sample(square[None], grid, mode="bilinear", padding_mode="border", align_corners=False)[0]


def heat(images: Tensor, template: Template) -> Tensor:
    """For each pixel of images (B, 3, S, S) the best NCC with `template` of the windows over it: (B, S, S), from 0."""
    import torch
    import torch.nn.functional as F

    pixels = middle(template.pixels) if template.turned else template.pixels
    height, width = pixels.shape[1:]
    prepared = Prepared.of(images)
    found = [score for _, score in prepared.turned(pixels, TURNS)] if template.turned else [prepared.ncc(pixels)]
    score = torch.stack(found).amax(0)[:, None].clamp_min(0)
    score = F.pad(score, (width - 1, width - 1, height - 1, height - 1))
    return F.max_pool2d(score, (height, width), 1)[:, 0]


def crops(
    images: Tensor,
    boxes: NDArray[np.float64],
    size: tuple[int, int],
    margin: int,
    turns: NDArray[np.float32] | None = None,
) -> Tensor:
    """From each image (B, 3, S, S) its box (top, left, height, width), stretched to `size` px, and `margin` of these
    px around it: (B, 3, h + 2 margin, w + 2 margin). NaN beyond the image's edges. `turns` (B,): each is turned back by
    so many degrees about its middle."""
    import torch
    import torch.nn.functional as F

    side = images.shape[-1]
    height, width = size[0] + 2 * margin, size[1] + 2 * margin
    box = torch.from_numpy(np.asarray(boxes, np.float32))
    step = box[:, 2:] / torch.tensor(size)
    down = box[:, 0, None] + (torch.arange(height) - margin + 0.5) * step[:, :1]
    across = box[:, 1, None] + (torch.arange(width) - margin + 0.5) * step[:, 1:]
    places = across[:, None, :].expand(-1, height, -1), down[:, :, None].expand(-1, -1, width)
    if turns is not None:
        places = _turned_back(places, box, torch.from_numpy(turns).deg2rad())
    grid = torch.stack([2 * place / side - 1 for place in places], -1)
    found = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    outside = (grid.abs() > 1).any(-1)[:, None]
    return found.masked_fill(outside, float("nan"))


def _turned_back(places: tuple[Tensor, Tensor], box: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """Places (across, down), each (B, h, w) px, turned about the middle of each box: what `turned_by` turned is upright
    there."""
    middle_down, middle_across = ((box[:, i] + box[:, i + 2] / 2)[:, None, None] for i in (0, 1))
    across, down = places[0] - middle_across, places[1] - middle_down
    cosine, sine = turn.cos()[:, None, None], turn.sin()[:, None, None]
    return middle_across + cosine * across + sine * down, middle_down + cosine * down - sine * across


def levelled(stack: Tensor, core: tuple[slice, slice]) -> Tensor:
    """Each crop of a stack with the mean 0 and the deviation 1 of its core, so that light and contrast do not count."""
    inner = stack[:, :, core[0], core[1]].flatten(1)
    mean, deviation = inner.nanmean(1), inner.nan_to_num(0).std(1).clamp_min(0.02)
    return (stack - mean[:, None, None, None]) / deviation[:, None, None, None]


def deviation_map(stack: Tensor) -> Tensor:
    """How much each pixel varies over a levelled stack (n, 3, h, w): (h, w), about 1 where it is chance. Pixels that
    under half of the crops have are chance."""
    there = ~stack.isnan()
    count = there.sum(0).clamp_min(1)
    mean = stack.nan_to_num(0).sum(0) / count
    squared = ((stack - mean).nan_to_num(0) ** 2).sum(0) / count
    found = squared.mean(0).sqrt()
    return found.masked_fill(there.float().mean(0).amin(0) < 0.5, 1.0)


def steadiest(vary: NDArray[np.float64], smallest: int) -> tuple[slice, slice, float]:
    """The rectangle of a deviation map (h, w) whose pixels vary least against those around it, and by what share: its
    mean deviation over that of the rest (0: not at all, 1: as the rest).

    Of all rectangles with sides of at least `smallest` the one with the largest variance between inside and outside,
    p (1 - p) (outside - inside)^2, as Otsu (1979) splits a histogram: no threshold, no unit.
    """
    height, width = vary.shape
    total = np.zeros((height + 1, width + 1))
    total[1:, 1:] = vary.cumsum(0).cumsum(1)
    place = np.arange(width + 1)
    across = place[None, :] - place[:, None]  # [left, right]: columns between them
    best, found = 0.0, (slice(0, height), slice(0, width), 1.0)
    for top in range(height - smallest + 1):
        for bottom in range(top + smallest, height + 1):
            row = total[bottom] - total[top]
            count = np.where(across >= smallest, across * (bottom - top), 1).clip(1, vary.size - 1)
            inside = (row[None, :] - row[:, None]) / count
            outside = (total[-1, -1] - inside * count) / (vary.size - count)
            share = count / vary.size
            score = np.where(
                (across >= smallest) & (inside < outside), share * (1 - share) * (outside - inside) ** 2, 0
            )
            left, right = np.divmod(score.argmax(), width + 1)
            if score[left, right] > best:
                best = float(score[left, right])
                ratio = float(inside[left, right] / outside[left, right])
                found = slice(top, bottom), slice(int(left), int(right)), ratio
    return found


def align(
    view: Copies,
    image: NDArray[np.int64],
    box: NDArray[Any],
    smallest: int,
    turns: NDArray[np.float32] | None = None,
) -> Template | None:
    """The template behind a window and its twins: images (m,) and boxes (m, 4), the seed's first; None where no part
    of it stays the same. `turns` (m,): each is turned by so many degrees, and may be by any.

    Each round stretches the boxes to one size, keeps the rectangle of pixels that vary least, takes their mean as the
    template, and looks for it in the same images again.
    """
    images = floats(view, image)
    size = max(smallest, round(float(box[0, 2]))), max(smallest, round(float(box[0, 3])))
    boxes, chosen, found = box.astype(np.float64), np.arange(len(image))[:STACK], None
    for _ in range(ROUNDS):
        margin = max(2, round(MARGIN * max(size)))
        stack = crops(images[chosen], boxes[chosen], size, margin, None if turns is None else turns[chosen])
        inner = slice(margin, margin + size[0]), slice(margin, margin + size[1])
        even = levelled(stack, inner)
        vary = deviation_map(even).numpy().astype(np.float64)
        rows, columns, deviation = steadiest(vary, smallest)
        if turns is not None:
            rows, columns = squared(rows, columns, vary.shape)
        found = Template(_mean(even[:, :, rows, columns], stack, inner), deviation, turns is not None)
        size = found.shape
        if max(size) > GROWTH * max(box[0, 2:]):
            return None
        matches = match(images, found.pixels, FINE_TURNS if found.turned else ())
        boxes, turns = matches.box.astype(np.float64), matches.turn if found.turned else None
        chosen = np.argsort(-matches.score, kind="stable")[:STACK]
    return found


def squared(rows: slice, columns: slice, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """A square about as large as a rectangle of a map, around its middle: what is turned by any angle has no longer
    side."""
    sides = rows.stop - rows.start, columns.stop - columns.start
    side = min(round((sides[0] * sides[1]) ** 0.5), *shape)
    starts = (
        min(max(0, (each.start + each.stop - side) // 2), most - side)
        for each, most in zip((rows, columns), shape, strict=True)
    )
    top, left = starts
    return slice(top, top + side), slice(left, left + side)


def _mean(even: Tensor, stack: Tensor, inner: tuple[slice, slice]) -> Tensor:
    """The mean of levelled crops, with the light and contrast that the crops have on average."""
    flat = stack[:, :, inner[0], inner[1]].flatten(1)
    light, contrast = flat.nanmean(), flat.nan_to_num(0).std(1).mean()
    return (even.nanmean(0).nan_to_num(0) * contrast + light).clamp(0, 1)
