"""Quicker ways to search, each named: what changes.

| search   | forward passes                  | masks, flip set                                  | answer              |
|----------|---------------------------------|--------------------------------------------------|---------------------|
| "exact"  | as the encoder makes them       | all                                              | as it is defined    |
| "folded" | batch norms inside convolutions | all                                              | same but rounding   |
| "bf16"   | folded, in bfloat16             | all                                              | close (8 bits)      |
| "fast"   | folded                          | 9 masks, 4 more where it is hot; 4 images of the | close: of the best  |
|          |                                 | flip set, all for the best (halving.py)          | only, counts        |

docs/dev/fast-search.md has what "fast" was measured to be worth.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from bench import Encoder

from .clusters import Clusters

SEARCHES = ("exact", "folded", "bf16", "fast")


def quickened(clusters: Clusters, search: str) -> Clusters:
    """The same centres behind the forward passes that `search` names; `clusters` themselves for "exact"."""
    if search == "exact":
        return clusters
    dtype = torch.bfloat16 if search == "bf16" else torch.float32
    return Clusters(QuickEncoder(clusters.encoder, dtype), clusters.centres, clusters.batch)


class QuickEncoder:
    """An Encoder like the one given, with folded batch norms, in `dtype`. `module` remains the given one's."""

    def __init__(self, encoder: Encoder, dtype: torch.dtype) -> None:
        self.dim, self.device, self.module = encoder.dim, encoder.device, encoder.module
        self.prepare, self._dtype = encoder.prepare, dtype
        self._quick = folded(encoder.module).to(dtype)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, dim), float32, not normalised."""
        features: Tensor = self._quick(self.prepare(images).to(self._dtype))
        return features.float()


def folded(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose batch norms are part of the convolutions before them.

    A copy as it is where there are none, or where torch.fx cannot follow the network's forward.
    """
    own = copy.deepcopy(module).eval()
    if not any(isinstance(part, nn.BatchNorm2d) for part in own.modules()):
        return own
    from torch.fx.experimental.optimization import fuse

    try:
        fused: nn.Module = fuse(own, inplace=True)
    except (torch.fx.proxy.TraceError, TypeError, ValueError, RuntimeError, NameError, AttributeError):
        return copy.deepcopy(module).eval()
    return fused.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
