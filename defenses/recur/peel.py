"""One trigger after another: the strongest seed, its template, what carries it, whether it counts; then the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench import Arrays

from .effect import Effect
from .trigger import STACK, Matches, Template, align, crops
from .windows import Copies, floats

if TYPE_CHECKING:
    from torch import Tensor

    from bench import View

    from .effect import Pull
    from .recurrence import Recurrence
    from .shared import Shared

HOLE = 0.1
"""Between the NCC of the carriers of a planted patch and of all other images. A texture that comes back by nature
leaves hardly any, since some images are always somewhat alike."""
TURNED_HOLE = 0.2
"""The same of a patch that is turned: the best of many orientations lies nearer to chance, and what a class shows may
be turned, too (measured: 0.16 for such drawn objects, 0.2 to 0.42 for triggers turned by up to 20 to 90 degrees)."""
STEADY = 0.55
"""How much the aligned pixels of a planted patch vary at most, as a share of those around it (measured: 0 to 0.48 for
patches of varying size and light, 0.63 for a shape that one kind of image has)."""
LEAST = 6  # images that must carry a trigger
SAMPLE = 1000  # random images that a template is first held against
ALIKE = 0.8  # correlation of what surrounds a patch in two images, over which they are one picture
PATCH, MARGIN = 6, 9  # px of a patch and of what surrounds it, where pictures are compared
PATIENCE, SHARE = 40, 1 / 40  # seeds in a row that lead to nothing end the search: so many, or this share of all seeds
SHORTEST = 5  # px: the smallest side of a template
KIN = 0.05
"""At most this share of random sets of images may be as alike as a trigger's carriers, all with the patch covered."""


Kinship = Callable[[NDArray[np.int64], NDArray[np.bool_]], float]
"""function(boxes on the copies, carriers) -> effect.kinship of them."""


@dataclass(frozen=True)
class Found:
    """A recurring patch: its template, its best match in every image, the NCC over which an image carries it, how wide
    the hole there is, what it does to the encoder, and how often random images are as alike as its carriers (see
    effect.py; None where the encoder was not asked)."""

    template: Template
    matches: Matches
    limit: float
    hole: float
    effect: Effect | None
    kin: float | None = None

    @property
    def tied(self) -> bool:
        """Whether its carriers are of one kind, as far as an encoder was asked: a logo's are not."""
        return self.kin is None or self.kin <= KIN

    @property
    def carriers(self) -> NDArray[np.bool_]:
        """Which images carry it, (N,) bool."""
        return self.matches.score > self.limit

    def meets(self, image: int, box: NDArray[np.integer[Any]]) -> bool:
        """Whether this image carries it, where this box (4,) on the copies has a pixel of it."""
        start, end = self.matches.box[image][:2], self.matches.box[image][:2] + self.matches.box[image][2:]
        return bool(self.carriers[image] and (box[:2] < end).all() and (start < box[:2] + box[2:]).all())

    def arrays(self) -> Arrays:
        """All of it, for a step."""
        numbers = {"deviation": self.template.deviation, "limit": self.limit, "hole": self.hole}
        effect = {} if self.effect is None else {"pull": np.array(self.effect.pull), "random": self.effect.random}
        effect |= {} if self.kin is None else {"kin": np.array(self.kin)}
        return {
            "pixels": self.template.pixels.numpy(),
            "score": self.matches.score,
            "box": self.matches.box,
            "turn": self.matches.turn,
            "turned": np.array(self.template.turned),
            **{name: np.array(value) for name, value in numbers.items()},
            **effect,
        }

    @classmethod
    def of(cls, arrays: Arrays) -> Found | None:
        """What `arrays` made; None of a seed that led to nothing."""
        import torch

        if "nothing" in arrays:
            return None
        pixels = torch.from_numpy(np.array(arrays["pixels"]))
        template = Template(pixels, float(arrays["deviation"]), bool(arrays["turned"]))
        effect = Effect(float(arrays["pull"]), arrays["random"]) if "pull" in arrays else None
        matches = Matches(arrays["score"], arrays["box"], arrays["turn"])
        kin = float(arrays["kin"]) if "kin" in arrays else None
        return cls(template, matches, float(arrays["limit"]), float(arrays["hole"]), effect, kin)


