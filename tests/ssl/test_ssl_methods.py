"""What holds for every SSL method: the pairs of views, mixed views, gradients, the loop, resuming."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.api import Mixed
from bench.config.config import load_config
from bench.data.images import ArrayImages
from bench.plugins.manager import Plugins
from bench.seeds import Seeds
from bench.ssl import train as module
from bench.ssl.byol import BYOL
from bench.ssl.moco_v2 import MoCoV2
from bench.ssl.moco_v3 import MoCoV3
from bench.ssl.settings import EncoderSettings, TrainSettings, ViewSettings
from bench.ssl.simclr import SimCLR
from bench.ssl.simsiam import SimSiam
from bench.ssl.train import Job, pretrain

# Without batch normalisation, a view's features are its own business.
BARE = {
    "moco_v3": MoCoV3(projector=0, predictor=0),
    "moco_v2": MoCoV2(projector=0, queue=5),
    "simclr": SimCLR(projector=0),
    "byol": BYOL(projector=0, predictor=1),
    "simsiam": SimSiam(projector=0, predictor=1),
}
HEADS = {
    "moco_v3": MoCoV3(hidden=8, output=4),
    "moco_v2": MoCoV2(hidden=8, output=4, queue=20),
    "simclr": SimCLR(hidden=8, output=4),
    "byol": BYOL(hidden=8, output=4),
    "simsiam": SimSiam(hidden=8, bottleneck=2, output=4),
}
RESNET = EncoderSettings(
    backbone="resnet18", options={"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}, stem="small"
)
VIT = EncoderSettings(
    backbone="vit_tiny_patch16_224", options={"depth": 1, "embed_dim": 48, "num_heads": 3, "patch_size": 8}
)
every_method = pytest.mark.parametrize("name", BARE)


def total(name, model, views):
    """The loss summed over its pairs (up to the method's factor): a local view has one with each key view."""
    return model(views).item() * (len(views) - 1) * (1 if name == "moco_v2" else 2)


@every_method
def test_local_views_are_queries_only(spy_learner, spy_views, name):
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
def test_weight_1_is_the_own_image_and_weight_0_the_partner(spy_learner, spy_views, name):
    """Views that show the partners alone ask for their keys: the same pairs in another order."""
    model, views = spy_learner(BARE[name]), spy_views(3, 3, 3)
    partners = [view[PARTNERS] for view in views]
    unmixed = model(views).item()
    assert model(views, mixed(views, PARTNERS, 1.0)).item() == pytest.approx(unmixed)
    assert model(views, mixed(partners, PARTNERS, 0.0)).item() == pytest.approx(unmixed)
    assert model(views, mixed(partners, PARTNERS, 1.0)).item() != pytest.approx(unmixed)
    assert model(views, mixed(views, PARTNERS, 0.0)).item() != pytest.approx(unmixed)


@every_method
def test_between_them_the_loss_is_the_weighted_sum(spy_learner, spy_views, name):
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
def test_each_view_has_partners_of_its_own(spy_learner, spy_views, name, view):
    model, views = spy_learner(BARE[name]), spy_views(3, 3, 3)
    partners = [PARTNERS] * 3
    partners[view] = PARTNERS.flip(0)
    before = model(views, mixed(views, PARTNERS, 0.5)).item()
    after = model(views, Mixed(views=views, partners=partners, weights=[0.5] * 3)).item()
    assert (after == before) == (name == "moco_v2" and view == 1)


@every_method
@pytest.mark.parametrize("change", [False, True])
def test_all_that_learns_takes_a_gradient_and_nothing_else(spy_learner, spy_views, name, change):
    model, views = spy_learner(HEADS[name]), spy_views(6, 6, 6)
    model(views, mixed(views, torch.arange(6).roll(1), 0.4) if change else None).backward()
    slow = [p for key, p in model.named_parameters() if key.startswith("momentum")]
    online = [p for key, p in model.named_parameters() if not key.startswith("momentum")]
    assert all(p.grad is None and not p.requires_grad for p in slow)
    assert bool(slow) == (name in ("moco_v3", "moco_v2", "byol"))
    assert all(p.grad is not None for p in online)
    assert all(p.grad.abs().sum() > 0 for p in online if p.dim() > 1)


def job(folder, method, encoder=RESNET, count=16, **train):
    """`count` images of their own colours, a batch of eight: two steps an epoch, one local view."""
    work, scratch = folder / "work", folder / "scratch"
    for each in (work, scratch):
        each.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32)).astype(np.uint8)
    options = {"epochs": 2, "batch": 8, "lr": 0.02, "warmup": 0, "precision": "32", **train}
    views = ViewSettings(scale=(0.3, 1.0), blur_p=(0.0, 0.0), local_count=1, local_size=16)
    return Job(
        images=ArrayImages(pixels),
        method=method,
        encoder=encoder,
        views=views,
        train=TrainSettings(**options),
        seeds=Seeds(0),
        work=work,
        scratch=scratch,
    )


def outcome(one):
    return (one.work / "encoder.safetensors").read_bytes(), (one.work / "curve.json").read_text()


@every_method
@pytest.mark.parametrize("encoder", [RESNET, VIT], ids=["resnet", "vit"])
def test_three_steps_through_the_loop(tmp_path, name, encoder):
    told = []
    one = job(tmp_path, HEADS[name], encoder, max_steps=3)
    pretrain(one, lambda done, total, *_: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert (one.work / "encoder.safetensors").stat().st_size > 1000


class Killed(BaseException):
    """What no handler of errors catches."""


@pytest.mark.usefixtures("global_rng")
@every_method
def test_killed_in_the_middle_and_resumed_it_is_the_unbroken_run(tmp_path, monkeypatch, name):
    """Two steps and two more are four steps: the checkpoint holds heads, momentum copy and queue."""
    whole, halves = job(tmp_path / "whole", HEADS[name]), job(tmp_path / "halves", HEADS[name])
    pretrain(whole, lambda *_: None)
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", -1.0)

    def die(done, *_):
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        pretrain(halves, die)
    told = []
    pretrain(halves, lambda done, *_: told.append(done))
    assert told == [3, 4]
    assert outcome(halves) == outcome(whole)


@every_method
def test_bf16_gives_a_finite_loss(spy_learner, spy_views, name):
    model = spy_learner(HEADS[name])
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(spy_views(6, 6, 6))
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


@every_method
@pytest.mark.parametrize("preset", ["smoke", "laptop"])
def test_small_presets_have_a_method_without_a_projector(preset, name):
    """And a predictor where the encoder would collapse without."""
    method = load_config(Plugins.load(), preset, choices={"ssl": name}).ssl
    assert (method.name, method.projector) == (name, 0)
    assert getattr(method, "predictor", 0) == (2 if name in ("byol", "simsiam") else 0)
