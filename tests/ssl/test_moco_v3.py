"""MoCo-v3: the loss and the momentum encoder against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bench.api import Mixed
from bench.seeds import Seeds
from bench.ssl.learners.moco_v3 import matched
from bench.ssl.moco_v3 import MoCoV3

BARE = MoCoV3(projector=0, predictor=0, temperature=0.5, momentum=0.9)


class Spy(nn.Module):
    """Flattens, then one linear layer; remembers how many images came at once."""

    def __init__(self, width=4):
        super().__init__()
        self.linear, self.calls = nn.Linear(width, width, bias=False), []

    def forward(self, images):
        self.calls.append(len(images))
        return self.linear(images.flatten(1))


def views(*counts, width=4, seed=0):
    generator = Seeds(seed).torch()
    return [torch.randn(count, width, 1, 1, generator=generator) for count in counts]


def learner(options=BARE, width=4):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return options.learner(Spy(width), width)


# Cosines 1 and 0 at temperature 1/2 are logits 2 and 0; times 2T = 1.
MATCHED, MISMATCHED = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))


def info_nce(queries, keys, temperature, offset=0):
    """Query i's own key at offset + i."""
    return matched(queries, keys, torch.arange(offset, offset + len(queries)), temperature)


def test_info_nce_by_hand():
    queries, keys = torch.tensor([[3.0, 0], [0, 0.5]]), torch.eye(2)
    assert info_nce(queries, keys, 0.5).item() == pytest.approx(MATCHED)
    assert info_nce(queries, keys.flip(0), 0.5).item() == pytest.approx(MISMATCHED)
    assert info_nce(queries, torch.ones(2, 2), 0.5).item() == pytest.approx(math.log(2))


def test_info_nce_scales_with_twice_the_temperature():
    queries, keys = torch.eye(2), torch.eye(2)
    assert info_nce(queries, keys, 0.2).item() == pytest.approx(0.4 * math.log(1 + math.exp(-5)))


def test_the_offset_says_which_key_is_ones_own():
    query, keys = torch.tensor([[0.0, 1.0]]), torch.eye(2)
    assert info_nce(query, keys, 0.5, offset=1).item() == pytest.approx(MATCHED)
    assert info_nce(query, keys, 0.5, offset=0).item() == pytest.approx(MISMATCHED)


def test_two_views_give_the_symmetric_sum():
    """Query 1 against key 2 and query 2 against key 1, never a view against itself."""
    model = learner()
    first, second = views(3, 3)
    encode = model.backbone
    expected = info_nce(encode(first), encode(second), 0.5) + info_nce(encode(second), encode(first), 0.5)
    assert model([first, second]).item() == pytest.approx(expected.item())
    assert model([first, first]).item() < expected.item()


def test_local_views_are_queries_only():
    model, given = learner(), views(3, 3, 3, 3)
    loss = model(given)
    assert model.backbone.calls == [3, 3, 6]
    assert model.momentum[0].calls == [3, 3]
    q = [model.backbone(view) for view in given]
    pairs = [(0, 1), (1, 0), (2, 0), (2, 1), (3, 0), (3, 1)]
    expected = 2 * sum(info_nce(q[query], q[key], 0.5).item() for query, key in pairs) / 6
    assert loss.item() == pytest.approx(expected)


def test_keys_take_no_gradient_queries_do():
    model = learner(MoCoV3(projector=2, predictor=2, hidden=8, output=4))
    model(views(6, 6, 6)).backward()
    assert all(parameter.grad is None for parameter in model.momentum.parameters())
    online = [*model.backbone.parameters(), *model.projector.parameters(), *model.predictor.parameters()]
    assert all(parameter.grad.abs().sum() > 0 for parameter in online)


def test_two_processes_see_the_keys_of_both():
    """Each half of a batch against the gathered keys: the mean of their losses is the whole batch's loss."""
    whole, (first, second) = learner(), views(6, 6)
    keys = iter([whole.backbone(first), whole.backbone(second)] * 2)
    losses = []
    for rank, rows in enumerate((slice(0, 3), slice(3, 6))):
        half = learner()
        half.rank, half.gather = rank, lambda mine: next(keys).detach()
        losses.append(half([first[rows], second[rows]]).item())
    assert sum(losses) / 2 == pytest.approx(whole([first, second]).item())
    assert losses[0] != pytest.approx(losses[1])


@pytest.mark.parametrize(("done", "kept"), [(0.5, 0.95), (1.0, 1.0), (1 / 3, 0.925)])
def test_momentum_by_hand(done, kept):
    """From 0.9 to 1 by a cosine: a slow 1 and an online 3 become kept * 1 + (1 - kept) * 3."""
    model = learner()
    with torch.no_grad():
        model.backbone.linear.weight.fill_(3.0)
        model.momentum[0].linear.weight.fill_(1.0)
    model.after_step(done)
    torch.testing.assert_close(model.momentum[0].linear.weight, torch.full((4, 4), kept + 3 * (1 - kept)))
    assert (model.backbone.linear.weight == 3).all()


def test_the_momentum_copy_starts_equal_and_apart():
    model = learner(MoCoV3(projector=2, predictor=1, hidden=8, output=4))
    online = [*model.backbone.parameters(), *model.projector.parameters()]
    slow = list(model.momentum.parameters())
    assert len(online) == len(slow) == 5
    for one, other in zip(online, slow, strict=True):
        assert torch.equal(one, other)
        assert one.data_ptr() != other.data_ptr()
        assert not other.requires_grad


@pytest.mark.parametrize(
    "bad", [{"projector": -1}, {"predictor": -1}, {"temperature": 0.0}, {"momentum": 1.01}, {"momentum": -0.1}]
)
def test_options_out_of_range(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        MoCoV3(**bad)


def test_a_mixed_query_is_asked_for_both_of_its_images_by_weight():
    """Partners swap the two images; the loss of mixed views is linear in the two keys' losses."""
    model, given = learner(), views(2, 2)
    swapped = [torch.tensor([1, 0])] * 2

    def loss(*weights):
        return model(given, Mixed(views=given, partners=swapped, weights=weights)).item()

    assert loss(1, 1) == pytest.approx(model(given).item())
    crossed = [given[0].flip(0), given[1]]
    assert loss(0, 0) == pytest.approx(model(crossed).item()), "all on the partner: the keys exchanged"
    assert loss(0.75, 0.75) == pytest.approx(0.75 * loss(1, 1) + 0.25 * loss(0, 0))


def test_keys_stay_unmixed():
    model, given, other = learner(), views(2, 2), views(2, 2, seed=9)
    same = [torch.tensor([0, 1])] * 2
    first = info_nce(model.backbone(other[0]), model.backbone(given[1]), 0.5)
    second = info_nce(model.backbone(other[1]), model.backbone(given[0]), 0.5)
    found = model(given, Mixed(views=other, partners=same, weights=[0.3, 0.9]))
    assert found.item() == pytest.approx((first + second).item())