def hole(scores: NDArray[np.float32], least: int = LEAST) -> tuple[float, float]:
    """The widest hole in the upper half of the sorted scores, with at least `least` above it: its width and middle."""
    ranked = np.sort(scores)[::-1].astype(np.float64)
    last = max(least, len(ranked) // 2)
    steps = ranked[least - 1 : last] - ranked[least : last + 1]
    if not len(steps):
        return 0.0, 1.0
    place = int(steps.argmax()) + least - 1
    return float(steps.max()), float(ranked[place] + ranked[place + 1]) / 2


class Peeling:
    """The search over all seeds of a view, on its small copies."""

    def __init__(
        self, view: View, shared: Shared, pull: Pull | None, kinship: Kinship | None, rng: np.random.Generator
    ) -> None:
        self._step, self._match, self._view, self._pull = view.step, shared.match, shared.small, pull
        self._kinship = kinship
        self._sample = np.sort(rng.permutation(len(view))[:SAMPLE])

    def __call__(self, seeds: Recurrence) -> Iterator[Found]:
        """Every patch that recurs and acts, tied or not. An image that carries one found before is no seed any more, or
        if that one is not tied, only where its window meets it."""
        carried = np.zeros(len(self._view), bool)
        loose: list[Found] = []
        misses, patience = 0, max(PATIENCE, int(SHARE * len(seeds.score)))
        for number in np.argsort(-seeds.score, kind="stable"):
            image, box = int(seeds.windows.image[number]), seeds.windows.box[number]
            if carried[image] or any(each.meets(image, box) for each in loose):
                continue
            found = self._kept(seeds, int(number))
            if found is not None and not carried[found.carriers].all():
                yield found
                if found.tied:
                    carried |= found.carriers
                else:
                    loose.append(found)
                misses = 0
            else:
                misses += 1
            if misses == patience:
                return

    def _kept(self, seeds: Recurrence, number: int) -> Found | None:
        """What one seed leads to, as a saved step of the view."""

        def compute() -> Arrays:
            found = self._candidate(seeds, number)
            return {"nothing": np.zeros(0)} if found is None else found.arrays()

        return Found.of(self._step(f"seed-{seeds.windows.image[number]}", compute))

    def _candidate(self, seeds: Recurrence, number: int) -> Found | None:
        """What one seed leads to, if it counts."""
        there = seeds.twin_image[number] >= 0
        image = np.concatenate([seeds.windows.image[[number]], seeds.twin_image[number][there]])
        box = np.concatenate([seeds.windows.box[[number]], seeds.twin_box[number][there]])
        template = align(self._view, image, box, SHORTEST)
        if template is None or template.deviation > STEADY:
            return None
        if hole(self._match(template, np.union1d(self._sample, image)).score)[0] < HOLE:
            template = self._turned(template, image)
            if template is None:
                return None
        effect = self._pull(enlarged(template.pixels, self._view.scale)) if self._pull else None
        if not acts(effect):
            return None
        matches = self._match(template, np.arange(len(self._view)))
        width, limit = hole(matches.score)
        found = Found(template, matches, limit, width, effect)
        least = TURNED_HOLE if template.turned else HOLE
        if width < least or pictures(self._view, found) < LEAST:
            return None
        return replace(found, kin=self._kinship(matches.box, found.carriers)) if self._kinship else found

    def _turned(self, template: Template, image: NDArray[np.int64]) -> Template | None:
        """The patch of which `template` is some of the middle in one orientation, where images have it in many; None
        where they have not. The twins of a window are those that are turned as it is."""
        few = np.union1d(self._sample[::4], image)
        turned = replace(template, turned=True)
        matches = self._match(turned, few)
        if hole(matches.score)[0] < TURNED_HOLE:
            return None
        best = np.argsort(-matches.score, kind="stable")[:STACK]
        whole = align(self._view, few[best], matches.box[best], SHORTEST, matches.turn[best])
        return turned if whole is None or whole.deviation > STEADY else whole


def pictures(view: Copies, found: Found, most: int = 200) -> int:
    """How many different pictures carry a patch, counted up to LEAST: near-duplicates of one picture share all patches.

    Two carriers are one picture where the surroundings of the patch, aligned by it, are correlated over ALIKE.
    """
    rows = np.flatnonzero(found.carriers)[:most]
    around = crops(floats(view, rows), found.matches.box[rows].astype(np.float64), (PATCH, PATCH), MARGIN)
    around[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN] = float("nan")
    different: list[Tensor] = []
    for each in around.flatten(1):
        if len(different) < LEAST and all(correlation(each, other) <= ALIKE for other in different):
            different.append(each)
    return len(different)


def enlarged(pixels: Tensor, scale: float) -> Tensor:
    """A template (3, h, w) at `scale` times its size."""
    import torch.nn.functional as F

    if scale == 1:
        return pixels
    size = [max(1, round(side * scale)) for side in pixels.shape[1:]]
    return F.interpolate(pixels[None], size=size, mode="bilinear", align_corners=False)[0]


def correlation(one: Tensor, other: Tensor) -> float:
    """Of two pictures, flat, over the pixels that both have (NaN: none); 0 where they share fewer than a hundred."""
    both = ~(one.isnan() | other.isnan())
    if int(both.sum()) < 100:
        return 0.0
    return float(np.corrcoef(one[both].numpy(), other[both].numpy())[0, 1])


def acts(effect: Effect | None) -> bool:
    """Whether a patch that was planted does something: more than three of four random patches, if an encoder was asked.
    A watermark that the encoder learnt to ignore does not."""
    return effect is None or effect.rank >= 0.75
