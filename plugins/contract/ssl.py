"""The contract of an SSL method, property by property, around a toy network."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.api import Learner, Mixed, SSLMethod
from bench.seeds import Seeds

from .kit import Check, Trial, check, check_global_state, require

ROWS, DIM = 8, 16
GLOBAL, LOCAL = (16, 16), (16, 16, 8)


class SSLTrial(Trial[SSLMethod]):
    """A method around a small convolutional network, on random views of eight images."""

    kind = "ssl"

    def learner(self, run: int = 0) -> Any:
        """The learner as the loop makes it (torch seeded, then put back); `run` numbers repetitions."""
        return self.once(("learner", run), self._made, "learner()")

    def _made(self) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            made: Any = self.plugin.learner(backbone(), DIM)
        require(isinstance(made, nn.Module), f"learner() gave {type(made).__name__}, expected a torch module")
        require(isinstance(made, Learner), f"{type(made).__name__} is no bench.Learner: name it among its bases")
        made.gather, made.rank = (lambda keys: keys), 0
        return made.train()

    def loss(self, what: str, views: Sequence[Tensor], mixed: Mixed | None = None) -> Tensor:
        """The loss of a fresh copy of the learner; made once for each `what`."""
        found: Tensor = self.once(
            what, lambda: _loss(copy.deepcopy(self.learner()), views, mixed), f"forward() ({what})"
        )
        return found

    @property
    def takes_mixed(self) -> bool:
        """Whether forward() has the parameter `mixed`, as the loop asks."""
        return "mixed" in inspect.signature(self.learner().forward).parameters


def backbone() -> nn.Module:
    """(B, 3, s, s) -> (B, DIM): two convolutions, batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, DIM, 3, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


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


@check("return a torch module that subclasses bench.Learner too, and set self.backbone to the encoder that is kept")
def check_learner(trial: SSLTrial) -> None:
    """`learner` gives a module that is a Learner, with a backbone from images to features."""
    encoder: Any = getattr(trial.learner(), "backbone", None)
    require(isinstance(encoder, nn.Module), f"`backbone` is {type(encoder).__name__}, expected a torch module")
    features = trial.once("features", lambda: copy.deepcopy(encoder)(views_of(GLOBAL)[0]), "backbone(images)")
    require(tuple(features.shape) == (ROWS, DIM), f"backbone gives {tuple(features.shape)}, expected {(ROWS, DIM)}")


@check("return one finite number: the mean over the batch")
def check_loss(trial: SSLTrial) -> None:
    """The loss of two global views is a finite scalar."""
    trial.loss("two global views", views_of(GLOBAL))


@check("use views beyond the second as further queries, or leave them out; they are smaller than the first two")
def check_local_views(trial: SSLTrial) -> None:
    """It takes local views, of another size than the global ones."""
    trial.loss("two global views and a local one", views_of(LOCAL))


@check("compute the loss from self.backbone's output, without detach() or no_grad() on all of its paths")
def check_gradient(trial: SSLTrial) -> None:
    """The gradient reaches the backbone, down to its first layer."""
    learner = trial.once("trained", lambda: _backward(copy.deepcopy(trial.learner())), "loss.backward()")
    first = next(iter(learner.backbone.parameters()))
    require(first.grad is not None, "the backbone's first layer takes no gradient")
    require(torch.isfinite(first.grad).all(), "the gradient of the backbone's first layer is not finite")
    require(first.grad.abs().sum() > 0, "the gradient of the backbone's first layer is 0")


def _backward(learner: Any) -> Any:
    learner(views_of(GLOBAL)).backward()
    return learner


@check("write to copies of the views only")
def check_views_kept(trial: SSLTrial) -> None:
    """The views are as they were."""
    views = views_of(LOCAL)
    before = [view.clone() for view in views]
    trial.loss("views that are looked at afterwards", views)
    require(all(torch.equal(a, b) for a, b in zip(before, views, strict=True)), "forward() wrote to its views")


@check("initialise with torch's default generator, which the loop seeds; draw nothing while training")
def check_same_seed(trial: SSLTrial) -> None:
    """The same seed gives the same learner and the same loss."""
    one, other = trial.learner().state_dict(), trial.learner(run=1).state_dict()
    same = one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    require(same, "the same seed gave other weights")
    again = trial.loss("two global views again", views_of(GLOBAL))
    require(torch.equal(trial.loss("two global views", views_of(GLOBAL)), again), "the same weights gave another loss")


@check("weigh: weights[v] * (loss with the own key) + (1 - weights[v]) * (loss with the key of image partners[v])")
def check_mixed(trial: SSLTrial) -> str | None:
    """Mixed queries count by their shares: with weight 1 the loss is that without mixing, with 0 another."""
    if not trial.takes_mixed:
        return "forward() takes no mixed views: it cannot train with i-CutMix and its like"
    views = views_of(LOCAL)
    plain, whole, none = (
        trial.loss("two global views and a local one", views),
        *(trial.loss(f"mixed, weight {weight}", views, _mixed(views, weight)) for weight in (1.0, 0.0)),
    )
    close = torch.allclose(plain, whole, rtol=1e-4, atol=1e-5)
    require(close, f"unmixed views with weight 1 give {whole.item():.5f}, without `mixed` {plain.item():.5f}")
    require(not torch.allclose(plain, none, rtol=1e-4), "weight 0 gives the same loss as 1: `mixed` is not used")
    return None


def _mixed(views: list[Tensor], weight: float) -> Mixed:
    partners = [torch.arange(ROWS).roll(1)] * len(views)
    return Mixed(views=views, partners=partners, weights=[weight] * len(views))


@check("keep all that training changes in parameters and buffers (register_buffer): a checkpoint holds nothing else")
def check_resume(trial: SSLTrial) -> None:
    """Two steps, a checkpoint and two more steps are four steps."""
    unbroken = trial.once("four steps", lambda: _steps(copy.deepcopy(trial.learner()), 0, 4), "four steps")
    halves = trial.once("two steps and two", lambda: _interrupted(trial), "two steps, and two more")
    same = all(torch.equal(value, halves[key]) for key, value in unbroken.items())
    require(same, "a training that went on from a checkpoint gave other weights than one without a break")


def _interrupted(trial: SSLTrial) -> dict[str, Tensor]:
    saved = _steps(copy.deepcopy(trial.learner()), 0, 2)
    resumed = copy.deepcopy(trial.learner(run=1))
    resumed.load_state_dict(saved)
    return _steps(resumed, 2, 4)


def _steps(learner: Any, start: int, stop: int) -> dict[str, Tensor]:
    """The state after plain gradient steps `start` to `stop` of 4."""
    learning = [p for p in learner.parameters() if p.requires_grad]
    for step in range(start, stop):
        for parameter in learning:
            parameter.grad = None
        learner(views_of(GLOBAL, seed=step)).backward()
        with torch.no_grad():
            for parameter in learning:
                if parameter.grad is not None:
                    parameter -= 0.1 * parameter.grad
        learner.after_step((step + 1) / 4)
    return {key: value.clone() for key, value in learner.state_dict().items()}


CHECKS: tuple[Check[Any], ...] = (
    check_learner,
    check_loss,
    check_local_views,
    check_gradient,
    check_views_kept,
    check_same_seed,
    check_mixed,
    check_resume,
    check_global_state,
)
