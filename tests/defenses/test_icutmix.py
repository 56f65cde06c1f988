"""i-CutMix: what is pasted where, and what the loss is told of it."""

import pytest
import torch
from hypothesis import given, strategies as st

from bench import BenchError, Seeds
from bench.defenses.icutmix import ICutMix


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_the_box_lies_in_the_view_and_covers_at_most_half(seed, width):
    top, bottom, left, right = ICutMix().box(width, Seeds(seed))
    assert 0 <= top <= bottom <= width
    assert 0 <= left <= right <= width
    assert 2 * (bottom - top) * (right - left) <= width * width, "lambda is max(lambda, 1 - lambda)"


def test_a_box_by_hand(monkeypatch):
    """lambda 0.75 on 16 px: side 16 * sqrt(1/4) = 8; around row 2 cut off at the border, around column 9 whole."""
    middles = iter((2, 9))

    class Draws:
        def beta(self, a, b):
            assert (a, b) == (1.0, 1.0)
            return 0.75

        def integers(self, width):
            return next(middles)

    monkeypatch.setattr(Seeds, "numpy", lambda self: Draws())
    assert ICutMix().box(16, Seeds(0)) == (0, 6, 5, 13)


def test_a_mixed_batch_by_hand(monkeypatch):
    """The box of rows 0 to 6 and columns 5 to 13 of 16 px holds 48 of 256: lambda is 1 - 48/256 = 0.8125."""
    monkeypatch.setattr(ICutMix, "box", lambda self, width, seeds: (0, 6, 5, 13))
    monkeypatch.setattr(torch, "randperm", lambda count, generator: torch.tensor([1, 0]))
    mixed = ICutMix().mix([torch.stack([torch.zeros(3, 16, 16), torch.ones(3, 16, 16)])], Seeds(0))
    assert mixed.weights == [0.8125]
    assert mixed.partners[0].tolist() == [1, 0]
    assert mixed.views[0].sum((1, 2, 3)).tolist() == [3 * 48, 3 * 208]
    assert mixed.views[0][0, :, :6, 5:13].min() == 1


@given(st.integers(0, 200))
def test_each_view_shows_its_partner_in_one_box_and_its_weight_is_the_rest(seed):
    views = [torch.arange(5 * 3 * w * w).view(5, 3, w, w).float() for w in (12, 12, 6)]
    before = [view.clone() for view in views]
    mixed = ICutMix().mix(views, Seeds(seed))
    for own, kept, view, partner, weight in zip(before, views, mixed.views, mixed.partners, mixed.weights, strict=True):
        assert torch.equal(own, kept)
        assert sorted(partner.tolist()) == [0, 1, 2, 3, 4]
        pasted = (view != own).any(1)
        assert torch.equal(view, torch.where(pasted[:, None], own[partner], own))
        moved = partner != torch.arange(5)
        assert (1 - pasted[moved].float().mean((1, 2))).tolist() == pytest.approx([weight] * int(moved.sum()))


def test_views_draw_their_own_boxes():
    assert not torch.equal(*ICutMix().mix([torch.arange(8.0 * 3 * 32 * 32).view(8, 3, 32, 32)] * 2, Seeds(1)).views)


@pytest.mark.parametrize("alpha", [0, -1, float("nan")])
def test_alpha_must_be_above_zero(alpha):
    with pytest.raises(BenchError, match="alpha is"):
        ICutMix(alpha=alpha)
