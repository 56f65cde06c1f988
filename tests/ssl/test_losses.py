"""Heads, and their losses by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bench.seeds import Seeds
from bench.ssl.losses import cosines, info_nce, mlp, nt_xent, queue_nce, similarities

EYE = torch.eye(2)
OWN, OTHER = torch.tensor([0, 1]), torch.tensor([1, 0])


def shapes(head):
    return [(m.in_features, m.out_features, m.bias is not None) for m in head if isinstance(m, nn.Linear)]


def kinds(head):
    return [type(m).__name__ for m in head]


def test_heads():
    """Layers, widths, and a last normalisation without scale: each output has mean 0 and deviation 1."""
    assert len(mlp(0, 4, 8, 2, last_norm=True)) == 0
    head = mlp(3, 4, 8, 2, last_norm=True)
    assert shapes(head) == [(4, 8, False), (8, 8, False), (8, 2, False)]
    out = head(torch.randn(64, 4, generator=Seeds(0).torch()))
    torch.testing.assert_close(out.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(0, correction=0), torch.ones(2), atol=1e-2, rtol=0)


def test_a_layer_that_is_not_normalised_has_a_bias():
    head = mlp(2, 4, 8, 2, last_norm=False)
    assert shapes(head) == [(4, 8, False), (8, 2, True)]
    assert kinds(head) == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    plain = mlp(2, 4, 8, 2, last_norm=False, norm=False)
    assert shapes(plain) == [(4, 8, True), (8, 2, True)]
    assert kinds(plain) == ["Linear", "ReLU", "Linear"]
    assert shapes(mlp(1, 4, 8, 2, last_norm=False)) == [(4, 2, True)]


def test_cosines_do_not_see_lengths():
    queries, keys = torch.tensor([[3.0, 0.0], [1.0, 1.0]]), torch.tensor([[-0.1, 0.0], [2.0, 0.0]])
    torch.testing.assert_close(cosines(queries, keys), torch.tensor([-1.0, math.sqrt(0.5)]))
    whole = similarities(queries, keys)
    torch.testing.assert_close(whole, torch.tensor([[-1.0, 1.0], [-math.sqrt(0.5), math.sqrt(0.5)]]))


def test_info_nce_by_hand():
    """Cosines 1 and 0 at temperature 1/2 are logits 2 and 0."""
    assert info_nce(3 * EYE, EYE, OWN, 0.5).item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert info_nce(EYE, EYE, OTHER, 0.5).item() == pytest.approx(math.log(1 + math.exp(2)))
    assert info_nce(EYE[1:], EYE, OWN[1:], 0.2).item() == pytest.approx(math.log(1 + math.exp(-5)))


def test_nt_xent_by_hand():
    """Of the four keys one is the query's own, and one the same image in its own view, which does not count."""
    own = math.log((math.exp(2) + 2) / math.exp(2))
    assert nt_xent(EYE, EYE, EYE, OWN, 0.5).item() == pytest.approx(own)
    assert nt_xent(EYE, EYE, -EYE, OWN, 0.5).item() == pytest.approx(own)
    assert nt_xent(EYE, EYE, EYE, OTHER, 0.5).item() == pytest.approx(math.log(1 + 2 * math.exp(2)))


def test_queue_nce_by_hand():
    """The own key's logit is 2, the queue's are 0, 2 and -2 for the first query and 2, 0, 0 for the second."""
    queue = torch.tensor([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])
    e = math.exp
    expected = [math.log((e(2) + 1 + e(2) + e(-2)) / e(2)), math.log((e(2) + e(2) + 1 + 1) / e(2))]
    assert queue_nce(EYE, 5 * EYE, queue, 0.5).item() == pytest.approx(sum(expected) / 2)
    assert queue_nce(EYE[:1], EYE[1:], queue[2:], 0.5).item() == pytest.approx(math.log(1 + e(-2)))
