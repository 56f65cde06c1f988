"""SimCLR against the textbook's loop, and in two processes."""

from __future__ import annotations

import math

import pytest
import torch

from bench.api import Mixed
from bench.ssl.simclr import SimCLR

BARE = SimCLR(projector=0, temperature=0.5)


def textbook(first, second, temperature):
    """SimCLR, equation 1 and algorithm 1: the mean over 2N images, each against all but itself."""
    z = torch.nn.functional.normalize(torch.cat([first, second]), dim=1)
    count, losses = len(z), []
    for i in range(count):
        weights = {k: torch.exp(z[i] @ z[k] / temperature) for k in range(count) if k != i}
        losses.append(-torch.log(weights[(i + count // 2) % count] / sum(weights.values())))
    return torch.stack(losses).mean()


def slope(model, loss):
    return torch.autograd.grad(loss, model.backbone.linear.weight)[0]


def test_two_views_by_hand(spy_learner, rows):
    """Each of the four images: its own key has logit 2, the two of the other image 0."""
    model = spy_learner(BARE, width=2, plain=True)
    view = rows([2, 0], [0, 1])
    assert model([view, view]).item() == pytest.approx(math.log(1 + 2 * math.exp(-2)))


def test_loss_and_gradient_are_the_textbooks(spy_learner, spy_views):
    """The gradient, too: keys take it as queries do."""
    model, (first, second) = spy_learner(BARE), spy_views(3, 3)
    loss = model([first, second])
    expected = textbook(model.backbone(first), model.backbone(second), 0.5)
    assert loss.item() == pytest.approx(expected.item())
    torch.testing.assert_close(slope(model, loss), slope(model, expected))


@pytest.mark.parametrize("mixed", [False, True])
def test_two_processes_are_one(spy_learner, spy_views, mixed):
    """The mean of their losses, and of their gradients as DistributedDataParallel takes it, are the whole batch's."""
    whole, views = spy_learner(BARE), spy_views(6, 6, 6)
    partners = torch.tensor([2, 1, 0, 5, 4, 3])
    changed = Mixed(views=[v.roll(1, 0) for v in views], partners=[partners] * 3, weights=[0.7, 0.2, 0.6])
    loss = whole(views, changed if mixed else None)
    asked = changed.views if mixed else views
    gathered = [*asked, *(views[:2] if mixed else [])]
    losses, slopes = [], []
    for rank, part in enumerate((slice(0, 3), slice(3, 6))):
        half = spy_learner(BARE)
        everyones = iter([half.backbone(v).detach() for v in gathered] + [partners] * 3)
        half.rank, half.gather = rank, lambda mine, everyones=everyones: next(everyones)
        mine = Mixed(
            views=[v[part] for v in changed.views], partners=[partners[part] - 3 * rank] * 3, weights=changed.weights
        )
        local = half([v[part] for v in views], mine if mixed else None)
        losses.append(local.item())
        slopes.append(slope(half, local))
    assert losses == [pytest.approx(loss.item())] * 2
    torch.testing.assert_close((slopes[0] + slopes[1]) / 2, slope(whole, loss))
    assert not torch.allclose(slopes[0], slopes[1])


def test_rows_of_a_process_are_told_as_rows_of_the_batch(spy_learner, spy_views):
    """Partners (local rows) reach the other processes as rows of the whole batch."""
    model, told = spy_learner(BARE), []
    model.rank, views = 1, spy_views(3, 3)

    def gather(mine):
        if mine.dtype == torch.int64:
            told.append(mine.tolist())
        return torch.cat([mine, mine])

    model.gather = gather
    model(views, Mixed(views=views, partners=[torch.tensor([2, 0, 1])] * 2, weights=[0.5, 0.5]))
    assert told == [[5, 3, 4]] * 2


@pytest.mark.parametrize("bad", [{"projector": -1}, {"hidden": 0}, {"output": 0}, {"temperature": 0.0}])
def test_options_out_of_range(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        SimCLR(**bad)
