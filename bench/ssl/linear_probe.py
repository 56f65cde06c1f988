"""Linear evaluation: a linear classifier on frozen features of a clean labelled subset of the training set.

After the public code of Saha et al. (CVPR 2022): features L2-normalised, then standardised per dimension; SGD with
momentum 0.9, 40 epochs, rate 0.01 divided by 10 at 3/8 and 6/8 of them. PatchSearch's own recipe is another
(docs/fidelity.md); both rank encoders alike.
Departure: the classifier starts at zero. A unit that is silent on clean images is blown up by standardising, and with a
random start its weight would never be corrected, so that the trigger's effect would depend on chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.errors import BenchError
from bench.seeds import Seeds

from .settings import ProbeSettings


def labelled_subset(labels: NDArray[np.int64], fraction: float, seeds: Seeds) -> NDArray[np.int64]:
    """Indices, increasing, of round(fraction * size) images of every class, at least one."""
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = max(1, round(fraction * len(members)))
        chosen.append(seeds.child(int(label)).numpy().choice(members, count, replace=False))
    return np.sort(np.concatenate(chosen)).astype(np.int64)


@dataclass(frozen=True)
class Probe:
    """A fitted classifier over standardised, L2-normalised features."""

    mean: Tensor
    std: Tensor
    linear: nn.Linear

    @torch.inference_mode()
    def predict(self, features: Tensor) -> NDArray[np.int64]:
        """Class of each L2-normalised feature vector (N, dim): (N,) int64."""
        logits: Tensor = self.linear(_standard(features, self.mean, self.std))
        return logits.argmax(1).numpy().astype(np.int64)


def fit(features: Tensor, labels: NDArray[np.int64], classes: int, settings: ProbeSettings, seeds: Seeds) -> Probe:
    """Train on L2-normalised `features` (N, dim) float32 on the CPU. Raises BenchError for fewer than two classes.

    Batches are standardised when they are used: of all labelled images that would be a second array of features.
    """
    if len(np.unique(labels)) < 2:
        raise BenchError("the probe needs labelled images of two or more classes")
    mean, std = features.mean(0), features.std(0) + 1e-6
    targets = torch.from_numpy(labels)
    linear = nn.utils.skip_init(nn.Linear, features.shape[1], classes)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    optimiser = torch.optim.SGD(linear.parameters(), settings.lr, momentum=0.9, weight_decay=settings.weight_decay)
    drops = [epoch for epoch in (settings.epochs * 3 // 8, settings.epochs * 6 // 8) if epoch]  # 0: before the first
    decay = torch.optim.lr_scheduler.MultiStepLR(optimiser, drops, gamma=0.1)
    for epoch in range(settings.epochs):
        order = torch.from_numpy(seeds.child("order", epoch).numpy().permutation(len(features)))
        for rows in order.split(settings.batch):
            loss = F.cross_entropy(linear(_standard(features[rows], mean, std)), targets[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        decay.step()
    return Probe(mean, std, linear.requires_grad_(False))


def _standard(features: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return (features - mean).div_(std)
