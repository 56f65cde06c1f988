"""Which stages a run consists of, and what makes two runs share one."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from bench.api import Defense, Verdict
from bench.config.combination import Combination
from bench.errors import BenchError, UndeclaredNeed
from bench.pipeline.events import silent
from bench.pipeline.pipeline import Pipeline
from bench.pipeline.poison import poison_stage
from bench.pipeline.runner import make_stage, make_stages
from bench.pipeline.stage import Machine
from bench.records.build import build_record
from bench.records.record import repair_cost
from bench.report.tables import cost as table
from bench.ssl import encoder, linear_probe as probe, train
from bench.ssl.import_weights import Checkpoint
from bench.store import Store, read_arrays

FIRST = ("poison", "threat", "threat_probe", "clean")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], []),
        (["train.loader_workers=3"], []),
        (["probe.epochs=3"], ["threat_probe"]),
        (["defense.masks=17"], ["clean"]),
        ({"defense": "none"}, ["clean"]),
        ({"defense": "poisoncam+icutmix"}, []),  # a combination shares its filter's search
        (["train.epochs=3"], ["threat", "threat_probe", "clean"]),
        (["train.precision=auto"], []),  # float32 on a CPU, as the preset has it
        (["train.precision=bf16"], ["threat", "threat_probe", "clean"]),
        (["threads=2"], ["threat", "threat_probe", "clean"]),
        (["views.flip=0"], ["threat", "threat_probe", "clean"]),
        (["encoder.options.channels=[8, 8, 8, 8]"], ["threat", "threat_probe", "clean"]),
        (["encoder.mean=[0.5, 0.5, 0.5]"], ["threat", "threat_probe", "clean"]),
        (["ssl.momentum=0.5"], ["threat", "threat_probe", "clean"]),
        (["attack.rate=0.6"], list(FIRST)),
        (["dataset.seed=1"], list(FIRST)),
        (["seed=1"], list(FIRST)),
    ],
)
def test_an_option_changes_the_stages_behind_it_and_no_others(workshop, settings, expected):
    other = workshop.pipeline(**settings) if isinstance(settings, dict) else workshop.pipeline(*settings)
    base = workshop.pipeline()
    assert [name for name in FIRST if getattr(base, name).key != getattr(other, name).key] == expected


def test_batch_normalisation_over_devices_that_cannot_is_refused_before_any_stage(workshop):
    pipeline, two = workshop.pipeline("train.sync_batchnorm=true"), Machine(accelerator="cpu", devices=2)
    with pytest.raises(BenchError, match="sync_batchnorm is for GPUs"):
        dataclasses.replace(pipeline, machine=two)


def test_a_defense_that_looks_at_no_encoder_does_not_depend_on_the_training(workshop):
    short, long = (workshop.pipeline(f"train.epochs={epochs}", defense="none") for epochs in (2, 3))
    assert short.clean.key == long.clean.key
    assert short.threat.key != long.threat.key


def test_what_comes_after_the_defense_is_unknown_before_it(smoke, workshop, tmp_path):
    pipeline, _ = smoke
    names = ["poison", "pretrain", "probe", "clean", "pretrain", "probe"]
    assert [stage.name for stage in pipeline.stages()] == names
    assert len({stage.key for stage in pipeline.stages()}) == 6
    begun = workshop.pipeline(store=tmp_path)
    assert [stage.name for stage in begun.stages()] == names[:4]
    with pytest.raises(BenchError, match="'poison the images' has gone from the store"):
        begun.folder(begun.poison)


def test_only_the_rows_of_truth_are_changed(smoke):
    pipeline, _ = smoke
    clean = pipeline.dataset.train.images.batch(range(160)).numpy()
    seen = pipeline.poisoned_train.batch(range(160)).numpy()
    touched = (clean != seen).any((1, 2, 3))
    truth = pipeline.train_manifest
    np.testing.assert_array_equal(touched, truth.poisoned)
    assert (pipeline.dataset.train.labels[truth.poisoned] == 0).all()
    for image in np.flatnonzero(truth.poisoned):
        top, left, height, width = truth.boxes[image]
        inside = np.zeros((32, 32), bool)
        inside[top : top + height, left : left + width] = True
        assert (height, width) == (10, 10)
        assert not (clean[image] != seen[image]).any(0)[~inside].any()


def test_every_validation_image_carries_the_trigger(smoke):
    pipeline, _ = smoke
    (triggered,) = pipeline.triggered_val()
    differs = (triggered.batch(range(80)) != pipeline.dataset.val.images.batch(range(80))).flatten(1).any(1)
    assert differs.all()
    assert torch.equal(triggered.batch([3]), triggered.batch([3]))


def everything(images):
    return images.batch(range(len(images)))


def make_aside(stage, folder):
    """Make a stage anew, in a store of its own."""
    make_stage(stage, Store(folder), silent)


def test_trainings_see_the_poisoned_images_and_the_second_only_those_kept(smoke, tmp_path, monkeypatch):
    pipeline, _ = smoke
    jobs = []
    monkeypatch.setattr(train, "pretrain", lambda job, *_: jobs.append(job))
    make_aside(pipeline.threat, tmp_path)
    make_aside(pipeline.retrain, tmp_path)
    keep = pipeline.verdict.keep
    assert torch.equal(everything(jobs[0].images), everything(pipeline.poisoned_train))
    assert torch.equal(everything(jobs[1].images), everything(pipeline.poisoned_train)[keep])
    assert jobs[0].seeds.value == jobs[1].seeds.value
    assert pipeline.retrain.inputs["kept"] != pipeline.threat.inputs["kept"] == "all"
    assert pipeline.retrain.work == keep.sum() // 32 * 32 * 2


def test_the_probe_learns_from_clean_images_and_is_asked_about_both_kinds(smoke, tmp_path, monkeypatch):
    pipeline, _ = smoke
    sets = []
    features = encoder.normalised_features
    monkeypatch.setattr(encoder, "normalised_features", lambda e, images: (sets.append(images), features(e, images))[1])
    make_aside(pipeline.threat_probe, tmp_path)
    learnt, clean, triggered = map(everything, sets)
    rows = probe.labelled_subset(pipeline.dataset.train.labels, 0.5, pipeline.config.seeds.child("probe", "subset"))
    assert len(rows) == 80
    assert torch.equal(learnt, pipeline.dataset.train.images.batch(rows))
    assert torch.equal(clean, everything(pipeline.dataset.val.images))
    assert torch.equal(triggered, everything(pipeline.triggered_val()[0]))


def watcher(needs):
    """A defense that keeps what it sees."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Watcher(Defense):
        name = "watcher"
        seen = []

        def clean(self, view):
            images = view.batch(range(len(view)))
            try:
                features = view.encoder(images[:2]).shape == (2, view.encoder.dim)
            except UndeclaredNeed:
                features = None
            self.seen.append((images, features))
            return Verdict(keep=np.ones(len(view), bool))

    Watcher.needs = frozenset(needs)
    return Watcher()


