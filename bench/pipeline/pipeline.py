"""Which stages a run consists of, and where each one's inputs come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from bench.api import (
    Control,
    Dataset,
    Detector,
    EncoderTest,
    EncoderVerdict,
    Images,
    Judge,
    Poison,
    Repair,
    Verdict,
)
from bench.config.config import DETECTION, END, Config
from bench.data.images import PoisonedImages, Subset
from bench.data.manifest import Manifest
from bench.errors import BenchError
from bench.isolation.scores import Scores, read_encoder_verdict, read_scores
from bench.isolation.verdict import kept_digest, read_verdict
from bench.ssl.schedule import Schedule
from bench.store import Store

from .clean import DefenseTask
from .control import control_stage
from .lot import CLEAN, Lot, drawn
from .poison import poison_stage
from .pretrain import RepairTask, import_stage, pretrain_stage
from .probe import probe_stage
from .stage import Machine, Stage


@dataclass(frozen=True)
class Pipeline:
    """One attack, one defense, on one dataset. Nothing is computed until a stage is made.

    Raises BenchError for trainings that cannot run on the machine.
    """

    config: Config
    dataset: Dataset
    store: Store
    machine: Machine

    def __post_init__(self) -> None:
        self.machine.check(self.config.train)

    def stages(self) -> Iterator[Stage]:
        """In order. The two after the defense follow, unless the run ends with its verdict, when that is in the store:
        what they are depends on what it keeps."""
        yield from (self.poison, self.threat, self.threat_probe)
        if self.config.defense.reference is not None:
            yield self.reference
        yield self.clean
        if self.whole and self.found(self.clean):
            yield from (self.retrain, self.defended_probe)

    @property
    def whole(self) -> bool:
        """Whether the run has a second training."""
        return self.config.until == END

    def found(self, stage: Stage) -> bool:
        """Whether it is in the store."""
        return self.store.find(stage.name, stage.key) is not None

    def folder(self, stage: Stage) -> Path:
        """Where a finished stage lies."""
        found = self.store.find(stage.name, stage.key)
        if found is None:
            raise BenchError(f"stage {stage.title!r} has gone from the store {self.store.root}; run the command again")
        return found

    @cached_property
    def poison(self) -> Stage:
        return poison_stage(self.config, self.dataset)

    @cached_property
    def threat(self) -> Stage:
        """Makes the encoder that the defense judges by: trained on all the images, or imported."""
        checkpoint = self.config.threat_checkpoint
        return import_stage(self.config, checkpoint, self.dataset.size) if checkpoint else self.training_on_all

    @cached_property
    def training_on_all(self) -> Stage:
        images = lambda: self.poisoned_train  # noqa: E731 - read only when the stage is made
        count, title = len(self.dataset.train), "train on the poisoned images"
        return pretrain_stage(self.config, images, count, self.machine, self._inputs(kept="all"), title)

    @cached_property
    def threat_probe(self) -> Stage:
        return self._probe(self.threat, "measure the encoder")

    @cached_property
    def clean(self) -> Stage:
        """What chooses the images to keep: a defense by its view, or a control by the truth. Or what only judges: a
        detector test images, an encoder test the encoder."""
        chooser = self.config.defense.filter
        return self._control(chooser) if isinstance(chooser, Control) else self.judged_by(chooser).stage()

    @cached_property
    def reference(self) -> Stage:
        """The defense that the control is measured against."""
        if self.config.defense.reference is None:
            raise ValueError("this run's control names no defense")
        return self.judged_by(self.config.defense.reference).stage()

    def judged_by(self, defense: Judge) -> DefenseTask:
        """`defense` on the images of this run, by its threat model."""
        train = lambda: self.poisoned_train  # noqa: E731 - read only when the stage is made
        inputs = self._inputs(encoder=self.threat.key) if "encoder" in defense.needs else self._inputs()
        folder = lambda: self.folder(self.threat)  # noqa: E731 - as above
        task = partial(
            DefenseTask, config=self.config, defense=defense, machine=self.machine, encoder=folder, inputs=inputs
        )
        if isinstance(defense, Detector):
            lot = drawn(len(self.dataset.val), len(self.triggers), self.config.seeds.child("detect"))
            return task(images=lambda: self.test_images(lot), count=len(lot.index), known=train, lot=lot)
        return task(images=train, count=len(self.dataset.train))

    def _control(self, control: Control) -> Stage:
        reference, inputs = None, self._inputs()
        if self.config.defense.reference is not None:
            reference = lambda: read_verdict(self.folder(self.reference))  # noqa: E731 - as above
            inputs["rival"] = self.reference.key
        return control_stage(self.config, control, lambda: self.train_manifest, reference, inputs)

    @cached_property
    def retrain(self) -> Stage:
        """Makes the new encoder: a second training on what is kept, or a repair of the old one."""
        keep, change = self.verdict.keep, self.config.defense.training_change
        if keep.all() and self.config.threat_checkpoint and not (change or self._unpoisoned):
            return self.threat  # nothing was removed: the imported model is the defended one
        self._check_enough(int(keep.sum()), len(keep))
        inputs = self._inputs(kept=kept_digest(keep)) | ({"poison": "none"} if self._unpoisoned else {})
        return self._new_encoder(int(keep.sum()), inputs)

    @property
    def retrain_on_all(self) -> Stage:
        """`retrain` as it is if nothing is removed, before the verdict is known: for estimates."""
        return self._new_encoder(len(self.dataset.train), self._inputs(kept="all"))

    def _new_encoder(self, count: int, inputs: dict[str, str]) -> Stage:
        change, task, images = self.config.defense.training_change, self._repair, lambda: self.kept_images
        if task:
            inputs, title = inputs | {"encoder": self.threat.key}, "repair the encoder"
            return pretrain_stage(self.config, images, count, self.machine, inputs, title, task=task)
        assert not isinstance(change, Repair)
        title = "train again on what is kept"
        return pretrain_stage(self.config, images, count, self.machine, inputs, title, change)

    @property
    def _repair(self) -> RepairTask | None:
        change = self.config.defense.training_change
        if not isinstance(change, Repair):
            return None
        return RepairTask(change, lambda: self.folder(self.threat), len(self.dataset.train))

    @property
    def second_schedule(self) -> Schedule:
        """The schedule of `retrain`."""
        count, train = int(self.verdict.keep.sum()), self.config.train
        if self._repair:
            train = self._repair.settings(self.config, count, self.machine)
        return Schedule(train, count, self.config.seeds)

    def _check_enough(self, count: int, every: int) -> None:
        keeps = f"{self.config.defense.name} keeps {count} of the {every} training images"
        batch, least = self.config.train.batch, 2 * self.machine.training_devices
        if self._repair and count < least:
            raise BenchError(f"{keeps}, too few to repair the encoder: expected {least} or more. Let it keep more.")
        if not self._repair and count < batch:
            raise BenchError(
                f"{keeps}, fewer than one batch of {batch}: there is no second training. Its verdict is in the store: "
                f"--until {DETECTION} ends the run with it. Or let it keep more, or take a smaller train.batch (for "
                f"both trainings; {count} at most)."
            )

    @property
    def kept_images(self) -> Images:
        """What the new encoder is trained on."""
        images = self.dataset.train.images if self._unpoisoned else self.poisoned_train
        return Subset(images, self.verdict.keep.nonzero()[0])

    @property
    def _unpoisoned(self) -> bool:
        chooser = self.config.defense.filter
        return isinstance(chooser, Control) and chooser.unpoisoned

    @cached_property
    def defended_probe(self) -> Stage:
        return self._probe(self.retrain, "measure the new encoder")

    @cached_property
    def train_manifest(self) -> Manifest:
        """The truth about the training images."""
        return Manifest.load(self.folder(self.poison) / "train.jsonl")

    @cached_property
    def verdict(self) -> Verdict:
        """What the defense said."""
        return read_verdict(self.folder(self.clean))

    @cached_property
    def judgement(self) -> Verdict | Scores | EncoderVerdict:
        """What the defense, the detector or the encoder test said."""
        chooser = self.config.defense.filter
        if isinstance(chooser, Detector):
            return read_scores(self.folder(self.clean))
        return read_encoder_verdict(self.folder(self.clean)) if isinstance(chooser, EncoderTest) else self.verdict

    @cached_property
    def poisoned_train(self) -> Images:
        """The training images as the victim scraped them."""
        attack = self.config.attack
        train, on_originals = self.dataset.train, attack.apply_original if attack.on_originals else None
        compose = partial(attack.compose, split=train) if attack.composes else None
        return PoisonedImages(train.images, self.train_manifest.poisons, attack.apply, on_originals, compose)

    @cached_property
    def triggers(self) -> range:
        """The numbers of the attack's triggers."""
        return range(len(self.config.attack.targets(self.dataset.classes)))

    def triggered_val(self) -> list[Images]:
        """The validation images with each trigger in turn."""
        base = self.dataset.val.images
        return [PoisonedImages(base, poisons, self.config.attack.apply) for poisons in self._val_poisons()]

    def test_images(self, lot: Lot) -> Images:
        """The validation images, each with the trigger that it drew, or as it is."""
        poisons = self._val_poisons()
        drew = zip(lot.index.tolist(), lot.trigger.tolist(), strict=True)
        chosen = [poisons[trigger][index] for index, trigger in drew if trigger != CLEAN]
        return PoisonedImages(self.dataset.val.images, chosen, self.config.attack.apply)

    def _val_poisons(self) -> list[Sequence[Poison]]:
        """By trigger the truth of every validation image with it."""
        folder = self.folder(self.poison)
        return [Manifest.load(folder / f"val-{trigger}.jsonl").poisons for trigger in self.triggers]

    def _inputs(self, **more: str) -> dict[str, str]:
        """What names the images of a stage, and what else it depends on."""
        return {"dataset": self.dataset.fingerprint, "poison": self.poison.key, **more}

    def _probe(self, training: Stage, title: str) -> Stage:
        inputs = self._inputs(encoder=training.key)
        find = lambda: self.folder(training)  # noqa: E731 - as above
        return probe_stage(self.config, self.dataset, self.triggered_val, self.machine, find, inputs, title)
