"""What runs at once gives what one after the other gives, in its order, with the same threads."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from bench import at_once
from bench.parallel import at_once as module
from bench.parallel.threads import computing_with
from bench.ssl.learner import MomentumLearner

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 3])
def cores(monkeypatch, request):
    monkeypatch.setattr(module, "cores", lambda: request.param)
    return request.param


def test_results_in_order_with_the_threads_of_the_caller(cores):
    seen = []

    def call(number):
        seen.append(threading.get_ident())
        return number, torch.get_num_threads()

    with computing_with(2):
        found = at_once([lambda n=n: call(n) for n in range(7)], CPU)
    assert found == [(number, 2) for number in range(7)]
    assert len(set(seen)) <= cores
    assert at_once([], CPU) == []


def test_they_do_run_at_once(monkeypatch):
    monkeypatch.setattr(module, "cores", lambda: 2)
    barrier = threading.Barrier(2, timeout=20)
    assert sorted(at_once([barrier.wait, barrier.wait], CPU)) == [0, 1]


def test_one_after_the_other_where_threads_would_compute_otherwise(monkeypatch):
    monkeypatch.setattr(module, "cores", lambda: 4)
    calls = [threading.get_ident] * 3
    assert set(at_once(calls, torch.device("meta"))) == {threading.get_ident()}
    with module.in_order():
        assert set(at_once(calls, CPU)) == {threading.get_ident()}
    with torch.autocast("cpu", torch.bfloat16):
        assert set(at_once(calls, CPU)) == {threading.get_ident()}


def test_the_first_failure_is_raised_when_all_have_ended(cores):
    ended = []

    def fail(text):
        ended.append(text)
        raise ValueError(text)

    with pytest.raises(ValueError, match="a"):
        at_once([lambda: fail("a"), lambda: ended.append("b")], CPU)
    assert ended == (["a"] if cores == 1 else ended)
    with pytest.raises(ValueError, match="c"):
        at_once([lambda: None, lambda: fail("c")], CPU)


class Mean:
    """A method whose loss is what queries and keys have in common."""

    def loss(self, learner, views, mixed):
        queries, keys = learner.queries_and_keys(dict(enumerate(views)), dict(enumerate(views[:2])))
        return sum((query * keys[0]).mean() for query in queries.values())


def learning(monkeypatch, count, *, dropout=0.0):
    """Loss, gradients and statistics of one step on so many cores, and which threads computed keys."""
    monkeypatch.setattr(module, "cores", lambda: count)
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(dropout), nn.Flatten())
    learner = MomentumLearner(Mean(), backbone, nn.Linear(8 * 14 * 14, 5)).train()
    where = []
    learner.momentum[0].register_forward_hook(lambda *_: where.append(threading.get_ident()))
    loss = learner([torch.rand(4, 3, 16, 16) for _ in range(4)])
    loss.backward()
    kept = [loss, *(p.grad for p in learner.parameters() if p.grad is not None), *learner.buffers()]
    return [each.detach().clone() for each in kept], set(where)


def test_a_momentum_learner_gives_the_same_numbers_on_one_core_and_on_two(monkeypatch):
    alone, here = learning(monkeypatch, 1)
    beside, elsewhere = learning(monkeypatch, 2)
    assert here == {threading.get_ident()} != elsewhere
    assert len(alone) == len(beside) > 5
    assert all(torch.equal(one, two) for one, two in zip(alone, beside, strict=True))


def test_passes_that_draw_are_made_in_order(monkeypatch):
    alone, _ = learning(monkeypatch, 1, dropout=0.5)
    beside, where = learning(monkeypatch, 2, dropout=0.5)
    assert where == {threading.get_ident()}
    assert all(torch.equal(one, two) for one, two in zip(alone, beside, strict=True))
