"""SSL methods: what holds for each (pairs of views, mixed views, gradients, options), and each one's loss by hand."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from bench.api import Mixed
from bench.config.config import load_config
from bench.plugins.manager import Plugins
from bench.seeds import Seeds
from bench.ssl.byol import BYOL
from bench.ssl.dino import DINO
from bench.ssl.losses import info_nce, mlp, queue_nce
from bench.ssl.moco_v2 import MoCoV2
from bench.ssl.moco_v3 import MoCoV3
from bench.ssl.simclr import SimCLR
from bench.ssl.simsiam import SimSiam

# Without batch normalisation, a view's features are its own business.
MOCO3 = MoCoV3(projector=0, predictor=0, temperature=0.5, momentum=0.9)
MOCO2 = MoCoV2(projector=0, temperature=0.5, momentum=0.9, queue=5)
SIMCLR = SimCLR(projector=0, temperature=0.5)
BYOL1 = BYOL(projector=0, predictor=1, momentum=0.9)
SIMSIAM = SimSiam(projector=0, predictor=1)
DINO1 = DINO(projector=0, prototypes=5, momentum=0.9)
BARE = {method.name: method for method in (MOCO3, MOCO2, SIMCLR, BYOL1, SIMSIAM, DINO1)}
HEADS = {
    "moco_v3": MoCoV3(hidden=8, output=4),
    "moco_v2": MoCoV2(hidden=8, output=4, queue=20),
    "simclr": SimCLR(hidden=8, output=4),
    "byol": BYOL(hidden=8, output=4),
    "simsiam": SimSiam(hidden=8, bottleneck=2, output=4),
    "dino": DINO(hidden=8, output=4, prototypes=5),
}
every_method = pytest.mark.parametrize("name", BARE)


class Spy(nn.Module):
    """Flattens, then one linear layer; remembers how many images came at once."""

    def __init__(self, width):
        super().__init__()
        self.linear, self.calls = nn.Linear(width, width, bias=False), []

    def forward(self, images):
        self.calls.append(len(images))
        return self.linear(images.flatten(1))


def spy_learner(method, width=4, plain=False):
    """Its learner around a Spy, the same at every call; `plain` ones have no heads and W = 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = method.learner(Spy(width), width)
    if plain:
        model.predictor = nn.Identity()
        for encoder in (model.backbone, *([model.momentum[0]] if hasattr(model, "momentum") else [])):
            nn.init.eye_(encoder.linear.weight)
    return model


def spy_views(*counts, width=4, seed=0):
    """Views of so many random images, the same at every call."""
    generator = Seeds(seed).torch()
    return [torch.randn(count, width, 1, 1, generator=generator) for count in counts]


def rows(*images):
    """rows([1, 0], [0, 1]) -> a view of two images of two numbers each."""
    return torch.tensor(images, dtype=torch.float32)[:, :, None, None]


def slope(model, loss):
    return torch.autograd.grad(loss, model.backbone.linear.weight)[0]


# --- what holds for each ----------------------------------------------------------------------------------


def total(name, model, views):
    """The loss summed over its pairs (up to the method's factor): a local view has one with each key view."""
    return model(views).item() * (len(views) - 1) * (1 if name == "moco_v2" else 2)


@every_method
def test_local_views_are_queries_only(name):
    """Each adds pairs of its own to the sum and changes nothing else: it is no key, and no other view's negative."""
    model, (one, two, three, four) = spy_learner(BARE[name]), spy_views(3, 3, 3, 3)
    alone, both = total(name, model, [one, two]), total(name, model, [one, two, three, four])
    third, fourth = (total(name, model, [one, two, local]) - alone for local in (three, four))
    assert third != pytest.approx(fourth)
    assert both - alone == pytest.approx(third + fourth, rel=1e-5)


def mixed(views, partners, weight):
    return Mixed(views=views, partners=[partners] * len(views), weights=[weight] * len(views))


PARTNERS = torch.tensor([2, 0, 1])


