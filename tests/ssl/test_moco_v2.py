"""MoCo-v2: the loss by hand, and the queue: its order, its lengths, its place in a checkpoint."""

from __future__ import annotations

import math

import pytest
import torch

from bench.ssl.losses import queue_nce
from bench.ssl.moco_v2 import MoCoV2

BARE = MoCoV2(projector=0, temperature=0.5, momentum=0.9, queue=5)


def test_loss_by_hand(spy_learner, rows):
    """View 0 asks for view 1 only; the own key's logit is 2, the queue's five are 0 or -2."""
    model = spy_learner(BARE, width=2, plain=True)
    model.queue.copy_(torch.tensor([[0.0, 1.0]] * 4 + [[-1.0, 0.0]]))
    loss = model([rows([1, 0]), rows([4, 0])])
    assert loss.item() == pytest.approx(math.log(1 + (4 + math.exp(-2)) / math.exp(2)))
    assert model.backbone.calls == model.momentum[0].calls == [1]


def test_view_1_is_the_only_key_and_no_query(spy_learner, spy_views):
    model, views = spy_learner(BARE), spy_views(3, 3, 3, 3)
    loss = model(views)
    assert (model.backbone.calls, model.momentum[0].calls) == ([3, 6], [3])
    z = [model.backbone(view) for view in views]
    expected = sum(queue_nce(z[v], z[1], model.queue, 0.5).item() for v in (0, 2, 3)) / 3
    assert loss.item() == pytest.approx(expected)


def steps(model, rows, *numbers):
    """One step for each of `numbers`: a batch of that key direction (in degrees), one image per number."""
    for batch in numbers:
        view = rows(*([math.cos(math.radians(a)), math.sin(math.radians(a))] for a in batch))
        model([view, 7 * view]).backward()
        model.after_step(0.5)


def angles(model):
    x, y = model.queue.unbind(1)
    return [round(angle) for angle in torch.atan2(y, x).rad2deg().tolist()]


def test_the_oldest_leave_first_whatever_the_batch(spy_learner, rows):
    """Five places and batches of two: 5 is no multiple of 2, and nothing is lost or doubled."""
    model = spy_learner(BARE, width=2, plain=True)
    before = angles(model)
    steps(model, rows, [10, 20])
    assert angles(model) == [*before[2:], 10, 20]
    steps(model, rows, [30, 40], [50, 60])
    assert angles(model) == [20, 30, 40, 50, 60]
    assert torch.allclose(model.queue.norm(dim=1), torch.ones(5))


def test_a_batch_longer_than_the_queue_leaves_its_last_keys(spy_learner, rows):
    model = spy_learner(MoCoV2(projector=0, queue=3), width=2, plain=True)
    steps(model, rows, [10, 20, 30, 40])
    assert angles(model) == [20, 30, 40]


def test_the_queue_holds_the_keys_of_all_processes_and_changes_after_the_step(spy_learner, rows):
    model = spy_learner(BARE, width=2, plain=True)
    before = model.queue.clone()
    model.gather = lambda mine: torch.cat([-mine, mine])
    model([rows([1, 0], [0, 1]), rows([1, 0], [0, 1])])
    assert torch.equal(model.queue, before)
    model.after_step(0.5)
    torch.testing.assert_close(model.queue[1:], torch.tensor([[-1.0, 0], [0, -1], [1, 0], [0, 1]]))
    assert torch.equal(model.queue[0], before[4])


def test_the_queue_starts_as_random_directions_of_the_seed(spy_learner):
    first, second = spy_learner(BARE), spy_learner(BARE)
    assert torch.equal(first.queue, second.queue)
    assert "queue" in first.state_dict()
    torch.testing.assert_close(first.queue.norm(dim=1), torch.ones(5))


def test_the_momentum_is_the_same_throughout(spy_learner):
    """A slow 1 and an online 3 become 0.9 * 1 + 0.1 * 3, at the last step as at the first."""
    for done in (0.1, 1.0):
        model = spy_learner(BARE)
        with torch.no_grad():
            model.backbone.linear.weight.fill_(3.0)
            model.momentum[0].linear.weight.fill_(1.0)
        model.after_step(done)
        torch.testing.assert_close(model.momentum[0].linear.weight, torch.full((4, 4), 1.2))


def test_the_papers_own_head(spy_learner):
    model = spy_learner(MoCoV2(queue=2))
    assert [tuple(p.shape) for p in model.projector.parameters()] == [(2048, 4), (2048,), (128, 2048), (128,)]
    assert model.queue.shape == (2, 128)
    assert MoCoV2().queue == 65536


@pytest.mark.parametrize(
    "bad",
    [{"projector": -1}, {"hidden": 0}, {"output": 0}, {"queue": 0}, {"temperature": 0.0}, {"momentum": 1.01}],
)
def test_options_out_of_range(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        MoCoV2(**bad)
