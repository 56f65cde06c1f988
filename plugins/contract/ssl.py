"""The contract of an SSL method, and of all that makes a learner, property by property, around a toy network."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bench.api import Learner, Mixed, Plugin, SSLMethod
from bench.seeds import Seeds

from .kit import Trial, alike, check, require

T = TypeVar("T", bound=Plugin)
ROWS, DIM = 8, 16
GLOBAL, LOCAL = (16, 16), (16, 16, 8)


class LearnerTrial(Trial[T]):
    """What makes a learner, around a small convolutional network, on random views of eight images."""

    def made(self) -> Any:
        """What the plugin makes of the network."""
        raise NotImplementedError

    def learner(self, run: int = 0) -> Any:
        """A copy of the learner as the loop makes it (torch seeded, then put back); `run` numbers repetitions."""
        return copy.deepcopy(self.once("learner()", self.seeded, run))

    def seeded(self) -> Any:
        """A learner as the loop makes it."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            made: Any = self.made()
        require(isinstance(made, nn.Module), f"learner() gave {type(made).__name__}, expected a torch module")
        require(isinstance(made, Learner), f"{type(made).__name__} is no bench.Learner: name it among its bases")
        made.gather, made.rank = (lambda keys: keys), 0
        return made

    def loss(self, what: str, views: Sequence[Tensor], mixed: Mixed | None = None) -> Tensor:
        """The loss of a fresh copy of the learner; made once for each `what`."""
        return self.once(f"forward() ({what})", lambda: _loss(self.learner(), views, mixed))

    @check("return a torch module that subclasses bench.Learner too, and set self.backbone to the encoder that is kept")
    def check_learner(self) -> None:
        """`learner` gives a module that is a Learner, with a backbone from images to features."""
        encoder: Any = getattr(self.learner(), "backbone", None)
        require(isinstance(encoder, nn.Module), f"`backbone` is {type(encoder).__name__}, expected a torch module")
        shape = tuple(self.once("backbone(images)", lambda: encoder(views_of(GLOBAL)[0])).shape)
        require(shape == (ROWS, DIM), f"backbone gives {shape}, expected {(ROWS, DIM)}")

    @check("return one finite number: the mean over the batch")
    def check_loss(self) -> None:
        """The loss of two global views is a finite scalar."""
        self.loss("two global views", views_of(GLOBAL))

    @check("use views beyond the second as further queries, or leave them out; they are smaller than the first two")
    def check_local_views(self) -> None:
        """It takes local views, of another size than the global ones."""
        self.loss("two global views and a local one", views_of(LOCAL))

    @check("compute the loss from self.backbone's output, without detach() or no_grad() on all of its paths")
    def check_gradient(self) -> None:
        """The gradient reaches the backbone, down to its first layer."""
        learner = self.learner()
        self.once("loss.backward()", lambda: learner(views_of(GLOBAL)).backward())
        gradient = next(iter(learner.backbone.parameters())).grad
        require(gradient is not None, "the backbone's first layer takes no gradient")
        require(torch.isfinite(gradient).all(), "the gradient of the backbone's first layer is not finite")
        require(gradient.abs().sum() > 0, "the gradient of the backbone's first layer is 0")

    @check("write to copies of the views only")
    def check_views_kept(self) -> None:
        """The views are as they were."""
        views = views_of(LOCAL)
        self.loss("views that are looked at afterwards", views)
        require(alike(views, views_of(LOCAL)), "forward() wrote to its views")

    @check("initialise with torch's default generator, which the loop seeds; draw nothing while training")
    def check_same_seed(self) -> None:
        """The same seed gives the same learner and the same loss."""
        same = alike(self.learner().state_dict(), self.learner(run=1).state_dict())
        require(same, "the same seed gave other weights")
        losses = [self.loss(what, views_of(GLOBAL)) for what in ("two global views", "two global views again")]
        require(torch.equal(*losses), "the same weights gave another loss")

    @check("keep all that training changes in parameters and buffers (register_buffer): a checkpoint holds no more")
    def check_resume(self) -> None:
        """Two steps, a checkpoint and two more steps are four steps."""
        unbroken = self.once("four steps", lambda: steps(self.learner(), 0, 4))
        resumed = self.once("two steps, and two more", self._interrupted)
        require(
            alike(unbroken, resumed), "a training resumed from a checkpoint gave other weights than an unbroken one"
        )

    def _interrupted(self) -> dict[str, Tensor]:
        resumed = self.learner(run=1)
        resumed.load_state_dict(steps(self.learner(), 0, 2))
        return steps(resumed, 2, 4)


