"""The loop: the same bytes from the same seed, after any kill, in two processes, and on two nodes.

Run as a script (`python test_train.py FOLDER STORE EPOCHS`), it is the second of two nodes that train the job of
`transformer` in FOLDER.
"""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from safetensors.torch import load, load_file

from bench.api import Mixed, TrainingDefense
from bench.data.images import ArrayImages
from bench.defenses.repair import Distill, FineTune
from bench.errors import BenchError
from bench.parallel.nodes import environment, joined
from bench.seeds import Seeds
from bench.ssl import train as module
from bench.ssl.byol import BYOL
from bench.ssl.dino import DINO
from bench.ssl.learner import MomentumLearner
from bench.ssl.moco_v2 import MoCoV2
from bench.ssl.moco_v3 import MoCoV3
from bench.ssl.settings import EncoderSettings, TrainSettings, ViewSettings
from bench.ssl.simclr import SimCLR
from bench.ssl.simsiam import SimSiam
from bench.ssl.train import Job, make_learner, make_views, pretrain, resolve_precision, synchronised, view_specs

RESNET = EncoderSettings(
    backbone="resnet18", options={"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}, stem="small"
)
VIT = EncoderSettings(
    backbone="vit_tiny_patch16_224", options={"depth": 1, "embed_dim": 48, "num_heads": 3, "patch_size": 8}
)
VIEWS = ViewSettings(scale=(0.3, 1.0), blur_p=(0.0, 0.0), solarise_p=(0.0, 0.2), local_count=1, local_size=16)
TRAIN = TrainSettings(epochs=8, batch=16, lr=0.02, weight_decay=0.05, warmup=1, precision="32")


BARE = MoCoV3(projector=0, predictor=0, momentum=0.9)
HEADS = (
    MoCoV3(hidden=8, output=4),
    MoCoV2(hidden=8, output=4, queue=20),
    SimCLR(hidden=8, output=4),
    BYOL(hidden=8, output=4),
    SimSiam(hidden=8, bottleneck=2, output=4),
    DINO(hidden=8, output=4, prototypes=20),
)


def pixels(count=16):
    """Every image has its colour, under noise: something to learn."""
    draw = np.random.default_rng(0)
    colours = draw.integers(40, 216, (count, 3))[:, :, None, None]
    return (colours + draw.integers(-40, 40, (count, 3, 32, 32))).astype(np.uint8)


def job(folder, seed=0, encoder=RESNET, views=VIEWS, count=16, method=BARE, **train):
    """Sixteen images in one batch: every step is an epoch, so that the curve holds every loss."""
    work, scratch = Path(folder) / "work", Path(folder) / "scratch"
    for each in (work, scratch):
        each.mkdir(parents=True, exist_ok=True)
    return Job(
        images=ArrayImages(pixels(count)),
        method=method,
        encoder=encoder,
        views=views,
        train=dataclasses.replace(TRAIN, **train),
        threads=1,
        seeds=Seeds(seed),
        work=work,
        scratch=scratch,
    )


def nobody(*_):
    """A report that nobody reads."""


def outcome(one):
    return (one.work / "encoder.safetensors").read_bytes(), losses(one)


def losses(one):
    return json.loads((one.work / "curve.json").read_text())["loss_per_epoch"]


@pytest.fixture(scope="module")
def unbroken_of(tmp_path_factory):
    """unbroken_of(method) -> the outcome of the job, trained without a stop."""

    @cache
    def make(method):
        one = job(tmp_path_factory.mktemp("unbroken"), method=method)
        pretrain(one, nobody)
        return outcome(one)

    return make


@pytest.fixture
def unbroken(unbroken_of):
    return unbroken_of(BARE)


@pytest.fixture
def every_step(monkeypatch):
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", -1.0)


@pytest.mark.usefixtures("global_rng")
def test_the_same_seed_gives_the_same_bytes(tmp_path, unbroken):
    told = []
    again = job(tmp_path / "again")
    pretrain(again, lambda *at: told.append(at))
    assert outcome(again) == unbroken
    assert [at[:2] for at in told] == [(step, 8) for step in range(1, 9)]
    means = np.array([at[2] for at in told]).reshape(len(losses(again)), -1).mean(1)
    np.testing.assert_allclose(means, losses(again))
    assert [at[3] for at in told] == [again.schedule.lr(step) for step in range(8)]
    other = job(tmp_path / "other", seed=1)
    pretrain(other, nobody)
    assert outcome(other)[0] != unbroken[0]
    assert losses(other) != unbroken[1]


def test_a_training_computes_with_its_threads_and_leaves_those_of_the_process(tmp_path):
    before, seen = torch.get_num_threads(), []
    one = dataclasses.replace(job(tmp_path, max_steps=1), threads=2)
    pretrain(one, lambda *_: seen.append(torch.get_num_threads()))
    assert (seen, torch.get_num_threads()) == ([2], before)


def test_the_loss_falls(tmp_path):
    """Chance is 4T ln 16 = 2.2; the images are told apart by their colours, which nothing changes here."""
    easy = dataclasses.replace(VIEWS, scale=(0.5, 1.0), jitter_p=0.0, grey_p=0.0)
    one = job(tmp_path, views=easy, epochs=16, lr=0.2)
    pretrain(one, nobody)
    found = losses(one)
    assert np.mean(found[-4:]) < 0.75 * found[0], found


class Killed(BaseException):
    """What no handler of errors catches."""


def dying(at):
    """A report that kills the training at step `at`."""

    def report(done, *_):
        if done == at:
            raise Killed

    return report


@pytest.mark.usefixtures("every_step", "global_rng")
@pytest.mark.parametrize(
    ("method", "step"),
    [(BARE, 1), (BARE, 5), (BARE, 8), *((method, 3) for method in HEADS)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_killed_at_a_step_and_resumed_it_is_the_unbroken_run(tmp_path, unbroken_of, method, step):
    """The checkpoint holds heads, momentum copy and queue; a finished training is not trained again."""
    one, told = job(tmp_path, method=method), []
    with pytest.raises(Killed):
        pretrain(one, dying(step))
    assert not list(one.work.iterdir())
    for _ in range(2):
        pretrain(one, lambda done, *_: told.append(done))
        assert outcome(one) == unbroken_of(method)
        assert told == list(range(step, 9))  # the checkpoint of a step is written after its report


@pytest.mark.parametrize("method", HEADS, ids=lambda method: method.name)
def test_a_transformer_through_the_loop(tmp_path, method):
    told, one = [], job(tmp_path, method=method, encoder=VIT, max_steps=3)
    pretrain(one, lambda done, total, *_: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert all(np.isfinite(losses(one)))


def transformer(folder, **train):
    """No batch normalisation: it would see its own half only."""
    return job(folder, encoder=VIT, lr=0.005, **{"epochs": 3, **train})


def check_same(one, two):
    """Within float tolerance: sums are in another order."""
    assert losses(two) == pytest.approx(losses(one), abs=1e-5)
    assert len(set(losses(one))) == len(losses(one))
    alone, together = (load_file(each.work / "encoder.safetensors") for each in (one, two))
    assert alone.keys() == together.keys()
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, atol=2e-4, rtol=0)


@pytest.mark.parametrize("method", [BARE, HEADS[-1]], ids=lambda method: method.name)
def test_two_processes_train_as_one(tmp_path, monkeypatch, method):
    """Whatever a launcher of other things left in the environment. DINO gathers its centre, the other its keys."""
    for name in ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_NODEID", "NODE_RANK", "GROUP_RANK", "RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "3")
    one, two = (transformer(tmp_path / name, method=method) for name in ("one", "two"))
    told = []
    pretrain(one, nobody, accelerator="cpu")
    pretrain(two, lambda done, total, *_: told.append((done, total)), devices=2, accelerator="cpu")
    assert told == [(1, 3), (2, 3), (3, 3)]
    check_same(one, two)


@contextlib.contextmanager
def other_node(store, folder, epochs=3):
    """(the group of this process and another one, that other process): torchrun's variables without torchrun."""
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port()), "WORLD_SIZE": "2"}
    first, second = ({**group, "RANK": each, "GROUP_RANK": each, "LOCAL_RANK": "0"} for each in "01")
    command = [sys.executable, __file__, str(folder), str(store), str(epochs)]
    with subprocess.Popen(
        command, env={**os.environ, **second}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as other:
        try:
            with environment(first), joined(60.0, {}, store, gpus=False) as found:
                yield found, other
            other.wait(60)
        finally:
            other.kill()


def pretrain_together(group, job, report):
    with group.training("key", "folder"):
        pretrain(job, report, accelerator="cpu", group=group)


@pytest.mark.slow
def test_two_nodes_resume_from_a_checkpoint_as_one_process(tmp_path, every_step):
    one, two = transformer(tmp_path / "one"), transformer(tmp_path / "two")
    pretrain(one, nobody, accelerator="cpu")
    told = []
    with pytest.raises(Killed):
        pretrain(two, dying(2), accelerator="cpu")
    with other_node(tmp_path, tmp_path / "two") as (group, other):
        pretrain_together(group, two, lambda done, *_: told.append(done))
    assert (other.communicate(timeout=60)[0], other.returncode) == ("", 0)
    assert told == [2, 3]
    check_same(one, two)


def test_nodes_that_do_not_see_the_same_checkpoint(tmp_path, monkeypatch):
    """A Fabric of two processes, of which the other one found no checkpoint."""
    monkeypatch.setattr(Fabric, "world_size", 2)
    monkeypatch.setattr(Fabric, "all_gather", lambda self, step: torch.stack([step, step + 1]))
    with pytest.raises(
        BenchError, match=r"different steps \(0, 1\): the store must lie on a file system that all nodes"
    ):
        pretrain(job(tmp_path), nobody, accelerator="cpu")


@pytest.mark.slow
def test_a_node_that_is_killed_ends_the_training_of_all(tmp_path):
    two, told = transformer(tmp_path, epochs=100_000), []

    def kill(done, *_):
        told.append(done)
        if done == 3:
            other.kill()

    with (
        pytest.raises(BenchError, match=r"broke off: .*(losed|reset|terminated)"),  # by the peer, says gloo
        other_node(tmp_path, tmp_path, epochs=100_000) as (group, other),
    ):
        pretrain_together(group, two, kill)
    assert 3 <= len(told) < 1000


def test_batch_normalisation_over_devices_that_cannot_is_refused_before_anything_is_computed(tmp_path):
    with pytest.raises(BenchError, match=r"sync_batchnorm is for GPUs: .* over 2 devices of kind 'cpu'"):
        pretrain(job(tmp_path, sync_batchnorm=True), nobody, devices=2, accelerator="cpu")
    assert not list(tmp_path.glob("*/*"))


def test_batch_normalisation_over_one_device_is_as_ever(tmp_path, unbroken):
    one = job(tmp_path, sync_batchnorm=True)
    pretrain(one, nobody, accelerator="cpu")
    assert outcome(one) == unbroken


def test_normalisations_of_encoder_and_heads_are_synchronised_under_their_names(tmp_path):
    learner = make_learner(job(tmp_path, method=HEADS[0]))
    names, norms = list(learner.state_dict()), batch_norms(learner)
    converted = synchronised(learner)
    assert list(converted.state_dict()) == names
    assert batch_norms(converted).keys() == norms.keys()
    assert {type(layer) for layer in batch_norms(converted).values()} == {torch.nn.SyncBatchNorm}
    assert any(name.startswith("projector") for name in norms)
    norm = timm.layers.BatchNormAct2d(4).eval()  # a normalisation and what comes after it in one: negatives become 0
    images = torch.randn(2, 4, 3, 3, generator=Seeds(0).torch())
    assert torch.equal(synchronised(torch.nn.Sequential(norm)).eval()[0].act(images), images.relu())


def batch_norms(model):
    return {
        name: each for name, each in model.named_modules() if isinstance(each, torch.nn.modules.batchnorm._BatchNorm)
    }


class FakeFabric:
    """Starts nothing: runs the function here, and loses the kind of its error as torch's spawn does."""

    device = torch.device("cpu")

    def launch(self, function, *arguments):
        try:
            function(self, *arguments)
        except Exception as error:
            raise RuntimeError("process 0 terminated with the following error") from error


@pytest.mark.parametrize("error", [BenchError("the loss became nan"), ValueError("a bug")])
def test_an_error_in_another_process_arrives_as_itself(tmp_path, monkeypatch, error):
    told = []

    def fails(fabric, one, report):
        report(1, 8, 2.5, 0.1)
        raise error

    monkeypatch.setattr(module, "make_fabric", lambda *_: FakeFabric())
    monkeypatch.setattr(module, "_train", fails)
    expected = (BenchError, "the loss became nan") if isinstance(error, BenchError) else (RuntimeError, "process 0")
    with pytest.raises(expected[0], match=expected[1]):
        pretrain(job(tmp_path), lambda *at: told.append(at), devices=2, accelerator="cpu")
    assert told == [(1, 8, 2.5, 0.1)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoder": EncoderSettings(backbone="resnt18")}, r"unknown timm backbone 'resnt18'.*'resnet18'"),
        ({"optimiser": "lambo"}, r"optimiser 'lambo' .*Did you mean 'lamb'\?"),
        ({"encoder": dataclasses.replace(RESNET, freeze_patch_embed=True)}, "no patch_embed"),
        ({"count": 15}, "15 training images are fewer than one batch of 16"),
        ({"lr": 1e30, "optimiser": "sgd", "warmup": 0}, r"training loss became nan; a lower train\.lr"),
        ({"batch": 15}, r"train\.batch 15 is not a multiple of the 2 devices"),
    ],
)
def test_settings_that_cannot_run(tmp_path, change, said):
    with pytest.raises(BenchError, match=said):
        pretrain(job(tmp_path, **change), nobody, devices=2 if "batch" in change else 1, accelerator="cpu")


