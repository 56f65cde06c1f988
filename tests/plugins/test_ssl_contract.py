"""The kit must catch each kind of bad SSL method, by the check of that name and by no other."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench import Learner, SSLMethod
from bench.plugins.contract.checks import assert_contract, run_checks

MUTANTS = []


class GoodLearner(nn.Module, Learner):
    """InfoNCE with soft targets between the first two views."""

    def __init__(self, backbone, dim):
        super().__init__()
        self.backbone, self.gather, self.rank = backbone, (lambda keys: keys), 0
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, views, mixed=None):
        query, key = (F.normalize(self.backbone(v), dim=1) for v in ((mixed.views if mixed else views)[0], views[1]))
        similar, own = query @ self.gather(key.detach()).T / 0.2 * (1 + self.seen), torch.arange(len(query))
        loss = F.cross_entropy(similar, own)
        if mixed:
            other = F.cross_entropy(similar, mixed.partners[0])
            loss = mixed.weights[0] * loss + (1 - mixed.weights[0]) * other
        return loss

    def after_step(self, fraction):
        self.seen += 0.1


@dataclass(frozen=True, kw_only=True)
class Good(SSLMethod):
    """As it should be."""

    name: ClassVar[str] = "good"
    kind: ClassVar[type] = GoodLearner

    def learner(self, backbone, dim):
        return self.kind(backbone, dim)


def mutant(*broken):
    """A learner that breaks these promises, in a method of its own."""

    def decorate(cls):
        method = type(cls.__name__, (Good,), {"kind": cls, "__doc__": "Broken.", "__annotations__": {}})
        MUTANTS.append((dataclass(frozen=True, kw_only=True)(method), set(broken)))
        return cls

    return decorate


@mutant("loss", "same_seed")
class PerImage(GoodLearner):
    def forward(self, views, mixed=None):
        loss = super().forward(views, mixed)
        return loss if len(views) > 2 else loss[None]


@mutant("gradient", "loss", "local_views", "views_kept", "same_seed", "mixed", "resume")
class NotFinite(GoodLearner):
    def forward(self, views, mixed=None):
        return super().forward(views, mixed) * float("nan")


@mutant("local_views", "views_kept", "mixed")
class TwoOnly(GoodLearner):
    def forward(self, views, mixed=None):
        one, two = views
        return super().forward([one, two], mixed)


@mutant("gradient", "resume")
class Detached(GoodLearner):
    def forward(self, views, mixed=None):
        return super().forward(views, mixed).detach()


@mutant("views_kept")
class WritesToViews(GoodLearner):
    def forward(self, views, mixed=None):
        loss = super().forward(views, mixed)
        views[-1].mul_(1.0001)
        return loss


@mutant("mixed")
class IgnoresMixed(GoodLearner):
    def forward(self, views, mixed=None):
        return super().forward(views)


@mutant("resume")
class Forgets(GoodLearner):
    def __init__(self, backbone, dim):
        super().__init__(backbone, dim)
        del self.seen
        self.seen = torch.zeros(1)


@mutant("same_seed", "resume", "global_state")
class Drops(GoodLearner):
    def forward(self, views, mixed=None):
        return super().forward(views, mixed) * (1 + 1e-4 * torch.rand(()))


@pytest.mark.parametrize(("cls", "broken"), MUTANTS, ids=lambda value: getattr(value, "__name__", ""))
def test_each_fault_is_caught_by_its_check(cls, broken):
    found = {result.name: result for result in run_checks("ssl", cls())}
    assert {name for name, result in found.items() if not result.ok} == broken


def test_a_good_one_holds():
    assert_contract(Good())


class Unmixed(GoodLearner):
    """Has no parameter `mixed`."""

    def forward(self, views):
        return super().forward(views)


@dataclass(frozen=True, kw_only=True)
class WithoutMixing(Good):
    """Takes no mixed views, which is allowed."""

    kind: ClassVar[type] = Unmixed


def test_mixed_views_may_be_refused_but_are_told_of():
    found = {result.name: result for result in run_checks("ssl", WithoutMixing())}
    assert all(result.ok for result in found.values())
    assert found["mixed"].why.startswith("forward() takes no mixed views")


class NoLearner(nn.Module):
    """A module of torch alone."""

    def __init__(self, backbone, dim):
        super().__init__()


@dataclass(frozen=True, kw_only=True)
class WithoutLearner(Good):
    """Forgets the base."""

    kind: ClassVar[type] = NoLearner


def test_what_is_no_learner_is_told_once():
    found = {result.name: result for result in run_checks("ssl", WithoutLearner())}
    assert found["learner"].why == "NoLearner is no bench.Learner: name it among its bases"
    assert found["loss"].why == "not reached: see learner"