@every_method
def test_weight_1_is_the_own_image_and_weight_0_the_partner(name):
    """Views that show the partners alone ask for their keys: the same pairs in another order."""
    model, views = spy_learner(BARE[name]), spy_views(3, 3, 3)
    partners = [view[PARTNERS] for view in views]
    unmixed = model(views).item()
    assert model(views, mixed(views, PARTNERS, 1.0)).item() == pytest.approx(unmixed)
    assert model(views, mixed(partners, PARTNERS, 0.0)).item() == pytest.approx(unmixed)
    assert model(views, mixed(partners, PARTNERS, 1.0)).item() != pytest.approx(unmixed)
    assert model(views, mixed(views, PARTNERS, 0.0)).item() != pytest.approx(unmixed)


@every_method
def test_between_them_the_loss_is_the_weighted_sum(name):
    """Each view by its own weight: with the same for all, a straight line; else, views differ."""
    model, views = spy_learner(BARE[name]), spy_views(3, 3, 3)
    asked = spy_views(3, 3, 3, seed=1)
    none, whole, some = (model(views, mixed(asked, PARTNERS, w)).item() for w in (0.0, 1.0, 0.3))
    assert some == pytest.approx(0.3 * whole + 0.7 * none)
    each = [
        model(views, Mixed(views=asked, partners=[PARTNERS] * 3, weights=np.eye(3)[v].tolist())).item() - none
        for v in range(3)
    ]
    assert sum(each) == pytest.approx(whole - none, abs=1e-5)
    assert (each[1] == 0) == (name == "moco_v2")  # its view 1 is no query


@every_method
@pytest.mark.parametrize("view", [0, 1, 2])
def test_each_view_has_partners_of_its_own(name, view):
    model, views = spy_learner(BARE[name]), spy_views(3, 3, 3)
    partners = [PARTNERS] * 3
    partners[view] = PARTNERS.flip(0)
    before = model(views, mixed(views, PARTNERS, 0.5)).item()
    after = model(views, Mixed(views=views, partners=partners, weights=[0.5] * 3)).item()
    assert (after == before) == (name == "moco_v2" and view == 1)


@every_method
@pytest.mark.parametrize("change", [False, True])
def test_all_that_learns_takes_a_gradient_and_nothing_else(name, change):
    model, views = spy_learner(HEADS[name]), spy_views(6, 6, 6)
    model(views, mixed(views, torch.arange(6).roll(1), 0.4) if change else None).backward()
    slow = [p for key, p in model.named_parameters() if key.startswith("momentum")]
    online = [p for key, p in model.named_parameters() if not key.startswith("momentum")]
    assert all(p.grad is None and not p.requires_grad for p in slow)
    assert bool(slow) == (name in ("moco_v3", "moco_v2", "byol", "dino"))
    assert all(p.grad is not None for p in online)
    assert all(p.grad.abs().sum() > 0 for p in online if p.dim() > 1)


@every_method
def test_bf16_gives_a_finite_loss(name):
    with torch.autocast("cpu", torch.bfloat16):
        loss = spy_learner(HEADS[name])(spy_views(6, 6, 6))
    assert (loss.dtype, bool(torch.isfinite(loss))) == (torch.float32, True)


@every_method
@pytest.mark.parametrize("preset", ["smoke", "laptop", "cifar10-cpu"])
def test_small_presets_leave_the_projector_out_where_a_method_learns_without(preset, name):
    """Those with negatives do, and DINO, which has prototypes; all do in the preset whose numbers mean nothing. A
    predictor stays where the encoder would collapse without."""
    method = load_config(Plugins.load(), preset, choices={"ssl": name}).ssl
    needed = preset != "smoke" and name in ("byol", "simsiam")
    assert (method.name, method.projector) == (name, 2 if needed else 0)
    assert getattr(method, "predictor", 0) == (2 if name in ("byol", "simsiam") else 0)


NUMBERS = [(m, each.name) for m in HEADS.values() for each in fields(m) if not isinstance(getattr(m, each.name), bool)]


