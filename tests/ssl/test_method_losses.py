"""Each SSL method by hand: its loss, its heads, what its momentum copy or queue does, its options."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cosine_similarity

from bench.api import Mixed
from bench.ssl.byol import BYOL
from bench.ssl.losses import info_nce, queue_nce
from bench.ssl.moco_v2 import MoCoV2
from bench.ssl.moco_v3 import MoCoV3
from bench.ssl.simclr import SimCLR
from bench.ssl.simsiam import SimSiam

MOCO3 = MoCoV3(projector=0, predictor=0, temperature=0.5, momentum=0.9)
MOCO2 = MoCoV2(projector=0, temperature=0.5, momentum=0.9, queue=5)
SIMCLR = SimCLR(projector=0, temperature=0.5)
BYOL1 = BYOL(projector=0, predictor=1, momentum=0.9)
SIMSIAM = SimSiam(projector=0, predictor=1)


def slope(model, loss):
    return torch.autograd.grad(loss, model.backbone.linear.weight)[0]


@pytest.mark.parametrize(
    ("method", "bad"),
    [
        (method, {name: value})
        for method, wrong in {
            MoCoV3: {"projector": -1, "predictor": -1, "temperature": 0.0, "momentum": 1.01},
            MoCoV2: {"projector": -1, "hidden": 0, "output": 0, "queue": 0, "temperature": 0.0, "momentum": 1.01},
            SimCLR: {"projector": -1, "hidden": 0, "output": 0, "temperature": 0.0},
            BYOL: {"projector": -1, "predictor": 0, "hidden": 0, "output": 0, "momentum": -0.1},
            SimSiam: {"projector": -1, "predictor": 0, "hidden": 0, "bottleneck": 0, "output": 0},
        }.items()
        for name, value in wrong.items()
    ],
)
def test_options_out_of_range(method, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        method(**bad)


@pytest.mark.parametrize(
    ("method", "projector", "predictor"),
    [
        (MoCoV2(queue=2), [(2048, 4), (128, 2048)], []),
        (BYOL(), [(4096, 4), (256, 4096)], [(4096, 256), (256, 4096)]),
        (SimSiam(), [(2048, 4), (2048, 2048), (2048, 2048)], [(512, 2048), (2048, 512)]),
        (MoCoV3(), [(4096, 4), (4096, 4096), (256, 4096)], [(4096, 256), (256, 4096)]),
        (SimCLR(), [(2048, 4), (128, 2048)], []),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_papers_own_heads(spy_learner, method, projector, predictor):
    model = spy_learner(method)
    for head, shapes in ((model.projector, projector), (model.predictor, predictor)):
        assert [tuple(p.shape) for p in head.parameters() if p.dim() == 2] == shapes


@pytest.mark.parametrize("method", [MOCO3, BYOL1])
@pytest.mark.parametrize(("done", "kept"), [(0.5, 0.95), (1.0, 1.0), (1 / 3, 0.925)])
def test_momentum_that_rises_by_a_cosine(spy_learner, method, done, kept):
    """From 0.9 to 1: a slow 1 and an online 3 become kept * 1 + (1 - kept) * 3."""
    assert_follows(spy_learner(method), done, kept)


@pytest.mark.parametrize("done", [0.1, 1.0])
def test_momentum_that_stays_the_same(spy_learner, done):
    assert_follows(spy_learner(MOCO2), done, 0.9)


def assert_follows(model, done, kept):
    with torch.no_grad():
        model.backbone.linear.weight.fill_(3.0)
        model.momentum[0].linear.weight.fill_(1.0)
    model.after_step(done)
    torch.testing.assert_close(model.momentum[0].linear.weight, torch.full((4, 4), kept + 3 * (1 - kept)))
    assert (model.backbone.linear.weight == 3).all()


def test_the_momentum_copy_starts_equal_and_apart(spy_learner):
    model = spy_learner(MoCoV3(projector=2, predictor=1, hidden=8, output=4))
    online, slow = [*model.backbone.parameters(), *model.projector.parameters()], list(model.momentum.parameters())
    assert len(online) == len(slow) == 5
    for one, other in zip(online, slow, strict=True):
        assert torch.equal(one, other)
        assert one.data_ptr() != other.data_ptr()
        assert not other.requires_grad


# --- MoCo-v3 ----------------------------------------------------------------------------------------------


def matched(queries, keys):
    """MoCo-v3's algorithm 1, query i's own key at i: InfoNCE times 2T = 1."""
    return info_nce(queries, keys, torch.arange(len(queries)), 0.5)


def test_moco_v3_scales_with_twice_the_temperature(spy_learner, rows):
    """Cosines 1 and 0 at temperature 1/5 are logits 5 and 0; both directions, so twice."""
    model = spy_learner(MoCoV3(projector=0, predictor=0, temperature=0.2), width=2, plain=True)
    view = rows([3, 0], [0, 0.5])
    assert model([view, view]).item() == pytest.approx(2 * 0.4 * math.log(1 + math.exp(-5)))


def test_moco_v3_is_the_symmetric_sum_over_pairs(spy_learner, spy_views):
    """Queries of all views against the keys of the two global ones, never a view against itself."""
    model, given = spy_learner(MOCO3), spy_views(3, 3, 3, 3)
    loss = model(given)
    assert model.backbone.calls == [3, 3, 6]
    assert model.momentum[0].calls == [3, 3]
    z = [model.backbone(view) for view in given]
    pairs = [(0, 1), (1, 0), (2, 0), (2, 1), (3, 0), (3, 1)]
    assert loss.item() == pytest.approx(2 * sum(matched(z[q], z[k]).item() for q, k in pairs) / 6)
    two = matched(z[0], z[1]) + matched(z[1], z[0])
    assert model(given[:2]).item() == pytest.approx(two.item())


def test_moco_v3_in_two_processes_sees_the_keys_of_both(spy_learner, spy_views):
    """Each half of a batch against the gathered keys: the mean of their losses is the whole batch's loss."""
    whole, (first, second) = spy_learner(MOCO3), spy_views(6, 6)
    keys = iter([whole.backbone(first), whole.backbone(second)] * 2)
    losses = []
    for rank, part in enumerate((slice(0, 3), slice(3, 6))):
        half = spy_learner(MOCO3)
        half.rank, half.gather = rank, lambda mine: next(keys).detach()
        losses.append(half([first[part], second[part]]).item())
    assert sum(losses) / 2 == pytest.approx(whole([first, second]).item())
    assert losses[0] != pytest.approx(losses[1])


