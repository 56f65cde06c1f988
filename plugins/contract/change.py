"""The contracts of a training change and of a control, property by property, on toy data."""

from __future__ import annotations

import numpy as np
import torch

from bench.api import Control, Mixed, TrainingDefense, Truth
from bench.seeds import Seeds

from .kit import Trial, alike, check, require, require_array

ROWS, WIDTHS = 6, (24, 24, 12)


class ChangeTrial(Trial[TrainingDefense]):
    """A training change on two global views and a local one; no two pixels of the batch are equal."""

    kind = "defense"

    def __init__(self, plugin: TrainingDefense) -> None:
        super().__init__(plugin)
        self.views = [torch.arange(ROWS * 3.0 * w * w).view(ROWS, 3, w, w) for w in WIDTHS]

    def mixed(self, run: str = "first") -> Mixed:
        """What it makes of the views."""
        return self.once(f"mix() ({run} run)", lambda: self.plugin.mix(self.views, Seeds(3).child("kit")))

    @check("return bench.Mixed with a tensor of the same shape for each view, and leave the views as they are")
    def check_mixed(self) -> None:
        """It returns as many views of the same shapes, and changes none that it was given."""
        before = [view.clone() for view in self.views]
        found = self.mixed()
        require(isinstance(found, Mixed), f"mix() gave {type(found).__name__}, expected bench.Mixed")
        shapes, wanted = [tuple(view.shape) for view in found.views], [tuple(view.shape) for view in self.views]
        require(shapes == wanted, f"views of {shapes}, expected {wanted}")
        require(alike(before, self.views), "the views that it was given have changed")

    @check("partners: for each view (b,) int64, rows of the batch; weights: for each view a number in [0, 1]")
    def check_partners(self) -> None:
        """Partners are rows of the batch, weights shares, one for each view."""
        found = self.mixed()
        counts = len(found.partners), len(found.weights)
        require(counts == (len(WIDTHS), len(WIDTHS)), "expected one partner and weight for each view")
        for partner, weight in zip(found.partners, found.weights, strict=True):
            require_array("partners", partner.numpy(), "int64", (ROWS,))
            require(((partner >= 0) & (partner < ROWS)).all(), f"a partner is not a row of the batch of {ROWS}")
            require(0 <= float(weight) <= 1, f"a weight is {weight}, expected a share in [0, 1]")

    @check("compute each weight from the pixels as they were mixed in the end, not from the number that was drawn")
    def check_weights(self) -> None:
        """Where pixels are pasted, a weight is the share of its view that is still its own."""
        found = self.mixed()
        for own, view, partner, weight in zip(self.views, found.views, found.partners, found.weights, strict=True):
            if not ((view == own) | (view == own[partner])).all():
                continue  # it blends: what is whose cannot be read off the pixels
            moved = partner != torch.arange(ROWS)
            share = (view == own)[moved].float().mean().item() if moved.any() else float(weight)
            close = abs(share - float(weight)) < 1e-4
            require(close, f"a view is its own for {share:.4f}, its weight says {weight:.4f}")

    @check("draw from the seeds that mix() is given only")
    def check_change_same_seed(self) -> None:
        """The same seeds give the same views."""
        one, other = self.mixed(), self.mixed("second")
        require(alike([one.views, one.weights], [other.views, other.weights]), "a second call gave others")


class ControlTrial(Trial[Control]):
    """A control on 60 images, every fifth poisoned; its reference kept the first 40."""

    kind = "defense"
    count = 60

    def keep(self, run: str = "first") -> np.ndarray:
        """What it keeps."""
        number = np.arange(self.count)
        truth = Truth(poisoned=number % 5 == 0, reference_keep=number < 40 if self.plugin.reference else None)
        return self.once(f"keep() ({run} run)", lambda: self.plugin.keep(truth, Seeds(3).child("kit")))

    @check("return a NumPy array of bool, one for each image, that keeps some")
    def check_control_keep(self) -> None:
        """It keeps some images, bool (N,)."""
        require_array("keep()", self.keep(), "bool", (self.count,))
        require(self.keep().any(), "no image is kept: nothing is left to train on")

    @check("draw from the seeds that keep() is given only")
    def check_control_same_seed(self) -> None:
        """The same seeds keep the same images."""
        require(alike(self.keep(), self.keep("second")), "a second call gave another selection")