@pytest.mark.parametrize(("method", "option"), NUMBERS)
def test_options_out_of_range(method, option):
    wrong = {"temperature": (0.0, math.nan), "momentum": (-0.1, 1.01), "warmup": (-0.1, 1.01)}
    wrong |= {head: (-1 if head in method.optional_heads else 0, 101) for head in ("projector", "predictor")}
    for bad in wrong.get(option.rpartition("_")[2], (0,)):
        with pytest.raises(ValueError, match=option):
            replace(method, **{option: bad})


@pytest.mark.parametrize(
    ("method", "projector", "predictor"),
    [
        (MoCoV2(queue=2), [(2048, 4), (128, 2048)], []),
        (BYOL(), [(4096, 4), (256, 4096)], [(4096, 256), (256, 4096)]),
        (SimSiam(), [(2048, 4), (2048, 2048), (2048, 2048)], [(512, 2048), (2048, 512)]),
        (MoCoV3(), [(4096, 4), (4096, 4096), (256, 4096)], [(4096, 256), (256, 4096)]),
        (SimCLR(), [(2048, 4), (128, 2048)], []),
        (DINO(), [(2048, 4), (2048, 2048), (256, 2048), (65536, 256)], []),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_papers_own_heads(method, projector, predictor):
    model = spy_learner(method)
    for head, shapes in ((model.projector, projector), (model.predictor, predictor)):
        assert [tuple(p.shape) for p in head.parameters() if p.dim() == 2] == shapes


def shapes(head):
    return [(m.in_features, m.out_features, m.bias is not None) for m in head if isinstance(m, nn.Linear)]


def test_heads():
    """Widths; a last normalisation without scale; a bias where none follows."""
    assert len(mlp(0, 4, 8, 2, last_norm=True)) == 0
    head = mlp(3, 4, 8, 2, last_norm=True)
    assert shapes(head) == [(4, 8, False), (8, 8, False), (8, 2, False)]
    out = head(torch.randn(64, 4, generator=Seeds(0).torch()))
    torch.testing.assert_close(out.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(0, correction=0), torch.ones(2), atol=1e-2, rtol=0)
    head, plain = mlp(2, 4, 8, 2, last_norm=False), mlp(2, 4, 8, 2, last_norm=False, norm=False)
    assert [type(part).__name__ for part in head] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert [type(part).__name__ for part in plain] == ["Linear", "ReLU", "Linear"]
    assert (shapes(head), shapes(plain)) == ([(4, 8, False), (8, 2, True)], [(4, 8, True), (8, 2, True)])
    assert shapes(mlp(1, 4, 8, 2, last_norm=False)) == [(4, 2, True)]
    smooth = mlp(2, 4, 8, 2, last_norm=False, norm=False, gelu=True)
    assert [type(part).__name__ for part in smooth] == ["Linear", "GELU", "Linear"]


@pytest.mark.parametrize(
    ("method", "done", "kept"),
    [(m, *at) for m in (MOCO3, BYOL1, DINO1) for at in ((0.5, 0.95), (1.0, 1.0), (1 / 3, 0.925))]
    + [(MOCO2, 0.1, 0.9), (MOCO2, 1.0, 0.9)],
)
def test_the_momentum_rises_by_a_cosine_or_stays(method, done, kept):
    """From 0.9 to 1: a slow 1 and an online 3 become kept * 1 + (1 - kept) * 3."""
    model = spy_learner(method)
    nn.init.constant_(model.backbone.linear.weight, 3.0)
    nn.init.constant_(model.momentum[0].linear.weight, 1.0)
    model.after_step(done)
    torch.testing.assert_close(model.momentum[0].linear.weight, torch.full((4, 4), kept + 3 * (1 - kept)))
    assert (model.backbone.linear.weight == 3).all()


def test_the_momentum_copy_starts_equal_and_apart():
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


def test_moco_v3_scales_with_twice_the_temperature():
    """Cosines 1 and 0 at temperature 1/5 are logits 5 and 0; both directions, so twice."""
    model = spy_learner(MoCoV3(projector=0, predictor=0, temperature=0.2), width=2, plain=True)
    view = rows([3, 0], [0, 0.5])
    assert model([view, view]).item() == pytest.approx(2 * 0.4 * math.log(1 + math.exp(-5)))


def test_moco_v3_is_the_symmetric_sum_over_pairs():
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


@pytest.mark.parametrize("method", [MOCO3, BYOL1])
def test_two_processes_see_the_keys_of_both(method):
    """Each half of a batch against the gathered keys: the mean of their losses is the whole batch's loss."""
    whole, (first, second) = spy_learner(method), spy_views(6, 6)
    keys = iter([whole.backbone(first), whole.backbone(second)] * 2)
    losses = []
    for rank, part in enumerate((slice(0, 3), slice(3, 6))):
        half = spy_learner(method)
        half.rank, half.gather = rank, lambda mine: next(keys).detach()
        losses.append(half([first[part], second[part]]).item())
    assert sum(losses) / 2 == pytest.approx(whole([first, second]).item())
    assert losses[0] != pytest.approx(losses[1])


def test_keys_stay_unmixed():
    model, given, other = spy_learner(MOCO3), spy_views(2, 2), spy_views(2, 2, seed=9)
    z = [model.backbone(view) for view in (*given, *other)]
    found = model(given, Mixed(views=other, partners=[torch.tensor([0, 1])] * 2, weights=[0.3, 0.9]))
    assert found.item() == pytest.approx((matched(z[2], z[1]) + matched(z[3], z[0])).item())


# --- MoCo-v2 ----------------------------------------------------------------------------------------------


def test_moco_v2_by_hand():
    """View 0 asks for view 1 only; each own key's logit is 2, the queue's five are 0 or -2, and 2 or 0."""
    model = spy_learner(MOCO2, width=2, plain=True)
    model.queue.copy_(torch.tensor([[0.0, 1.0]] * 4 + [[-1.0, 0.0]]))
    e, queries, keys = math.exp, rows([1, 0], [0, 3]), rows([4, 0], [0, 1])
    expected = [math.log(1 + (4 + e(-2)) / e(2)), math.log(1 + (4 * e(2) + 1) / e(2))]
    assert model([queries, keys]).item() == pytest.approx(sum(expected) / 2)


def test_moco_v2_has_view_1_as_its_only_key_and_no_query():
    model, views = spy_learner(MOCO2), spy_views(3, 3, 3, 3)
    loss = model(views)
    assert (model.backbone.calls, model.momentum[0].calls) == ([3, 6], [3])
    z = [model.backbone(view) for view in views]
    expected = sum(queue_nce(z[v], z[1], model.queue, 0.5).item() for v in (0, 2, 3)) / 3
    assert loss.item() == pytest.approx(expected)


def angles(model, *batches):
    """The queue's directions in degrees after one step for each of `batches`, an image per direction."""
    for batch in batches:
        view = rows(*([math.cos(math.radians(a)), math.sin(math.radians(a))] for a in batch))
        model([view, 7 * view]).backward()
        model.after_step(0.5)
    assert torch.allclose(model.queue.norm(dim=1), torch.ones(len(model.queue)))
    x, y = model.queue.unbind(1)
    return [round(angle) for angle in torch.atan2(y, x).rad2deg().tolist()]


def test_the_oldest_keys_leave_first_whatever_the_batch():
    """Five places and batches of two: 5 is no multiple of 2, and nothing is lost or doubled."""
    model = spy_learner(MOCO2, width=2, plain=True)
    before = angles(model)
    assert angles(model, [10, 20]) == [*before[2:], 10, 20]
    assert angles(model, [30, 40], [50, 60]) == [20, 30, 40, 50, 60]
    short = spy_learner(MoCoV2(projector=0, queue=3), width=2, plain=True)
    assert angles(short, [10, 20, 30, 40]) == [20, 30, 40]


def test_the_queue_holds_the_keys_of_all_processes_and_changes_after_the_step():
    model = spy_learner(MOCO2, width=2, plain=True)
    before = model.queue.clone()
    model.gather = lambda mine: torch.cat([-mine, mine])
    model([rows([1, 0], [0, 1]), rows([1, 0], [0, 1])])
    assert torch.equal(model.queue, before)
    model.after_step(0.5)
    torch.testing.assert_close(model.queue[1:], torch.tensor([[-1.0, 0], [0, -1], [1, 0], [0, 1]]))
    assert torch.equal(model.queue[0], before[4])


def test_the_queue_starts_as_random_directions_of_the_seed():
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


def test_simclrs_loss_and_gradient_are_the_textbooks():
    """The gradient, too: keys take it as queries do."""
    model, (first, second) = spy_learner(SIMCLR), spy_views(3, 3)
    loss, expected = model([first, second]), textbook(model.backbone(first), model.backbone(second), 0.5)
    assert loss.item() == pytest.approx(expected.item())
    torch.testing.assert_close(slope(model, loss), slope(model, expected))


@pytest.mark.parametrize("mixed", [False, True])
def test_simclr_in_two_processes_is_as_in_one(mixed):
    """The mean of their losses, and of their gradients as DistributedDataParallel takes it, are the whole batch's."""
    whole, views = spy_learner(SIMCLR), spy_views(6, 6, 6)
    partners = torch.tensor([2, 1, 0, 5, 4, 3])
    changed = Mixed(views=[v.roll(1, 0) for v in views], partners=[partners] * 3, weights=[0.7, 0.2, 0.6])
    loss = whole(views, changed if mixed else None)
    gathered = [*(changed.views if mixed else views), *(views[:2] if mixed else [])]
    losses, slopes = [], []
    for rank, part in enumerate((slice(0, 3), slice(3, 6))):
        half = spy_learner(SIMCLR)
        everyones = iter([half.backbone(v).detach() for v in gathered])

        def gather(sent, everyones=everyones, part=part):
            if sent.dtype == torch.int64:  # partners, as rows of the whole batch
                assert torch.equal(sent, partners[part])
                return partners
            return next(everyones)

        half.rank, half.gather = rank, gather
        mine = Mixed(
            views=[v[part] for v in changed.views], partners=[partners[part] - 3 * rank] * 3, weights=changed.weights
        )
        local = half([v[part] for v in views], mine if mixed else None)
        losses.append(local.item())
        slopes.append(slope(half, local))
    assert losses == [pytest.approx(loss.item())] * 2
    torch.testing.assert_close((slopes[0] + slopes[1]) / 2, slope(whole, loss))
    assert not torch.allclose(slopes[0], slopes[1])


# --- BYOL and SimSiam -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("second", "cosine"), [([0, 5], 1.0), ([3, 0], 0.0), ([0, -1], -1.0), ([1, 1], 0.5**0.5)])
def test_byol_and_simsiam_by_hand(second, cosine):
    """BYOL: 2 - 2 cos for each direction; SimSiam: the negative cosine; of any length."""
    views = [rows([0, 1]), rows(second)]
    assert spy_learner(BYOL1, width=2, plain=True)(views).item() == pytest.approx(4 - 4 * cosine, abs=1e-6)
    assert spy_learner(SIMSIAM, width=2, plain=True)(views).item() == pytest.approx(-cosine, abs=1e-6)


def test_byols_target_is_the_slow_copys():
    """The slow copy turns by a right angle: where the views agree, prediction and target no longer do."""
    model = spy_learner(BYOL1, width=2, plain=True)
    with torch.no_grad():
        model.momentum[0].linear.weight.copy_(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]))
    view = rows([0, 1], [1, 0])
    assert model([view, view]).item() == pytest.approx(4.0)
    assert model.momentum[0].calls == [2, 2]


