"""The section [probe], apart from the probe so that reading a configuration does not load torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """[probe]: `fraction` is the labelled share of each class's clean training images (at least one of each)."""

    fraction: float = 0.1
    epochs: int = 40
    batch: int = 256
    lr: float = 0.01
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"probe.fraction must lie in (0, 1], got {self.fraction}")
        if self.epochs < 1 or self.batch < 1 or not self.lr > 0 or self.weight_decay < 0:
            raise ValueError("probe: epochs and batch must be 1 or more, lr above 0, weight_decay 0 or more")
