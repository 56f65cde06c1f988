"""What the harness holds a plugin to, and what names a stage."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
import torch

from bench.api import Attack, Poison, Verdict
from bench.errors import BenchError
from bench.isolation.verdict import check_verdict, kept_digest, read_verdict
from bench.pipeline import stage as stage_module
from bench.pipeline.clean import existing
from bench.pipeline.events import silent
from bench.pipeline.poison import poison_stage
from bench.pipeline.pretrain import pretrain_stage
from bench.pipeline.runner import make_stage
from bench.pipeline.stage import Machine, Stage
from bench.store import Store


def verdict(**changes):
    facts = {
        "keep": np.array([True, False, True, True]),
        "score": np.array([0.1, 0.9, 0.2, 0.3]),
        "trigger_score": np.array([np.nan, 5.0, np.nan, 2.0]),
        "boxes": np.array([[-1] * 4, [0, 0, 3, 3], [-1] * 4, [5, 5, 3, 3]]),
    }
    return Verdict(**{**facts, **changes})


def check(**changes):
    return check_verdict(verdict(**changes), 4, 8, "mine")


def test_a_right_verdict_passes_as_it_is():
    check(score=None, trigger_score=None, boxes=None)
    check(boxes=np.array([[0, 0, 8, 8]] * 4))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"keep": np.ones(4)}, r"keep is float64 \(4,\), expected bool \(4,\)"),
        ({"keep": np.ones(3, bool)}, r"keep is bool \(3,\), expected bool \(4,\)"),
        ({"keep": np.zeros(4, bool)}, "keep is all False"),
        ({"score": np.zeros(5)}, r"score is float64 \(5,\), expected float \(4,\)"),
        ({"score": np.array(["a"] * 4)}, r"score is <U1 \(4,\), expected float \(4,\)"),
        ({"score": np.array([0, np.nan, 0, 0])}, "score holds values that are not finite"),
        ({"trigger_score": np.zeros((4, 1))}, r"trigger_score is float64 \(4, 1\)"),
        ({"boxes": np.zeros((4, 2), int)}, r"boxes is int64 \(4, 2\), expected int \(4, 4\)"),
        ({"boxes": np.zeros((4, 4))}, r"boxes is float64 \(4, 4\), expected int \(4, 4\)"),
        ({"boxes": np.array([[6, 0, 3, 3]] * 4)}, "boxes leave the image"),
        ({"boxes": np.array([[0, -2, 3, 3]] * 4)}, "boxes leave the image"),
        ({"boxes": np.array([[-1, -1, -1, 3]] * 4)}, "boxes leave the image"),
    ],
)
def test_a_wrong_verdict_is_refused_naming_the_defense_and_the_fault(bad, said):
    with pytest.raises(BenchError, match=rf"defense 'mine' returned a verdict whose {said}"):
        check(**bad)


def test_selections_are_named_by_their_content():
    """Keeping everything is one name for any number of images: so `none` shares the threat model."""
    assert kept_digest(np.ones(4, bool)) == kept_digest(np.ones(9, bool)) == "all"
    one, other = np.arange(8) != 3, np.arange(8) != 4
    assert kept_digest(one) == kept_digest(one.copy())
    assert len({kept_digest(one), kept_digest(other), "all"}) == 3


def stage(**changes):
    facts = {"name": "probe", "title": "t", "config": {"a": 1}, "inputs": {"encoder": "x"}, "make": lambda *_: None}
    return Stage(**{**facts, **changes})


def test_a_key_follows_from_name_config_inputs_and_version_alone(monkeypatch):
    assert stage().key == stage(title="other", make=print, work=9).key
    keys = {stage().key, stage(name="clean").key, stage(config={"a": 2}).key, stage(inputs={"encoder": "y"}).key}
    assert len(keys) == 4
    monkeypatch.setitem(stage_module.VERSIONS, "probe", stage_module.VERSIONS["probe"] + 1)
    assert stage().key not in keys


def test_an_accelerator_that_is_not_here():
    assert Machine(accelerator="cpu").device == torch.device("cpu")
    with pytest.raises(BenchError, match="accelerator 'bogus'"):
        Machine(accelerator="bogus").device  # noqa: B018 - asking is the point


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rogue(Attack):
    """Poisons what it is told to."""

    name = "rogue"
    rows: tuple[Poison, ...]
    val: int = 80

    def targets(self, classes):
        return (0, 2)

    def poison_train(self, scene, seeds):
        scene.labels[:] = 0  # its own copy
        return list(self.rows)

    def poison_val(self, trigger, scene, seeds):
        return [row(index, trigger=trigger, target=(0, 2)[trigger]) for index in range(self.val)]

    def apply(self, images, poisons):
        return images


def row(index, *, trigger=0, target=0):
    return Poison(index=index, trigger=trigger, target=target, box=None, seed=0)


def poison(workshop, tmp_path, *rows, val=80):
    """What the poison stage makes of these rows; of 160 scenes, image i is of class i % 4."""
    pipeline = workshop.pipeline()
    config = dataclasses.replace(pipeline.config, attack=Rogue(rows=rows, val=val))
    stage = poison_stage(config, pipeline.dataset)
    make_stage(stage, Store(tmp_path), silent)
    return Store(tmp_path).find("poison", stage.key)


def test_an_attack_within_its_bounds(workshop, tmp_path):
    folder = poison(workshop, tmp_path, row(0), row(2, trigger=1, target=2))
    assert sorted(path.name for path in folder.iterdir()) == ["meta.json", "train.jsonl", "val-0.jsonl", "val-1.jsonl"]
    assert len((folder / "val-1.jsonl").read_text().splitlines()) == 80


@pytest.mark.parametrize(
    ("rows", "val", "said"),
    [
        ([], 80, "poisoned no image"),
        ([row(1)], 80, "poisoned image 1, which is not of the target class"),
        ([row(0, trigger=2)], 80, "names trigger 2 -> class 0"),
        ([row(2, target=2)], 80, "names trigger 0 -> class 2"),
        ([row(0)], 79, "must trigger every validation image, it did 79"),
    ],
)
def test_an_attack_out_of_bounds(workshop, tmp_path, rows, val, said):
    with pytest.raises(BenchError, match=f"attack 'rogue' .*{said}"):
        poison(workshop, tmp_path, *rows, val=val)


@pytest.mark.parametrize("name", ["corrupt-encoder", "noisy-alignment"])
def test_an_attack_that_composes_its_images(workshop, tmp_path, name):
    """What is trained on is what compose() makes of the clean split, elsewhere too; validation is by apply()."""
    pipeline = workshop.pipeline(attack=name, store=tmp_path / "store")
    make_stage(pipeline.poison, pipeline.store, silent)
    attack, split, rows = pipeline.config.attack, pipeline.dataset.train, pipeline.train_manifest.poisons
    images = pickle.loads(pickle.dumps(pipeline.poisoned_train)).batch([row.index for row in rows])
    assert len(rows) > 0
    for row, image in zip(rows, images, strict=True):
        assert torch.equal(image, attack.compose(row, split))
    clean, triggered = pipeline.dataset.val.images.batch([0])[0], pipeline.triggered_val()[0].batch([0])[0]
    width = attack.picture(0, split.images.size).shape[-1]
    assert 0 < (clean != triggered).any(0).sum() <= width**2


def test_the_work_of_a_training_is_the_images_it_sees(workshop):
    """160 images in batches of 32 for 2 epochs; of 50 images a batch of 32 is all of an epoch."""
    pipeline = workshop.pipeline()

    def work(count, **train):
        settings = dataclasses.replace(pipeline.config.train, **train)
        config = dataclasses.replace(pipeline.config, train=settings)
        return pretrain_stage(config, lambda: None, count, pipeline.machine, {}, "t").work

    assert [work(160), work(50), work(160, max_steps=3), work(160, max_steps=99)] == [320, 64, 96, 320]
    with pytest.raises(BenchError, match="fewer than one batch"):
        work(31)


def test_a_verdict_comes_back_from_disk(smoke):
    pipeline, _ = smoke
    found = read_verdict(pipeline.folder(pipeline.clean))
    assert found.keep.shape == found.score.shape == found.trigger_score.shape == (160,)
    assert found.boxes.shape == (160, 4)
    assert found.facts
    check_verdict(found, 160, 32, "poisoncam")


def test_a_text_that_can_be_no_path_names_no_file(tmp_path):
    values = {"long": "word " * 60, "nul": "a\0b", "nobody": "~no-such-user/x", "there": str(tmp_path), "count": 3}
    assert existing(values) == [tmp_path]
