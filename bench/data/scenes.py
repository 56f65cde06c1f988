"""The embedded dataset: procedural images, so that a first run needs no download.

One textured, coloured object at a random place and size on a grey, noisy background that carries no
information about the class. A class is a hue and a texture. Image i of a split depends on (seed, split, i) alone, and
only on operations that IEEE 754 rounds exactly (+ - * / sqrt floor), so the bytes are the same on every platform.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.api import Dataset, DatasetPlugin, Images, Split
from bench.errors import BenchError
from bench.seeds import Seeds

from .fingerprint import fingerprint, image_digests, remembered
from .images import Decoded, Subset, rows_of
from .names import Names

if TYPE_CHECKING:
    from torch import Tensor

KEPT = 20_000
"""Splits up to this size are drawn once, when they are first read, and kept; of larger ones only so many images enter
the fingerprint (their law is in it through the options, and image i never depends on the others)."""
KEPT_BYTES = 2 << 30
"""A split of more is drawn again whenever it is requested, however few images it has."""
DRAWN_BYTES, SAMPLE = 400 << 20, 256
"""Of a split of more bytes only the first SAMPLE images enter the fingerprint, for the same reason: to draw 5,000 of
224 px takes over a minute."""
MOST_SIZE, MOST_CLASSES, MOST_IMAGES = 4096, 10_000, 10_000_000
"""What an option may ask for at most: pixels, classes, images of a split. Already the ids of so many take 0.3 GB."""

Field = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Rng = np.random.Generator


def _wave(u: Field) -> Field:
    """Triangle wave of period 1 with values in [0, 1]."""
    folded: Field = np.abs(2.0 * (u - np.floor(u)) - 1.0)
    return folded


def _off(u: Field) -> Field:
    """Distance from the middle of the unit cell, in [0, 0.5]."""
    distance: Field = np.abs(u - np.floor(u) - 0.5)
    return distance


TEXTURES: dict[str, Callable[[Field, Field], Mask]] = {
    "stripes": lambda u, v: _wave(u) > 0.5,
    "rings": lambda u, v: _wave(np.sqrt(u * u + v * v)) > 0.5,
    "quarters": lambda u, v: (u > 0) ^ (v > 0),
    "dots": lambda u, v: np.sqrt(_off(u) ** 2 + _off(v) ** 2) < 0.32,
    "grid": lambda u, v: (_wave(u) > 0.66) | (_wave(v) > 0.66),
    "zigzag": lambda u, v: _wave(u + 0.9 * _wave(v * 0.8)) > 0.5,
    "core": lambda u, v: u * u + v * v < 0.6,
    "bands": lambda u, v: _wave(u * 0.45) > 0.5,
    "crosses": lambda u, v: (np.minimum(_off(u), _off(v)) < 0.14) & (np.maximum(_off(u), _off(v)) < 0.42),
    "halves": lambda u, v: u > 0,
}
"""Where each texture is light, by the object's own coordinates (in texture periods)."""
_HUES = ("red", "orange", "yellow", "lime", "green", "cyan", "azure", "blue", "violet", "pink")


def hue_pair(label: int, classes: int) -> tuple[int, int, int]:
    """The two hues of a class and how many hues there are in all (odd, the fewest that give every class its own pair).

    Neighbours on the wheel first, then those two apart, and so on: among n classes every hue is the light one and the
    dark one about as often as any other, so no class stands out by its colours.
    """
    hues = 3
    while hues * (hues - 1) // 2 < classes:
        hues += 2
    light, distance = label % hues, 1 + label // hues
    return light, (light + distance) % hues, hues


def _rgb(hue: float, level: float, chroma: float) -> Field:
    """RGB (3,) of mean `level` at distance `chroma` from grey: all hues are equally bright and equally colourful."""
    k = (np.array([5.0, 3.0, 1.0]) + 6.0 * hue) % 6.0
    pure = 1.0 - np.maximum(np.minimum(np.minimum(k, 4.0 - k), 1.0), 0.0)
    away = pure - (pure[0] + pure[1] + pure[2]) / 3.0
    rgb: Field = level + chroma * away / np.sqrt(away[0] * away[0] + away[1] * away[1] + away[2] * away[2])
    return rgb