def test_simsiam_has_no_gradient_into_the_targets_and_encodes_unmixed_views_once():
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


# --- DINO -------------------------------------------------------------------------------------------------


def dino_by_hand(**options):
    """Two prototypes, along the axes, and no head: of a view of one image with the cosines (c, s) to them, those are
    its outputs, of student and teacher."""
    model = spy_learner(DINO(projector=0, prototypes=2, warmup=0.5, **options), width=2, plain=True)
    for encoder in (model.projector, model.momentum[1]):
        with torch.no_grad():
            encoder[1].weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.2]]))
    return model


def test_dino_by_hand():
    """Outputs (1, 0) and (0.6, 0.8), centre (0.2, -0.4): less the centre (0.8, 0.4) and (0.4, 1.2), over 0.4: (2, 1)
    and (1, 3), the teacher's. The student's, over 0.5: (2, 0) and (1.2, 1.6).
    With s(x) = 1 / (1 + e^-x), the first view's aim is s(2 - 1) = 0.731059 and the second's s(1 - 3) = 0.119203; the
    student's log-shares of the first are (-0.126928, -2.126928), of the second (-0.913015, -0.513015).
    Second asked by the first's aim: 0.731059 x 0.913015 + 0.268941 x 0.513015 = 0.805439;
    first by the second's: 0.119203 x 0.126928 + 0.880797 x 2.126928 = 1.888522; their mean is 1.346980.
    """
    model = dino_by_hand(temperature=0.5, start_temperature=0.4)
    model.centre.copy_(torch.tensor([0.2, -0.4]))
    assert model([rows([7, 0]), rows([3, 4])]).item() == pytest.approx(1.346980, abs=1e-5)


