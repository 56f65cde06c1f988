"""Cognitive distillation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import Arrays, Verdict, View
from bench.defenses.search.defaults import in_range, option, scale

from .baseline import Baseline, features

if TYPE_CHECKING:
    from torch import Tensor, nn

UNIT = 5.0
WIDTH = 32  # px: the paper's alpha is for CIFAR-10
PIXELS = 2**21  # in one batch, 16 to 256 images


@dataclass(frozen=True, kw_only=True)
class CognitiveDistillation(Baseline):
    """Cognitive distillation: an image of which a small part gives nearly the same features is suspicious.

    Huang, Ma, Erfani and Bailey, "Distilling cognitive backdoor patterns within an image" (ICLR 2023). For each image x
    a mask m in [0, 1] (S x S, a sigmoid of free numbers that start at m = 0.88) is learnt that minimises

        |f(x) - f(x m + (1 - m) noise)| + alpha |m| + beta TV(m)

    (both norms L1; TV the mean of squared differences of neighbours) by Adam, both of its betas 0.1. Score: minus |m|.
    Window: the one with the largest sum of m; trigger score = score. Values of the paper: alpha 0.01, beta 1, rate 0.1,
    100 steps.

    Departures and readings [?]: f are the encoder's features, there being no logits. 50 steps, not 100: half the time,
    and no worse (below). [?] Noise is one uniform random colour for the whole image, drawn anew at each step; here all
    images meet the same colours, so that an image's mask does not depend on the others or their order. [?] alpha is for
    the mean difference of ten logits of a CIFAR-10 network, and features have any size: distances are scaled so that
    two images of the set differ by 5 on average, and |m| to a mask of 32 x 32. The threshold is the baselines' own
    rule; the paper's needs clean images.

    Measured on one encoder of the laptop preset (seed 0; 60 poisoned, 140 clean images), AUROC in percent: alpha 0.005
    100, 0.01 99.9, 0.02 98.9, 0.04 73; 30 steps 99.9, 100 steps 99.8; a noise image instead of a colour 99.7. On all
    2,000 images, 140 of them poisoned: 99.8; it removed 75, all poisoned; 41 to 86 s on one thread of a busy machine.
    With the trigger's colours muted, on encoders with an ASR of 20 and 30: 48 and 69.
    """

    name: ClassVar[str] = "cognitive-distillation"
    paper: ClassVar[str] = "Huang et al., Distilling Cognitive Backdoor Patterns within an Image, ICLR 2023"
    url: ClassVar[str] = "https://arxiv.org/abs/2301.10908"
    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    toy_options: ClassVar[dict[str, int]] = {"steps": 5}

    steps: int = option(50, "steps of Adam for each image (the paper: 100)")
    alpha: float = option(0.01, "weight of the mask's L1 norm")
    beta: float = option(1.0, "weight of the mask's total variation")
    rate: float = option(0.1, "Adam's learning rate")
    window: int | None = option(None, "window width, px; by the rule of the searches 60/224 of the width")

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range("steps", self.steps, 1)
        in_range("alpha", self.alpha, 0)
        in_range("beta", self.beta, 0)
        in_range("rate", self.rate, 0)

    def forwards(self, count: int, size: int) -> int:
        """The features twice (once for the unit), and at each step a pass forward and one back."""
        return count * (2 + 2 * self.steps)

    def clean(self, view: View) -> Verdict:
        """Remove the images whose mask is an outlier on the small side; each batch of masks is a saved step."""
        found = self._found(view)
        verdict = self.verdict(found["score"])
        return replace(verdict, trigger_score=verdict.score, boxes=found["boxes"])

    def scores(self, view: View) -> NDArray[np.float64]:
        """See the class."""
        score: NDArray[np.float64] = self._found(view)["score"]
        return score

    def attention(
        self, view: View, indices: Sequence[int] | NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """For pictures: masks (n, S, S) and windows (n, 4) of the images at `indices`. Needs the view of `clean`."""
        parts = np.array_split(np.asarray(indices, np.int64), max(1, -(-len(indices) // _batch(view.size))))
        unit = self._unit(view)
        masks = [self._masks(view, part, unit) for part in parts]
        return np.concatenate([m.cpu().numpy() for m in masks]), np.concatenate([self._boxes(view, m) for m in masks])

    def _found(self, view: View) -> Arrays:
        """Score (N,) float64 and boxes (N, 4) int64 of all images."""
        unit, step, found = self._unit(view), _batch(view.size), []
        for start in range(0, len(view), step):
            part = np.arange(start, min(start + step, len(view)))
            found.append(view.step(f"masks-{start:07d}", partial(self._judged, view, part, unit)))
            view.progress("masks", len(part) + start, len(view))
        return {name: np.concatenate([each[name] for each in found]) for name in ("score", "boxes")}

    def _judged(self, view: View, part: NDArray[np.int64], unit: float) -> Arrays:
        masks = self._masks(view, part, unit)
        return {"score": -masks.double().sum((1, 2)).cpu().numpy(), "boxes": self._boxes(view, masks)}

    def _boxes(self, view: View, masks: Tensor) -> NDArray[np.int64]:
        from bench.defenses.search.locator import best_window

        window = scale(view.size, len(view), window=self.window).window
        found: NDArray[np.int64] = best_window(masks, window).cpu().numpy()
        return found

    def _unit(self, view: View) -> float:
        """What to multiply an L1 distance of features with, so that two images differ by UNIT on average."""

        def measure() -> Arrays:
            found = features(view, unit=False)
            return {"distance": np.abs(found - np.roll(found, 1, axis=0)).sum(1).mean(keepdims=True)}

        return UNIT / (float(view.step("distance", measure)["distance"][0]) or UNIT)

    def _masks(self, view: View, part: NDArray[np.int64], unit: float) -> Tensor:
        """The masks (B, S, S) float32 of the images at `part`, on the view's device."""
        import torch

        from bench.defenses.search.quick import folded

        seeds, encoder = view.seeds("noise"), view.encoder
        with torch.inference_mode(False), torch.enable_grad():
            network = folded(encoder.module)  # a copy: the same but for rounding, and a quarter quicker
            images = encoder.prepare(view.batch(part))
            with torch.no_grad():
                whole = network(images).float()
            free = torch.ones(len(part), 1, view.size, view.size, device=images.device, requires_grad=True)
            adam = torch.optim.Adam([free], lr=self.rate, betas=(0.1, 0.1))
            for step in range(self.steps):
                colour = torch.rand(1, 3, 1, 1, generator=seeds.child(step).torch())
                noise = encoder.prepare(colour.expand(-1, -1, view.size, view.size))
                # Summed over images, none of which sees another: each has the gradient that it would have alone.
                loss = self._losses((2 * free).sigmoid(), images, noise, whole, network, unit).sum()
                (free.grad,) = torch.autograd.grad(loss, [free])
                adam.step()
            return (2 * free.detach()).sigmoid()[:, 0]

    def _losses(
        self, masks: Tensor, images: Tensor, noise: Tensor, whole: Tensor, network: nn.Module, unit: float
    ) -> Tensor:
        """What each mask (B, 1, S, S) is to minimise, (B,); images and noise normalised, whole (B, dim)."""
        distance = (network(noise + (images - noise) * masks).float() - whole).abs().sum(1)
        size = self.alpha * WIDTH**2 * masks.mean((1, 2, 3))
        losses: Tensor = unit * distance + size + self.beta * variation(masks)
        return losses


def variation(masks: Tensor) -> Tensor:
    """Total variation of masks (B, 1, S, S): the squared differences of neighbours, summed, over S * S: (B,)."""
    down, across = masks.diff(dim=2).square().sum((1, 2, 3)), masks.diff(dim=3).square().sum((1, 2, 3))
    return (down + across) / masks.shape[-1] ** 2


def _batch(size: int) -> int:
    return min(256, max(16, PIXELS // size**2))