def _direction(rng: Rng) -> tuple[float, float]:
    """A unit vector without sin or cos: the rational parametrisation of the circle."""
    t = 2.0 * rng.random() - 1.0
    sign = 1.0 if rng.random() < 0.5 else -1.0
    return sign * (1.0 - t * t) / (1.0 + t * t), sign * 2.0 * t / (1.0 + t * t)


def render(scenes: Scenes, label: int, rng: Rng) -> NDArray[np.uint8]:
    """One image: uint8 (3, size, size) of class `label`, drawn from `rng` and the options."""
    s = scenes.size
    canvas, inside, u, v = _placed(scenes, rng)
    texture = tuple(TEXTURES.values())[label % len(TEXTURES)]
    pattern: Field = texture(u, v) * 1.0
    jitter = scenes.hue_jitter * (2.0 * rng.random() - 1.0)
    *pair, hues = hue_pair(label, scenes.classes)
    first, second = ((hue + jitter) / hues % 1.0 for hue in pair)
    light = _rgb(first, 0.6 + 0.1 * rng.random(), 0.2 + 0.1 * rng.random())
    dark = _rgb(second, 0.35 + 0.1 * rng.random(), 0.2 + 0.1 * rng.random())
    light, dark = scenes.coloured(light, dark, rng)
    paint = light[:, None, None] * pattern + dark[:, None, None] * (1.0 - pattern)
    canvas = paint * inside + canvas * (1.0 - inside)
    canvas += 0.06 * (rng.random((3, s, s)) - 0.5)
    image = np.floor(np.clip(canvas, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    scenes.finish(image, rng)
    return image


def _placed(scenes: Scenes, rng: Rng) -> tuple[Field, Field, Field, Field]:
    """The first draws of an image: its background (3, s, s), and what `_object` gives."""
    axis = (np.arange(scenes.size) + 0.5) / scenes.size
    y, x = axis[:, None] + 0.0 * axis[None, :], axis[None, :] + 0.0 * axis[:, None]
    canvas = _background(scenes.size, rng)
    return canvas, *_object(x, y, scenes, rng)


def _background(s: int, rng: Rng) -> Field:
    """Grey noise (3, s, s) of a random level: nothing in it tells a class, and little tells an image."""
    level = 0.35 + 0.3 * rng.random()
    grey = level + 0.25 * (rng.random((s, s)) - 0.5)
    return np.repeat(grey[None], 3, axis=0)


def _object(x: Field, y: Field, scenes: Scenes, rng: Rng) -> tuple[Field, Field, Field]:
    """The object's mask (s, s) in {0, 1} and its own coordinates (u, v) in texture periods."""
    low, high = scenes.object_size
    width = low + (high - low) * rng.random()
    aspect = 0.8 + 0.4 * rng.random()
    room = max(0.0, 1.0 - 0.8 * width)
    cx, cy = (0.5 + room * (rng.random() - 0.5) for _ in range(2))
    c, n = _direction(rng)
    a, b = c * (x - cx) + n * (y - cy), c * (y - cy) - n * (x - cx)
    p, q = a / (0.5 * width * aspect), b / (0.5 * width / aspect)
    round_ = p * p + q * q < 1.0
    square = np.maximum(np.abs(p), np.abs(q)) < 0.87
    inside = (round_ if rng.random() < 0.5 else square) * 1.0
    zoom = scenes.period * (0.85 + 0.3 * rng.random())
    return inside, a / zoom, b / zoom


class SceneImages(Images):
    """Scenes of one split, drawn when they are requested."""

    def __init__(self, scenes: Scenes, count: int, seeds: Seeds) -> None:
        self.size, self._scenes, self._count, self._seeds = scenes.size, scenes, count, seeds

    def __len__(self) -> int:
        return self._count

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        import torch

        rows = rows_of(indices, self._count)
        out = np.empty((len(rows), 3, self.size, self.size), np.uint8)
        for row, index in enumerate(rows.tolist()):
            out[row] = render(self._scenes, index % self._scenes.classes, self._seeds.child(index).numpy())
        return torch.from_numpy(out)

    def mask(self, index: int) -> Tensor:
        import torch

        (row,) = rows_of([index], self._count).tolist()
        _, inside, *_ = _placed(self._scenes, self._seeds.child(row).numpy())
        return torch.from_numpy(inside > 0)


@dataclass(frozen=True, kw_only=True)
class Scenes(DatasetPlugin):
    """Procedural images drawn from a seed: textured, coloured objects on uninformative backgrounds."""

    name: ClassVar[str] = "scenes"
    seed: int = field(default=0, metadata={"help": "root of all images; another seed, other images"})
    size: int = field(default=32, metadata={"help": "width and height in pixels"})
    classes: int = field(default=10, metadata={"help": "number of classes (2 or more)"})
    train_per_class: int = field(default=200, metadata={"help": "training images of each class"})
    val_per_class: int = field(default=100, metadata={"help": "validation images of each class"})
    object_size: tuple[float, float] = field(
        default=(0.3, 0.5), metadata={"help": "smallest and largest object, as a share of the width"}
    )
    period: float = field(default=0.16, metadata={"help": "texture period, as a share of the width"})
    hue_jitter: float = field(default=0.3, metadata={"help": "hue spread within a class; 0.5: classes touch"})
    names: tuple[str, ...] = field(
        default=(), metadata={"help": "names of the first classes, to stand in for a dataset that has these"}
    )

    def __post_init__(self) -> None:
        for name, least in (("size", 8), ("classes", 2), ("train_per_class", 1), ("val_per_class", 1)):
            if getattr(self, name) < least:
                raise BenchError(f"dataset.{name} must be {least} or more, got {getattr(self, name)}")
        for name, most in (("size", MOST_SIZE), ("classes", MOST_CLASSES)):
            if getattr(self, name) > most:
                raise BenchError(f"dataset.{name} must be {most} or less, got {getattr(self, name)}")
        for name in ("train_per_class", "val_per_class"):
            if (count := getattr(self, name) * self.classes) > MOST_IMAGES:
                raise BenchError(f"dataset.{name}: {count} images in all, expected {MOST_IMAGES} or fewer")
        if not 0 < self.object_size[0] <= self.object_size[1] <= 1 or not self.period > 0:
            raise BenchError("dataset.object_size must be two shares, 0 < low <= high <= 1, and dataset.period above 0")
        if len(self.names) > self.classes or len(set(self.class_names)) < self.classes:
            raise BenchError(f"dataset.names must be up to {self.classes} different names, got {list(self.names)}")

    def coloured(self, light: Field, dark: Field, rng: Rng) -> tuple[Field, Field]:
        """The two colours of an object, RGB (3,) in [0, 1] each: as they are."""
        return light, dark

    def finish(self, image: NDArray[np.uint8], rng: Rng) -> None:
        """Changes a drawn image, uint8 (3, size, size), in place: not at all."""

    def load(self) -> Dataset:
        """The scenes, drawn when they are requested; up to KEPT images (KEPT_BYTES) of a split are then kept."""
        splits = {name: self.split(name, getattr(self, f"{name}_per_class")) for name in ("train", "val")}

        def compute() -> str:
            digests = []
            for name, split in splits.items():
                count = min(KEPT if len(split) * 3 * self.size**2 <= DRAWN_BYTES else SAMPLE, len(split))
                some = Subset(split.images, range(count))
                digests.append((name, split.ids[:count], image_digests(some, split.labels)))
            return fingerprint(self.class_names, digests, counts=[len(split) for split in splits.values()])

        found = remembered({**self.identity(), "kept": KEPT, "drawn": [DRAWN_BYTES, SAMPLE]}, type(self), compute)
        return Dataset(
            name=self.name, classes=self.class_names, fingerprint=found, train=splits["train"], val=splits["val"]
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Hue and texture of each class; a number is added where they repeat. The first are called by `names`."""
        textures = tuple(TEXTURES)
        names = [f"{_HUES[k * 10 // self.classes % 10]} {textures[k % 10]}" for k in range(self.classes)]
        count = Counter(names)
        drawn = tuple(name if count[name] == 1 else f"{name} {k}" for k, name in enumerate(names))
        return self.names + drawn[len(self.names) :]

    def split(self, name: str, per_class: int) -> Split:
        """One split, of which nothing is drawn yet: "train", "val", or more of them by other names."""
        count = per_class * self.classes
        images: Images = SceneImages(self, count, Seeds(self.seed).child("scenes", name))
        if count <= KEPT and count * 3 * self.size**2 <= KEPT_BYTES:
            images = Decoded(images)
        labels = np.arange(count, dtype=np.int64) % self.classes
        return Split(images=images, labels=labels, ids=Names(f"{name}/{i:07d}" for i in range(count)))