def test_dinos_centre_follows_the_teachers_outputs_after_the_step():
    """Outputs (1, 0), (0, 1) and (0.6, 0.8), (0.6, 0.8): their mean is (0.55, 0.65); the local view is not among them.
    From (1, -1), with momentum 0.9: (0.955, -0.835)."""
    model = dino_by_hand(centre_momentum=0.9)
    model.centre.copy_(torch.tensor([1.0, -1.0]))
    model([rows([1, 0], [0, 2]), rows([3, 4], [6, 8]), rows([-1, 0], [-1, 0])])
    torch.testing.assert_close(model.centre, torch.tensor([1.0, -1.0]))
    model.after_step(0.1)
    torch.testing.assert_close(model.centre, torch.tensor([0.955, -0.835]))


def test_dinos_centre_is_that_of_all_processes():
    """Another process's two views gave (0, 1) and (1, 0): with the mean of ours, (0.55, 0.65), they are half each."""
    model = dino_by_hand(centre_momentum=0.5)
    model.gather = lambda mine: torch.cat([mine, torch.eye(2)])
    model([rows([1, 0], [0, 2]), rows([3, 4], [6, 8])])
    model.after_step(0.1)
    torch.testing.assert_close(model.centre, torch.tensor([0.2625, 0.2875]))