def test_keys_stay_unmixed(spy_learner, spy_views):
    model, given, other = spy_learner(MOCO3), spy_views(2, 2), spy_views(2, 2, seed=9)
    z = [model.backbone(view) for view in (*given, *other)]
    found = model(given, Mixed(views=other, partners=[torch.tensor([0, 1])] * 2, weights=[0.3, 0.9]))
    assert found.item() == pytest.approx((matched(z[2], z[1]) + matched(z[3], z[0])).item())


# --- MoCo-v2 ----------------------------------------------------------------------------------------------


def test_moco_v2_by_hand(spy_learner, rows):
    """View 0 asks for view 1 only; the own key's logit is 2, the queue's five are 0 or -2."""
    model = spy_learner(MOCO2, width=2, plain=True)
    model.queue.copy_(torch.tensor([[0.0, 1.0]] * 4 + [[-1.0, 0.0]]))
    loss = model([rows([1, 0]), rows([4, 0])])
    assert loss.item() == pytest.approx(math.log(1 + (4 + math.exp(-2)) / math.exp(2)))


def test_moco_v2_has_view_1_as_its_only_key_and_no_query(spy_learner, spy_views):
    model, views = spy_learner(MOCO2), spy_views(3, 3, 3, 3)
    loss = model(views)
    assert (model.backbone.calls, model.momentum[0].calls) == ([3, 6], [3])
    z = [model.backbone(view) for view in views]
    expected = sum(queue_nce(z[v], z[1], model.queue, 0.5).item() for v in (0, 2, 3)) / 3
    assert loss.item() == pytest.approx(expected)


def angles(model, rows, *batches):
    """The queue's directions in degrees after one step for each of `batches`, an image per direction."""
    for batch in batches:
        view = rows(*([math.cos(math.radians(a)), math.sin(math.radians(a))] for a in batch))
        model([view, 7 * view]).backward()
        model.after_step(0.5)
    assert torch.allclose(model.queue.norm(dim=1), torch.ones(len(model.queue)))
    x, y = model.queue.unbind(1)
    return [round(angle) for angle in torch.atan2(y, x).rad2deg().tolist()]


def test_the_oldest_keys_leave_first_whatever_the_batch(spy_learner, rows):
    """Five places and batches of two: 5 is no multiple of 2, and nothing is lost or doubled."""
    model = spy_learner(MOCO2, width=2, plain=True)
    before = angles(model, rows)
    assert angles(model, rows, [10, 20]) == [*before[2:], 10, 20]
    assert angles(model, rows, [30, 40], [50, 60]) == [20, 30, 40, 50, 60]
    short = spy_learner(MoCoV2(projector=0, queue=3), width=2, plain=True)
    assert angles(short, rows, [10, 20, 30, 40]) == [20, 30, 40]


def test_the_queue_holds_the_keys_of_all_processes_and_changes_after_the_step(spy_learner, rows):
    model = spy_learner(MOCO2, width=2, plain=True)
    before = model.queue.clone()
    model.gather = lambda mine: torch.cat([-mine, mine])
    model([rows([1, 0], [0, 1]), rows([1, 0], [0, 1])])
    assert torch.equal(model.queue, before)
    model.after_step(0.5)
    torch.testing.assert_close(model.queue[1:], torch.tensor([[-1.0, 0], [0, -1], [1, 0], [0, 1]]))
    assert torch.equal(model.queue[0], before[4])


