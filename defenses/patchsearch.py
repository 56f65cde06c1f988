"""PatchSearch, written from its public description."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from .search.defaults import option
from .search.search import TriggerSearch

if TYPE_CHECKING:
    from .search.clusters import Clustering
    from .search.defaults import Scale
    from .search.gradcam import GradCam


@dataclass(frozen=True, kw_only=True)
class PatchSearch(TriggerSearch):
    """Finds triggers by Grad-CAM on clusters, removes what a classifier trained on them calls poisoned.

    Tejankar et al., "Defending Against Patch-based Backdoor Attacks on Self-Supervised Learning" (CVPR 2023); the
    baseline of the PoisonCAM paper, with its parameters. Steps: k-means on normalised features; candidate trigger of an
    image = the window with the largest sum of its Grad-CAM map, the target being the image's own cluster; poison
    score = flip-set images in that cluster after the candidate is pasted on them, less those before; iterative
    search (cluster score = maximum); an ensemble trained on the top-k patches; remove where the mean
    of their logits is over 0.

    Departures and readings [?] besides those of PoisonCAM, whose search and classifier these are (docs/fidelity.md has
    all, step by step):
    - Where 25 % of the live clusters rounds to 0, one is dropped; the public code stops there.
    - The target is the own cluster on every network. In the public code the cosine layer sits where only a ResNet calls
      it: on a ViT the target is the largest feature.
    - The features of pasted images are normalised like all others; the public code clusters them as they are.
    - Small images: the last stage of a ResNet leaves 2 x 2 cells of 32 px. `layer` "auto" is the last stage of at least
      7 x 7 cells, as the last one of all has at the paper's size.
    - An image without any positive evidence (a map of zeros) has the window at the top left, the first of equals.
    """

    name = "patchsearch"
    paper = "Tejankar et al., Defending Against Patch-based Backdoor Attacks on Self-Supervised Learning, CVPR 2023"
    url = "https://arxiv.org/abs/2304.01482"
    locates = "Grad-CAM"
    flip_kind = "own"
    cluster_score = "max"
    toy_options: ClassVar[dict[str, Any]] = {"clusters": 8, "members": 1, "iterations": 10, "layer": "0"}

    layer: str = option("auto", "where Grad-CAM looks: a module, or auto (ViT: last norm1; CNN: last stage from 7 x 7)")

    def passes(self, size: int, window: int) -> int:
        """Forward and backward."""
        return 2

    def locator(self, clustering: Clustering, settings: Scale) -> GradCam:
        """Grad-CAM."""
        from .search.gradcam import GradCam

        return GradCam(clusters=clustering.clusters, window=settings.window, layer=self.layer)