@pytest.mark.parametrize(("done", "temperature"), [(0.0, 0.04), (0.25, 0.055), (0.5, 0.07), (0.9, 0.07)])
def test_dinos_teacher_grows_milder_until_the_warm_up_ends(done, temperature):
    """The warm-up is half of the training here; where there is none, the last temperature holds from the start."""
    model = dino_by_hand()
    if done:
        model.after_step(done)
    assert model.state_dict()["teacher_temperature"].item() == pytest.approx(temperature)
    still = DINO(prototypes=2, warmup=0.0).learner(nn.Flatten(), 2)
    assert still.teacher_temperature.item() == pytest.approx(0.07)


def test_dinos_teacher_is_the_slow_copy_and_sees_global_views_only():
    model, views = spy_learner(DINO1), spy_views(3, 3, 3, 3)
    model(views)
    assert (model.backbone.calls, model.momentum[0].calls) == ([3, 3, 6], [3, 3])
    before = model(views).item()
    nn.init.zeros_(model.momentum[1][1].weight)  # no prototype is nearer than another: all aims are 1/5
    logits = [model.projector(model.backbone(view)) / 0.1 for view in views]
    even = sum(-z.log_softmax(1).mean().item() for z in (*logits[:2], *2 * logits[2:])) / 6
    assert model(views).item() == pytest.approx(even, rel=1e-5)
    assert before != pytest.approx(even)


def test_dinos_head_can_have_batch_normalisation():
    kinds = [[type(part) for part in spy_learner(DINO(norm=norm)).projector.modules()] for norm in (False, True)]
    assert [each.count(nn.BatchNorm1d) for each in kinds] == [0, 2]