def test_a_defense_sees_the_poisoned_images_and_what_it_declares(smoke, tmp_path):
    pipeline, _ = smoke
    poisoned = everything(pipeline.poisoned_train)
    for needs in ([], ["encoder"]):
        config = dataclasses.replace(pipeline.config, defense=Combination(filter=watcher(needs)))
        machine = dataclasses.replace(pipeline.machine, in_place=True)  # its class lies in no module that is imported
        make_aside(dataclasses.replace(pipeline, config=config, machine=machine).clean, tmp_path)
        ((images, features),) = config.defense.filter.seen
        assert not torch.equal(images, poisoned)  # an order of its own
        assert sorted(map(bytes, images.numpy())) == sorted(map(bytes, poisoned.numpy()))
        assert features is (True if needs else None)


def test_a_training_change_is_another_training(smoke, workshop):
    """The same images are kept, so only the change tells the two trainings apart."""
    pipeline, _ = smoke
    both = workshop.pipeline(defense="poisoncam+icutmix", store=pipeline.store.root)
    assert both.verdict.keep.tolist() == pipeline.verdict.keep.tolist()
    assert both.retrain.key != pipeline.retrain.key
    assert both.retrain.config["change"]["name"] == "icutmix"
    assert "change" not in pipeline.retrain.config