class SSLTrial(LearnerTrial[SSLMethod]):
    """An SSL method."""

    kind = "ssl"

    def made(self) -> Any:
        """The method's learner."""
        return self.plugin.learner(backbone(), DIM)

    @check("weigh: weights[v] * (loss with the own key) + (1 - weights[v]) * (loss with the key of image partners[v])")
    def check_mixed(self) -> str | None:
        """Mixed queries count by their shares: with weight 1 the loss is that without mixing, with 0 another."""
        if "mixed" not in inspect.signature(self.learner().forward).parameters:  # as the loop asks
            return "forward() takes no mixed views: it cannot train with i-CutMix and its like"
        views, partners = views_of(LOCAL), [torch.arange(ROWS).roll(1)] * len(LOCAL)
        plain = self.loss("two global views and a local one", views)
        whole, none = (
            self.loss(f"mixed, weight {weight}", views, Mixed(views, partners, [weight] * len(LOCAL)))
            for weight in (1.0, 0.0)
        )
        close = torch.allclose(plain, whole, rtol=1e-4, atol=1e-5)
        require(close, f"unmixed views with weight 1 give {whole.item():.5f}, without `mixed` {plain.item():.5f}")
        require(not torch.allclose(plain, none, rtol=1e-4), "weight 0 gives the same loss as 1: `mixed` is not used")
        return None


def backbone() -> nn.Module:
    """(B, 3, s, s) -> (B, DIM): two convolutions, batch normalisation."""
    first, second = nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.Conv2d(8, DIM, 3, bias=False)
    return nn.Sequential(first, nn.BatchNorm2d(8), nn.ReLU(), second, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def views_of(sizes: Sequence[int], seed: int = 0) -> list[Tensor]:
    """Random views (ROWS, 3, s, s) float32, those of one image alike in their mean."""
    colour = torch.randn(ROWS, 3, 1, 1, generator=Seeds(seed, "colour").torch())
    noise = (torch.randn(ROWS, 3, s, s, generator=Seeds(seed, i).torch()) for i, s in enumerate(sizes))
    return [colour + 0.5 * each for each in noise]


def _loss(learner: Any, views: Sequence[Tensor], mixed: Mixed | None) -> Tensor:
    found = learner(views) if mixed is None else learner(views, mixed)
    require(isinstance(found, Tensor), f"forward() gave {type(found).__name__}, expected a tensor")
    require(found.dim() == 0, f"forward() gave a tensor of shape {tuple(found.shape)}, expected a scalar")
    require(torch.isfinite(found), f"the loss is {found.item()}")
    kept: Tensor = found.detach()  # without its graph, which would hold the learner
    return kept


def steps(learner: Any, start: int, stop: int) -> dict[str, Tensor]:
    """The state after plain gradient steps `start` to `stop` of 4."""
    optimiser = torch.optim.SGD([p for p in learner.parameters() if p.requires_grad], lr=0.1)
    for step in range(start, stop):
        optimiser.zero_grad()
        learner(views_of(GLOBAL, seed=step)).backward()
        optimiser.step()
        learner.after_step((step + 1) / 4)
    return {key: value.clone() for key, value in learner.state_dict().items()}
