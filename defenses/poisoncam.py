"""PoisonCAM, built from the paper (no public code exists)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from bench import BenchError

from .search.defaults import Scale, in_range, option
from .search.search import TriggerSearch, one_of

if TYPE_CHECKING:
    from .search.clusters import Clustering
    from .search.masking import ActivationMasking


@dataclass(frozen=True, kw_only=True)
class PoisonCAM(TriggerSearch):
    """Finds triggers by cluster activation masking, removes what a classifier trained on them calls poisoned.

    "Erasing Self-Supervised Learning Backdoor by Cluster Activation Masking", sections IV and VI. Steps:
    k-means on normalised features; candidate trigger of an image = the window whose masking changes its
    cluster most (equations 2 and 3); poison score = flip-set images whose cluster changes, to any, when it is
    pasted on them; iterative search (cluster score = sum); an ensemble trained on the top-k patches; remove
    where the mean of their logits is over 0.

    Departures and readings [?], each named where it is made and listed in docs/fidelity.md: sizes follow
    search/defaults.py's rule on other data than the paper's; images are taken in an order of their content, not of
    the dataset; a masked pixel is 0 after the encoder's normalisation (fill "grey"; images are masked as uint8, so to
    a whole grey level); blocks of the two other masking strategies are 4 x 4; the 10 % left out are of the scored
    images; at least one cluster is dropped a round; F1 flat at 0 does not stop a classifier; under 128 px the
    classifier crops half of its images and half of its negatives bear a benign patch.
    """

    name = "poisoncam"
    paper = "Qian et al., Erasing Self-Supervised Learning Backdoor by Cluster Activation Masking, 2023"
    url = "https://arxiv.org/abs/2312.07955"
    locates = "masking"
    flip_kind = "any"
    cluster_score = "sum"
    toy_options: ClassVar[dict[str, int]] = {"clusters": 8, "masks": 8, "members": 1, "iterations": 10}

    masks: int = option(256, "random masks per image")
    strategy: Literal["full", "interval", "random"] = option("full", "masking: full window, chessboard, random blocks")
    blocks: int = option(4, "blocks per window side, for interval and random")
    fill: Literal["grey", "black", "mean"] = option("grey", "masked pixels: grey (0 normalised), black, mean")
    normalise: bool = option(False, "divide the attention by each pixel's mask count (the paper does not)")

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range("masks", self.masks, 2)
        in_range("blocks", self.blocks, 2)
        one_of(self, "strategy")
        one_of(self, "fill")
        if self.search == "fast" and self.strategy != "full":
            raise BenchError(f"search='fast' masks whole windows: it cannot be combined with {self.strategy!r}")

    def passes(self, size: int, window: int) -> int:
        """One per mask; with search="fast" those of its two steps."""
        if self.search != "fast":
            return self.masks
        from .search.masking import passes

        return passes(size, window, self.masks)

    def encoded(self, size: int, window: int) -> float:
        """Of masks drawn with replacement from size x size places those that differ (see masking.repeats)."""
        if self.search == "fast" or self.strategy != "full":
            return self.passes(size, window)
        places = size**2
        return places * (1 - (1 - 1 / places) ** self.masks)

    def locator(self, clustering: Clustering, settings: Scale) -> ActivationMasking:
        """Cluster activation masking."""
        from .search.masking import ActivationMasking

        own = {name: getattr(self, name) for name in ("masks", "strategy", "blocks", "fill", "normalise")}
        fast = self.search == "fast"
        return ActivationMasking(clusters=clustering.clusters, window=settings.window, fast=fast, **own)