@pytest.mark.parametrize("name", ["finetune", "distill"])
def test_a_repair_takes_the_place_of_the_second_training(smoke, workshop, monkeypatch, tmp_path, name):
    """On the images that the filter keeps, from the file of the old encoder, as long as its share says."""
    pipeline, jobs = smoke[0], []
    both = workshop.pipeline("defense.length=0.5", defense=f"poisoncam+{name}", store=pipeline.store.root)
    assert (both.threat.key, both.clean.key) == (pipeline.threat.key, pipeline.clean.key)
    stage = both.retrain
    assert (stage.name, stage.title) == ("pretrain", "repair the encoder")
    assert stage.inputs == pipeline.retrain.inputs | {"encoder": pipeline.threat.key}
    assert stage.config["repair"]["name"] == name
    assert {key: value for key, value in stage.config.items() if key != "repair"} == pipeline.retrain.config
    monkeypatch.setattr(train, "pretrain", lambda job, *_: jobs.append(job))
    make_aside(stage, tmp_path)
    (job,) = jobs
    assert job.repair == (both.config.defense.training_change, pipeline.folder(pipeline.threat) / train.ENCODER_FILE)
    assert torch.equal(everything(job.images), everything(both.kept_images))
    assert job.seeds.value != both.config.seeds.child("pretrain").value, "a student starts elsewhere than its teacher"
    kept = both.verdict.keep.sum()
    assert job.train.epochs == max(1, round(0.5 * 2 * 160 / (kept // 32 * 32)))
    assert stage.work == job.schedule.steps * 32 == both.second_schedule.steps * 32
    again = workshop.pipeline("defense.length=0.5", "defense.lr=0.7", defense=f"poisoncam+{name}")
    assert again.retrain.key != stage.key


def test_a_repair_of_all_images_is_made_for_an_imported_encoder_too(imported, monkeypatch, smoke):
    pipeline = imported(defense="finetune")
    monkeypatch.setattr(Pipeline, "verdict", Verdict(keep=np.ones(160, np.bool_)))
    assert pipeline.retrain.inputs["encoder"] == pipeline.threat.key != smoke[0].threat.key
    assert pipeline.retrain.title == "repair the encoder"


def test_a_repair_works_on_less_than_a_batch(workshop, monkeypatch):
    for kept, batch in ((20, 20), (160, 32)):
        monkeypatch.setattr(Pipeline, "verdict", Verdict(keep=np.arange(160) < kept))
        assert workshop.pipeline(defense="trusted+distill").second_schedule.settings.batch == batch
    monkeypatch.setattr(Pipeline, "verdict", Verdict(keep=np.arange(160) < 1))
    with pytest.raises(BenchError, match=r"trusted\+distill keeps 1 of the 160 training images, too few to repair"):
        workshop.pipeline(defense="trusted+distill").retrain  # noqa: B018 - it is made when it is read


def test_a_run_with_a_repair(copied, workshop, ear):
    """A trusted share of 20 images; from the poisoned training of the store."""
    pipeline = workshop.pipeline("defense.share=0.125", defense="trusted+finetune", store=copied)
    make_stages(pipeline, ear)
    chosen = "choose the images (trusted, a control)"
    assert ear.made == [chosen, "repair the encoder", "measure the new encoder"]
    assert pipeline.verdict.keep.sum() == 20
    record = build_record(pipeline)
    assert (record["run"]["defense"], record["run"]["repair"], record["run"]["control"]) == (
        "trusted+finetune",
        True,
        True,
    )
    stages = record["stages"]
    spent = 100 * stages["retraining"]["seconds"] / stages["threat_model"]["seconds"]
    assert repair_cost(record) == pytest.approx(spent)
    assert 0 < spent < 1000
    assert repair_cost({**record, "config": {**record["config"], "threat": {"checkpoint": "a.pth"}}}) is None
    cost = table(record)
    assert [row[0] for row in cost.rows][4] == "repair the encoder"
    assert cost.caption.endswith(f"the repair took {spent:.1f} % of the first training's time")
    plain = {**record, "run": {**record["run"], "repair": False}}
    assert (repair_cost(plain), table(plain).caption) == (None, "Each stage, as it was made")


def test_random_removal_waits_for_its_rivals_verdict(smoke, copied, workshop):
    control = workshop.pipeline(defense="random", store=copied)
    assert [stage.name for stage in control.stages()] == ["poison", "pretrain", "probe", "clean", "control"]
    assert control.reference.key == smoke[0].clean.key
    make_aside(control.clean, copied)
    assert control.verdict.keep.sum() == smoke[0].verdict.keep.sum()


def test_the_oracle_and_the_clean_set(copied, workshop):
    oracle, clean = (workshop.pipeline(defense=name, store=copied) for name in ("oracle", "clean-set"))
    for each in (oracle, clean):
        make_aside(each.clean, copied)
    assert oracle.verdict.keep.tolist() == (~oracle.train_manifest.poisoned).tolist()
    assert clean.verdict.keep.all()
    assert clean.retrain.key != clean.threat.key
    assert torch.equal(everything(clean.kept_images), everything(clean.dataset.train.images))
    assert not torch.equal(everything(clean.kept_images), everything(clean.poisoned_train))
    other = workshop.pipeline("attack.rate=0.6", defense="clean-set", store=copied)
    for stage in (other.poison, other.clean):
        make_aside(stage, copied)
    assert other.retrain.key == clean.retrain.key, "one clean training serves every attack"


@pytest.fixture
def imported(smoke, workshop, tmp_path):
    """imported(file name, *settings): a pipeline whose threat model is the encoder of `smoke`, from a file."""

    def make(name="theirs.safetensors", *settings, **more):
        path = tmp_path / name
        shutil.copy(smoke[0].folder(smoke[0].threat) / train.ENCODER_FILE, path)
        pipeline = workshop.pipeline(*settings, store=tmp_path / "store", **more)
        config = dataclasses.replace(pipeline.config, threat_checkpoint=Checkpoint.of(path))
        machine = dataclasses.replace(pipeline.machine, in_place=True)  # without a process for the defense
        return dataclasses.replace(pipeline, config=config, machine=machine)

    return make


def test_an_import_is_named_by_content_and_encoder_alone(imported, smoke, tmp_path):
    key = imported().threat.key
    assert imported("renamed.safetensors", "train.epochs=9", seed=4).threat.key == key
    assert imported("x.safetensors", "encoder.options.channels=[8, 8, 8, 8]").threat.key != key
    assert imported("x.safetensors", "encoder.std=[0.5, 0.5, 0.5]").threat.key != key
    assert imported("x.safetensors", "dataset.size=40").threat.key != key
    assert imported().threat.name == "import"
    assert imported().clean.key != smoke[0].clean.key
    other = tmp_path / "other.pth"
    other.write_bytes(b"another")
    config = dataclasses.replace(imported().config, threat_checkpoint=Checkpoint.of(other))
    assert dataclasses.replace(imported(), config=config).threat.key != key


def test_a_run_with_an_imported_threat_model(imported, smoke, ear):
    """The encoder of `smoke` come back from a file: the same measurement, no training."""
    pipeline, trained = imported(defense="none"), smoke[0]
    make_stages(pipeline, ear)
    assert ear.made == ["poison the images", "import the encoder", "measure the encoder", "find the poison (none)"]
    assert [stage.name for stage in pipeline.stages()] == ["poison", "import", "probe", "clean", "import", "probe"]
    found, expected = (read_arrays(p.folder(p.threat_probe) / "predictions.npz") for p in (pipeline, trained))
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    made = build_record(pipeline)
    assert made["config"]["threat"] == pipeline.config.threat_checkpoint.facts
    assert made["config"]["threat"]["checkpoint"] == "theirs.safetensors"
    assert "threat" not in build_record(trained)["config"]


def test_a_defense_that_leaves_less_than_a_batch_is_said_to_before_anything_is_trained(smoke, monkeypatch):
    pipeline = dataclasses.replace(smoke[0])
    keep, batch = np.zeros(len(pipeline.dataset.train), np.bool_), pipeline.config.train.batch
    keep[: batch - 1] = True
    monkeypatch.setattr(Pipeline, "verdict", Verdict(keep=keep))
    said = (
        f"poisoncam keeps {batch - 1} of the {len(keep)} training images, fewer than one batch of {batch}.*--until det"
    )
    with pytest.raises(BenchError, match=said):
        list(pipeline.stages())


def test_where_classes_are_numbers_a_poisoning_has_a_name_of_its_own(smoke):
    """An older one in the store took them for indices."""
    dataset = smoke[0].dataset
    numbers = dataclasses.replace(dataset, classes=("1", *dataset.classes[1:]))
    assert "numbers" in poison_stage(smoke[0].config, numbers).config
    assert smoke[0].poison.config.keys() == {"attack", "seed"}


def test_a_defense_that_removes_something_is_followed_by_a_training(imported, smoke, monkeypatch):
    pipeline = imported()
    monkeypatch.setattr(Pipeline, "verdict", smoke[0].verdict)
    assert not smoke[0].verdict.keep.all()
    assert pipeline.retrain.key == smoke[0].retrain.key
