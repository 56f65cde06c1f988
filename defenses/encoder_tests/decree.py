"""DECREE: how small is the smallest trigger that makes the features of all images alike?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench import Arrays, BenchError, EncoderTest, EncoderVerdict, View

if TYPE_CHECKING:
    from torch import Tensor

ALIKE = 0.99  # mean cosine similarity from which a trigger works
FIRST, FACTOR, LEAST = 1e-3, 5.0, 1e-5  # weight of the mask's size: at first, times this, not below
PATIENCE = 5  # steps in a row after which the weight changes
RATES = ((0.0, 0.5), (0.6, 0.1), (0.8, 0.05))  # share of the steps from which Adam has a learning rate


@dataclass(frozen=True, kw_only=True)
class Decree(EncoderTest):
    """DECREE: searches by gradients for the smallest trigger that makes the features of all images alike.

    Feng et al.: a mask and a pattern, both free; the loss is minus the mean cosine similarity of the features of a
    batch of triggered images, plus the mask's L1 norm with a weight that grows by 5 after more than 5 steps over a
    similarity of 0.99, and shrinks likewise. An encoder with a backdoor needs a small mask. The score is minus PL1, the
    L1 norm of the smallest mask that reached 0.99 as a share of that of a full one (below 0.1 the paper calls an
    encoder trojaned); where none did, minus 1. Numbers are those of the authors' code for images of 32 px: Adam, betas
    0.5 and 0.9, rate 0.5, later 0.1 and 0.05, batches of 128, random start. Ours: `steps` steps instead of up to a
    thousand epochs with an early stop, the three rates in proportion; training images as scraped, theirs clean ones.
    """

    name: ClassVar[str] = "decree"
    paper: ClassVar[str] = "Feng et al., Detecting Backdoors in Pre-trained Encoders, CVPR 2023"
    url: ClassVar[str] = "https://arxiv.org/abs/2303.15180"
    toy_options: ClassVar[dict[str, int]] = {"steps": 20, "images": 64}

    steps: int = field(default=400, metadata={"help": "steps of the search"})
    images: int = field(default=1000, metadata={"help": "training images that it is made on, at most"})
    batch: int = field(default=128, metadata={"help": "images a step"})

    def __post_init__(self) -> None:
        for option, least in (("steps", 1), ("images", 2), ("batch", 2)):
            if getattr(self, option) < least:
                raise BenchError(f"{option} is {getattr(self, option)}, expected {least} or more")

    def verdict(self, view: View) -> EncoderVerdict:
        """See the class."""
        found = view.step("trigger", lambda: self._search(view))
        size = float(found["size"])
        facts = {"pl1": size, "found": bool(found["found"]), "similarity": float(found["similarity"])}
        return EncoderVerdict(score=-size, facts=facts)

    def _search(self, view: View) -> Arrays:
        """The smallest mask's size as a share of a full one (1 where none works), whether one works, and how alike the
        features were in the last step."""
        import torch

        encoder, rng = view.encoder, view.seeds("batches").numpy()
        chosen = np.sort(rng.permutation(len(view))[: self.images])
        images = view.batch(chosen).to(encoder.device).float() / 255
        mask, pattern = (each.to(encoder.device).requires_grad_() for each in start(view))
        adam = torch.optim.Adam([mask, pattern], lr=RATES[0][1], betas=(0.5, 0.9))
        weight, above, below, smallest, alike = FIRST, 0, 0, 1.0, 0.0
        works = False
        for step in range(self.steps):
            adam.param_groups[0]["lr"] = [rate for share, rate in RATES if step >= share * self.steps][-1]
            rows = torch.from_numpy(rng.permutation(len(images))[: self.batch]).to(encoder.device)
            shown = torch.sigmoid(2 * mask)
            triggered = (1 - shown) * images[rows] + shown * torch.sigmoid(2 * pattern)
            similarity = mean_cosine(encoder.module(encoder.prepare(triggered)))
            loss = weight * 3 * shown.sum() - similarity
            mask.grad, pattern.grad = torch.autograd.grad(loss, [mask, pattern])
            adam.step()
            alike, size = float(similarity.detach()), float(shown.detach().mean())
            if alike > ALIKE:
                smallest, works = min(smallest, size), True
            above, below = (above + 1, 0) if alike > ALIKE else (0, below + 1)
            if above > PATIENCE:
                weight, above = weight * FACTOR, 0
            elif below > PATIENCE:
                weight, below = max(LEAST, weight / FACTOR), 0
            view.progress("steps", step + 1, self.steps)
        numbers = {"size": smallest, "found": works, "similarity": alike}
        return {name: np.array(value) for name, value in numbers.items()}

    def forwards(self, count: int, size: int) -> int:
        """Forward and backward, about three passes, on each batch."""
        return 3 * self.steps * min(self.batch, self.images, count)


def start(view: View) -> tuple[Tensor, Tensor]:
    """A mask (1, 1, S, S) and a pattern (3, S, S) whose sigmoids at twice their values are uniform in (0, 1)."""
    import torch

    shapes = (("mask", (1, 1, view.size, view.size)), ("pattern", (3, view.size, view.size)))
    drawn = (torch.rand(shape, generator=view.seeds(name).torch()).clamp(1e-6, 1 - 1e-6) for name, shape in shapes)
    mask, pattern = (each.logit() / 2 for each in drawn)
    return mask, pattern


def mean_cosine(features: Tensor) -> Tensor:
    """Mean cosine similarity of two different rows of features (B, dim): a scalar in [-1, 1]."""
    from torch.nn.functional import normalize

    count = len(features)
    return (normalize(features, dim=1).sum(0).square().sum() - count) / (count * (count - 1))
