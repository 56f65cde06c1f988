"""The contracts of a training change and of a control, property by property, on toy data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.api import Control, Mixed, TrainingDefense, Truth
from bench.seeds import Seeds

from .kit import Check, Trial, check, check_global_state, require

ROWS, WIDTHS = 6, (24, 24, 12)


class ChangeTrial(Trial[TrainingDefense]):
    """A training change on two global views and a local one; no two pixels of the batch are equal."""

    kind = "defense"

    def __init__(self, plugin: TrainingDefense) -> None:
        super().__init__(plugin)
        self.views = [torch.arange(ROWS * 3.0 * w * w).view(ROWS, 3, w, w) for w in WIDTHS]

    def mixed(self, run: str = "first") -> Mixed:
        """What it makes of the views."""
        found: Mixed = self.once(run, lambda: self.plugin.mix(self.views, Seeds(3).child("kit")), f"mix() ({run} run)")
        return found


@check("return bench.Mixed with a tensor of the same shape for each view, and leave the views as they are")
def check_mixed(trial: ChangeTrial) -> None:
    """It returns as many views of the same shapes, and changes none that it was given."""
    before = [view.clone() for view in trial.views]
    found = trial.mixed()
    require(isinstance(found, Mixed), f"mix() gave {type(found).__name__}, expected bench.Mixed")
    shapes, wanted = [tuple(view.shape) for view in found.views], [tuple(view.shape) for view in trial.views]
    require(shapes == wanted, f"views of {shapes}, expected {wanted}")
    kept = all(torch.equal(one, other) for one, other in zip(before, trial.views, strict=True))
    require(kept, "the views that it was given have changed")


@check("partners: for each view (b,) int64, rows of the batch; weights: for each view a number in [0, 1]")
def check_partners(trial: ChangeTrial) -> None:
    """Partners are rows of the batch, weights shares, one for each view."""
    found = trial.mixed()
    require(len(found.partners) == len(found.weights) == len(WIDTHS), "expected one partner and weight for each view")
    for partner, weight in zip(found.partners, found.weights, strict=True):
        right = partner.dtype == torch.int64 and tuple(partner.shape) == (ROWS,)
        require(right, f"partners are {partner.dtype} {tuple(partner.shape)}, expected int64 ({ROWS},)")
        require(((partner >= 0) & (partner < ROWS)).all(), f"a partner is not a row of the batch of {ROWS}")
        require(0 <= float(weight) <= 1, f"a weight is {weight}, expected a share in [0, 1]")


@check("compute each weight from the pixels as they were mixed in the end, not from the number that was drawn")
def check_weights(trial: ChangeTrial) -> None:
    """Where pixels are pasted, a weight is the share of its view that is still its own."""
    found = trial.mixed()
    for own, view, partner, weight in zip(trial.views, found.views, found.partners, found.weights, strict=True):
        if not _pasted(own, view, partner):
            continue  # it blends: what is whose cannot be read off the pixels
        moved = partner != torch.arange(ROWS)
        share = (view == own)[moved].float().mean().item() if moved.any() else float(weight)
        require(abs(share - float(weight)) < 1e-4, f"a view is its own for {share:.4f}, its weight says {weight:.4f}")


def _pasted(own: Tensor, view: Tensor, partner: Tensor) -> bool:
    return bool(((view == own) | (view == own[partner])).all())


@check("draw from the seeds that mix() is given only")
def check_change_same_seed(trial: ChangeTrial) -> None:
    """The same seeds give the same views."""
    one, other = trial.mixed(), trial.mixed("second")
    same = all(torch.equal(a, b) for a, b in zip(one.views, other.views, strict=True))
    require(same and list(one.weights) == list(other.weights), "a second call gave others")


class ControlTrial(Trial[Control]):
    """A control on 60 images, every fifth poisoned; its rival kept the first 40."""

    kind = "defense"
    count = 60

    def keep(self, run: str = "first") -> np.ndarray:
        """What it keeps."""
        poisoned = np.arange(self.count) % 5 == 0
        rival = np.arange(self.count) < 40 if self.plugin.reference else None
        truth = Truth(poisoned=poisoned, reference_keep=rival)
        found: np.ndarray = self.once(
            run, lambda: self.plugin.keep(truth, Seeds(3).child("kit")), f"keep() ({run} run)"
        )
        return found


@check("return a NumPy array of bool, one for each image, that keeps some")
def check_control_keep(trial: ControlTrial) -> None:
    """It keeps some images, bool (N,)."""
    keep = trial.keep()
    right = isinstance(keep, np.ndarray) and keep.dtype == bool and keep.shape == (trial.count,)
    require(right, f"keep() gave {getattr(keep, 'dtype', type(keep))}, expected bool ({trial.count},)")
    require(keep.any(), "no image is kept: nothing is left to train on")


@check("draw from the seeds that keep() is given only")
def check_control_same_seed(trial: ControlTrial) -> None:
    """The same seeds keep the same images."""
    require(np.array_equal(trial.keep(), trial.keep("second")), "a second call gave another selection")


CHANGE_CHECKS: tuple[Check[Any], ...] = (
    check_mixed,
    check_partners,
    check_weights,
    check_change_same_seed,
    check_global_state,
)
CONTROL_CHECKS: tuple[Check[Any], ...] = (check_control_keep, check_control_same_seed, check_global_state)
