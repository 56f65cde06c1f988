"""Progressive masking: how abruptly does an image's feature move when more and more of it is covered?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import BenchError, Detector, Seeds, View

from .encode import unit_features

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Masking(Detector):
    """Progressive masking after BackdoorIDS: once the trigger is covered, the feature jumps.

    A reading of the paper's abstract alone: under growing masks the feature of a triggered image stays, then moves at
    once; that of a clean one moves smoothly; a density clustering (DBSCAN) of the features along the way finds more
    than one cluster in the first. [?] Ours, since the abstract does not say: cells of an eighth of the width are
    covered with the known images' mean colour in a random order, in `steps` equal steps up to `most` of the image; the
    mean over `orders` orders, which are the same for every image. DBSCAN answers yes or no for one radius; the score is
    the largest radius (cosine distance) at which it, with two images to a cluster, still finds more than one.
    """

    name: ClassVar[str] = "masking"
    paper: ClassVar[str] = "BackdoorIDS: Zero-shot Backdoor Detection for Pretrained Vision Encoder, arXiv 2603.11664"
    url: ClassVar[str] = "https://arxiv.org/abs/2603.11664"
    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    toy_options: ClassVar[dict[str, int]] = {"steps": 6, "orders": 1}

    steps: int = field(default=16, metadata={"help": "masks of one order, each larger than the one before"})
    orders: int = field(default=4, metadata={"help": "random orders in which the cells are covered"})
    most: float = field(default=0.9, metadata={"help": "share of the image under the largest mask"})
    cells: int = field(default=8, metadata={"help": "cells along each side of the image"})

    def __post_init__(self) -> None:
        for option, least in (("steps", 4), ("orders", 1), ("cells", 2)):
            if getattr(self, option) < least:
                raise BenchError(f"{option} is {getattr(self, option)}, expected {least} or more")
        if not 0 < self.most < 1:
            raise BenchError(f"most is {self.most}, expected a share between 0 and 1")

    def score(self, view: View, known: View) -> NDArray[np.float64]:
        """See the class."""
        import torch

        colour = torch.from_numpy(mean_colour(known))[:, None, None]
        orders = [self.masks(view.size, view.seeds("masks", order)) for order in range(self.orders)]
        found = np.empty((len(view), self.orders))
        for index in range(len(view)):
            image = view.batch([index])[0].float() / 255
            for order, masks in enumerate(orders):
                covered = torch.where(masks[:, None], colour, image)
                path = unit_features(view.encoder, covered).cpu().double().numpy()
                found[index, order] = widest_radius(path)
            view.progress("images masked", index + 1, len(view))
        mean: NDArray[np.float64] = found.mean(1)
        return mean

    def masks(self, size: int, seeds: Seeds) -> Tensor:
        """Growing masks (steps, size, size) bool, the first of which covers nothing."""
        import torch

        rank = np.empty(self.cells**2, np.int64)
        rank[seeds.numpy().permutation(self.cells**2)] = np.arange(self.cells**2)
        place = np.arange(size) * self.cells // size
        of_pixel = rank.reshape(self.cells, self.cells)[place[:, None], place[None, :]]
        covered = np.round(np.linspace(0, self.most * self.cells**2, self.steps)).astype(np.int64)
        return torch.from_numpy(of_pixel[None] < covered[:, None, None])

    def forwards(self, count: int, size: int) -> int:
        """Each image under each mask."""
        return count * self.steps * self.orders


def mean_colour(known: View, most: int = 512) -> NDArray[np.float32]:
    """Of at most so many of the images: (3,) in [0, 1]."""
    rows = np.unique(np.linspace(0, len(known) - 1, most).astype(np.int64))
    found: NDArray[np.float32] = known.batch(rows).float().mean((0, 2, 3)).div(255).numpy()
    return found


def widest_radius(path: NDArray[np.float64]) -> float:
    """The largest radius, in cosine distance, at which DBSCAN with min_samples=2 finds two clusters or more in the unit
    vectors `path` (n, dim): the highest merge of two groups of at least two in their single linkage. 0 where there is
    none."""
    from scipy.cluster.hierarchy import linkage

    distance = (1 - path @ path.T).clip(0)
    merges = linkage(distance[np.triu_indices(len(path), 1)], method="single")
    size = np.concatenate([np.ones(len(path)), merges[:, 3]])
    both = np.minimum(size[merges[:, 0].astype(int)], size[merges[:, 1].astype(int)]) >= 2
    return float(merges[both, 2].max(initial=0.0))
