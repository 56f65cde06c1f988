"""BYOL: the loss and the momentum encoder by hand."""

from __future__ import annotations

import pytest
import torch

from bench.ssl.byol import BYOL

BARE = BYOL(projector=0, predictor=1, momentum=0.9)


@pytest.mark.parametrize(
    ("second", "expected"), [([0, 5], 0.0), ([3, 0], 4.0), ([0, -1], 8.0), ([1, 1], 4 - 2 * 2**0.5)]
)
def test_loss_by_hand(spy_learner, rows, second, expected):
    """2 - 2 cos for each direction, of any length."""
    model = spy_learner(BARE, width=2, plain=True)
    assert model([rows([0, 1]), rows(second)]).item() == pytest.approx(expected, abs=1e-6)


def test_the_target_is_the_slow_copys(spy_learner, rows):
    """The slow copy turns by a right angle: where the views agree, prediction and target no longer do."""
    model = spy_learner(BARE, width=2, plain=True)
    with torch.no_grad():
        model.momentum[0].linear.weight.copy_(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]))
    view = rows([0, 1], [1, 0])
    assert model([view, view]).item() == pytest.approx(4.0)
    assert model.momentum[0].calls == [2, 2]


@pytest.mark.parametrize(("done", "kept"), [(0.5, 0.95), (1.0, 1.0), (1 / 3, 0.925)])
def test_momentum_by_hand(spy_learner, done, kept):
    """From 0.9 to 1 by a cosine: a slow 1 and an online 3 become kept * 1 + (1 - kept) * 3."""
    model = spy_learner(BARE)
    with torch.no_grad():
        model.backbone.linear.weight.fill_(3.0)
        model.momentum[0].linear.weight.fill_(1.0)
    model.after_step(done)
    torch.testing.assert_close(model.momentum[0].linear.weight, torch.full((4, 4), kept + 3 * (1 - kept)))


def test_the_papers_own_heads(spy_learner):
    model = spy_learner(BYOL())
    assert [tuple(p.shape) for p in model.projector.parameters() if p.dim() == 2] == [(4096, 4), (256, 4096)]
    assert [tuple(p.shape) for p in model.predictor.parameters() if p.dim() == 2] == [(4096, 256), (256, 4096)]


@pytest.mark.parametrize(
    "bad", [{"projector": -1}, {"predictor": 0}, {"hidden": 0}, {"output": 0}, {"momentum": 1.01}, {"momentum": -0.1}]
)
def test_options_out_of_range(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        BYOL(**bad)