def test_the_queue_starts_as_random_directions_of_the_seed(spy_learner):
    first, second = spy_learner(MOCO2), spy_learner(MOCO2)
    assert torch.equal(first.queue, second.queue)
    assert "queue" in first.state_dict()
    assert (MoCoV2().queue, spy_learner(MoCoV2(queue=2)).queue.shape) == (65536, (2, 128))


# --- SimCLR -----------------------------------------------------------------------------------------------


def textbook(first, second, temperature):
    """SimCLR, equation 1 and algorithm 1: the mean over 2N images, each against all but itself."""
    z = torch.nn.functional.normalize(torch.cat([first, second]), dim=1)
    count, losses = len(z), []
    for i in range(count):
        weights = {k: torch.exp(z[i] @ z[k] / temperature) for k in range(count) if k != i}
        losses.append(-torch.log(weights[(i + count // 2) % count] / sum(weights.values())))
    return torch.stack(losses).mean()


def test_simclr_by_hand(spy_learner, rows):
    """Each of the four images: its own key has logit 2, the two of the other image 0."""
    model = spy_learner(SIMCLR, width=2, plain=True)
    view = rows([2, 0], [0, 1])
    assert model([view, view]).item() == pytest.approx(math.log(1 + 2 * math.exp(-2)))


def test_simclrs_loss_and_gradient_are_the_textbooks(spy_learner, spy_views):
    """The gradient, too: keys take it as queries do."""
    model, (first, second) = spy_learner(SIMCLR), spy_views(3, 3)
    loss, expected = model([first, second]), textbook(model.backbone(first), model.backbone(second), 0.5)
    assert loss.item() == pytest.approx(expected.item())
    torch.testing.assert_close(slope(model, loss), slope(model, expected))


@pytest.mark.parametrize("mixed", [False, True])
def test_simclr_in_two_processes_is_as_in_one(spy_learner, spy_views, mixed):
    """The mean of their losses, and of their gradients as DistributedDataParallel takes it, are the whole batch's."""
    whole, views = spy_learner(SIMCLR), spy_views(6, 6, 6)
    partners = torch.tensor([2, 1, 0, 5, 4, 3])
    changed = Mixed(views=[v.roll(1, 0) for v in views], partners=[partners] * 3, weights=[0.7, 0.2, 0.6])
    loss = whole(views, changed if mixed else None)
    gathered = [*(changed.views if mixed else views), *(views[:2] if mixed else [])]
    losses, slopes = [], []
    for rank, part in enumerate((slice(0, 3), slice(3, 6))):
        half = spy_learner(SIMCLR)
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


def test_partners_reach_other_processes_as_rows_of_the_whole_batch(spy_learner, spy_views):
    model, sent, views = spy_learner(SIMCLR), [], spy_views(3, 3)

    def gather(mine):
        if mine.dtype == torch.int64:
            sent.append(mine.tolist())
        return torch.cat([mine, mine])

    model.rank, model.gather = 1, gather
    model(views, Mixed(views=views, partners=[torch.tensor([2, 0, 1])] * 2, weights=[0.5, 0.5]))
    assert sent == [[5, 3, 4]] * 2


# --- BYOL and SimSiam -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("second", "cosine"), [([0, 5], 1.0), ([3, 0], 0.0), ([0, -1], -1.0), ([1, 1], 0.5**0.5)])
def test_byol_and_simsiam_by_hand(spy_learner, rows, second, cosine):
    """BYOL: 2 - 2 cos for each direction; SimSiam: the negative cosine; of any length."""
    views = [rows([0, 1]), rows(second)]
    assert spy_learner(BYOL1, width=2, plain=True)(views).item() == pytest.approx(4 - 4 * cosine, abs=1e-6)
    assert spy_learner(SIMSIAM, width=2, plain=True)(views).item() == pytest.approx(-cosine, abs=1e-6)


def test_byols_target_is_the_slow_copys(spy_learner, rows):
    """The slow copy turns by a right angle: where the views agree, prediction and target no longer do."""
    model = spy_learner(BYOL1, width=2, plain=True)
    with torch.no_grad():
        model.momentum[0].linear.weight.copy_(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]))
    view = rows([0, 1], [1, 0])
    assert model([view, view]).item() == pytest.approx(4.0)
    assert model.momentum[0].calls == [2, 2]


def test_simsiam_has_no_gradient_into_the_targets_and_encodes_unmixed_views_once(spy_learner, spy_views):
    model, (first, second) = spy_learner(SIMSIAM), spy_views(3, 3)

    def expected(still):
        z1, z2 = model.backbone(first), model.backbone(second)
        pairs = [(model.predictor(z1), still(z2)), (model.predictor(z2), still(z1))]
        return -sum(cosine_similarity(p, z).mean() for p, z in pairs) / 2

    loss = model([first, second])
    assert model.backbone.calls == [3, 3]
    assert loss.item() == pytest.approx(expected(torch.detach).item())
    torch.testing.assert_close(slope(model, loss), slope(model, expected(torch.detach)))
    assert not torch.allclose(slope(model, expected(torch.detach)), slope(model, expected(lambda z: z)))
