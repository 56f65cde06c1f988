"""SimSiam: the loss by hand, and where the gradient stops."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cosine_similarity

from bench.ssl.simsiam import SimSiam

BARE = SimSiam(projector=0, predictor=1)


@pytest.mark.parametrize(("second", "expected"), [([0, 5], -1.0), ([3, 0], 0.0), ([0, -1], 1.0), ([1, 1], -(0.5**0.5))])
def test_loss_by_hand(spy_learner, rows, second, expected):
    """The negative cosine, of any length."""
    model = spy_learner(BARE, width=2, plain=True)
    assert model([rows([0, 1]), rows(second)]).item() == pytest.approx(expected, abs=1e-6)


def test_no_gradient_into_the_targets(spy_learner, spy_views):
    model, (first, second) = spy_learner(BARE), spy_views(3, 3)
    weight = model.backbone.linear.weight

    def expected(still):
        z1, z2 = model.backbone(first), model.backbone(second)
        pairs = [(model.predictor(z1), still(z2)), (model.predictor(z2), still(z1))]
        return -sum(cosine_similarity(p, z).mean() for p, z in pairs) / 2

    def slope(loss):
        return torch.autograd.grad(loss, weight)[0]

    loss = model([first, second])
    assert loss.item() == pytest.approx(expected(torch.detach).item())
    torch.testing.assert_close(slope(loss), slope(expected(torch.detach)))
    assert not torch.allclose(slope(expected(torch.detach)), slope(expected(lambda z: z)))


def test_unmixed_views_are_encoded_once(spy_learner, spy_views):
    model = spy_learner(BARE)
    model(spy_views(3, 3, 3))
    assert model.backbone.calls == [3, 3, 3]


def test_the_papers_own_heads(spy_learner):
    model = spy_learner(SimSiam())
    assert [tuple(p.shape) for p in model.projector.parameters() if p.dim() == 2] == [
        (2048, 4),
        (2048, 2048),
        (2048, 2048),
    ]
    assert [tuple(p.shape) for p in model.predictor.parameters() if p.dim() == 2] == [(512, 2048), (2048, 512)]


@pytest.mark.parametrize("bad", [{"projector": -1}, {"predictor": 0}, {"hidden": 0}, {"bottleneck": 0}, {"output": 0}])
def test_options_out_of_range(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        SimSiam(**bad)