@pytest.mark.parametrize("accelerator", ["bogus", "cuda", "mps"])
def test_an_accelerator_that_is_not_here(tmp_path, accelerator, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(BenchError, match=f"accelerator '{accelerator}'"):
        pretrain(job(tmp_path), nobody, accelerator=accelerator)


def test_a_frozen_patch_embedding_does_not_learn(tmp_path):
    one = job(tmp_path, encoder=dataclasses.replace(VIT, freeze_patch_embed=True), epochs=2)
    fresh = make_learner(one).backbone.state_dict()
    pretrain(one, nobody)
    trained = load_file(one.work / "encoder.safetensors")
    moved = {name for name, value in trained.items() if not torch.equal(value, fresh[name])}
    assert "blocks.0.attn.qkv.weight" in moved
    assert not {name for name in moved if name.startswith("patch_embed")}


def test_views_are_normalised_by_the_mean_and_deviation_that_are_set(tmp_path, monkeypatch):
    seen = []

    def keep(images, specs, *others):
        seen.append([(spec.mean, spec.std) for spec in specs])
        return make_views(images, specs, *others)

    monkeypatch.setattr(module, "make_views", keep)
    encoder = dataclasses.replace(RESNET, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    pretrain(job(tmp_path, encoder=encoder, max_steps=1), nobody)
    assert seen == [[((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))] * 3]


def test_views_of_a_part_of_the_batch_are_those_of_the_whole(tmp_path):
    one = job(tmp_path)
    specs, images = view_specs(VIEWS, 32), torch.from_numpy(pixels()).float() / 255
    assert [(spec.size, spec.scale, spec.solarise_p) for spec in specs] == [
        (32, (0.3, 1.0), 0.0),
        (32, (0.3, 1.0), 0.2),
        (16, (0.05, 0.25), 0.0),
    ]
    assert view_specs(dataclasses.replace(VIEWS, size=24), 32)[0].size == 24
    whole = make_views(images, specs, one, 3, slice(0, 16))
    assert [tuple(view.shape) for view in whole] == [(16, 3, 32, 32)] * 2 + [(16, 3, 16, 16)]
    part = make_views(images[8:], specs, one, 3, slice(8, 16))
    for mine, all_ in zip(part, whole, strict=True):
        torch.testing.assert_close(mine, all_[8:], atol=1e-5, rtol=0)
    later = make_views(images, specs, one, 4, slice(0, 16))
    assert not any(torch.allclose(now, then) for now, then in zip(whole, later, strict=True))
    assert not torch.allclose(whole[0], whole[1])


@pytest.mark.parametrize(
    ("wanted", "device", "native", "expected"),
    [
        ("auto", "cuda", True, "bf16"),
        ("auto", "cuda", False, "32"),
        ("auto", "cpu", True, "32"),
        ("32", "cuda", True, "32"),
        ("bf16", "cpu", False, "bf16"),
    ],
)
def test_auto_precision_is_bf16_on_gpus_that_have_it(monkeypatch, wanted, device, native, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: native)
    assert resolve_precision(wanted, torch.device(device)) == expected


def test_bf16_trains(tmp_path):
    one = job(tmp_path, precision="bf16", epochs=2)
    pretrain(one, nobody)
    saved = load_file(one.work / "encoder.safetensors")
    assert {value.dtype for value in saved.values()} <= {torch.float32, torch.int64}
    assert all(np.isfinite(losses(one)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Swap(TrainingDefense):
    """Every query shows the next image of the batch, whole; by `share` it is still to be matched to itself."""

    name = "swap"
    share: float = 0.0

    def mix(self, views, seeds):
        rows = torch.arange(len(views[0])).roll(1)
        return Mixed(views=[v[rows] for v in views], partners=[rows] * len(views), weights=[self.share] * len(views))


@pytest.mark.usefixtures("global_rng")
def test_a_training_change_reaches_the_loss(tmp_path, unbroken):
    """Shown and asked for the partner, the first step's loss is the unmixed one's; asked for itself, it is not."""
    changed = dataclasses.replace(job(tmp_path / "swap"), change=Swap())
    pretrain(changed, nobody)
    assert losses(changed)[0] == pytest.approx(unbroken[1][0], rel=1e-4)
    assert outcome(changed) != unbroken
    wrong = dataclasses.replace(job(tmp_path / "wrong"), change=Swap(share=1.0))
    pretrain(wrong, nobody)
    assert losses(wrong)[0] > unbroken[1][0] + 0.1


def test_an_ssl_method_that_takes_no_mixed_views(tmp_path, monkeypatch):
    monkeypatch.setattr(MomentumLearner, "forward", lambda self, views: views[0].sum())
    with pytest.raises(BenchError, match="SSL method 'moco_v3' cannot train with 'swap'"):
        make_learner(dataclasses.replace(job(tmp_path), change=Swap()))


def repairing(folder, repair, unbroken, **train):
    """A repair of the encoder that `unbroken` is the outcome of."""
    old = Path(folder) / "old.safetensors"
    one = job(folder, seed=5, **train)
    old.write_bytes(unbroken[0])
    return dataclasses.replace(one, repair=(repair, old))


def furthest(one, unbroken):
    """By how much a parameter of the new encoder differs from the old one's at most."""
    new, old = load_file(one.work / "encoder.safetensors"), load(unbroken[0])
    assert new.keys() == old.keys()
    return max(
        (new[name] - old[name]).abs().max().item() for name in old if "running" not in name and "num" not in name
    )


@pytest.mark.usefixtures("global_rng")
def test_fine_tuning_starts_from_the_old_encoder_and_distillation_does_not(tmp_path, unbroken):
    """With next to no learning rate each is where it began."""
    tuned = repairing(tmp_path / "tuned", FineTune(), unbroken, lr=1e-12, epochs=1)
    fresh = repairing(tmp_path / "fresh", Distill(anchors=8), unbroken, lr=1e-12, epochs=1)
    for one in (tuned, fresh):
        pretrain(one, nobody)
    assert furthest(tuned, unbroken) < 1e-6
    assert furthest(fresh, unbroken) > 0.01


@pytest.mark.usefixtures("every_step", "global_rng")
@pytest.mark.parametrize("repair", [FineTune(), Distill(anchors=20), Distill(loss="features")], ids=repr)
def test_a_repair_that_was_killed_resumes_and_leaves_the_old_encoder_as_it_was(tmp_path, unbroken, repair):
    """The checkpoint holds the banks; the old encoder's statistics in it are those of its file."""
    whole, stopped = (repairing(tmp_path / name, repair, unbroken) for name in ("whole", "stopped"))
    pretrain(whole, nobody)
    with pytest.raises(Killed):
        pretrain(stopped, dying(4))
    pretrain(stopped, nobody)
    assert outcome(stopped) == outcome(whole)
    assert outcome(whole)[0] != unbroken[0]
    state = load_file(whole.scratch / "checkpoint.safetensors")
    old = load(unbroken[0])
    held = {name: state[f"learner.old.{name}"] for name in old if f"learner.old.{name}" in state}
    assert len(held) == (0 if repair.name == "finetune" else len(old))
    assert all(torch.equal(value, old[name]) for name, value in held.items())


def test_a_student_learns_what_its_teacher_says(tmp_path, unbroken):
    one = repairing(tmp_path, Distill(loss="features"), unbroken, epochs=40, lr=0.1)
    pretrain(one, nobody)
    assert np.mean(losses(one)[-5:]) < 0.5 * losses(one)[0]


def test_two_processes_repair_as_one(tmp_path):
    """A bank is the same in both."""
    teacher = transformer(tmp_path / "teacher")
    pretrain(teacher, nobody, accelerator="cpu")
    made = []
    for devices in (1, 2):
        one = dataclasses.replace(
            transformer(tmp_path / str(devices)), repair=(Distill(anchors=24), teacher.work / "encoder.safetensors")
        )
        pretrain(one, nobody, devices=devices, accelerator="cpu")
        made.append(one)
    check_same(*made)


if __name__ == "__main__":
    with joined(60.0, {}, Path(sys.argv[2]), gpus=False) as group:
        for key, folder in group.trainings():
            with group.training(key, folder):
                pretrain(transformer(sys.argv[1], epochs=int(sys.argv[3])), nobody, accelerator="cpu", group=group)
