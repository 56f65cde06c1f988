"""The stages that make an encoder: by training it on images, or by importing one that was trained elsewhere."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api import Images, Repair, TrainingDefense
from bench.config.config import Config
from bench.plugins.identity import identity
from bench.ssl.import_weights import Checkpoint
from bench.ssl.schedule import Schedule, shortened
from bench.store import ArtifactBuilder, replacing, write_json

from .stage import Machine, ProgressReport, Stage

if TYPE_CHECKING:
    import torch

    from bench.ssl.encoder import FrozenEncoder
    from bench.ssl.settings import EncoderSettings, TrainSettings

ENCODER = "encoder"
"""The folder of an encoder that was brought to where a defense works."""


@dataclass(frozen=True)
class RepairTask:
    """A repair of the encoder in the folder that `old` finds, which was trained on `every` images."""

    repair: Repair
    old: Callable[[], Path]
    every: int

    def settings(self, config: Config, kept: int, machine: Machine) -> TrainSettings:
        """How it trains on `kept` images."""
        return shortened(config.train, self.repair, kept, self.every, machine.training_devices)


def pretrain_stage(
    config: Config,
    images: Callable[[], Images],
    count: int,
    machine: Machine,
    inputs: dict[str, str],
    title: str,
    change: TrainingDefense | None = None,
    task: RepairTask | None = None,
) -> Stage:
    """Trains an encoder on `count` images, or repairs one; `inputs` name them (their dataset, poisons, kept rows) and
    the encoder to be repaired."""
    train = task.settings(config, count, machine) if task else config.train

    def make(making: ArtifactBuilder, report: ProgressReport) -> None:
        from bench.ssl.train import ENCODER_FILE, Job, pretrain

        job = Job(
            images=images(),
            method=config.ssl,
            encoder=config.encoder,
            views=config.views,
            train=train,
            threads=config.threads,
            change=change,
            repair=(task.repair, task.old() / ENCODER_FILE) if task else None,
            # Not the first training's initial weights: a student must not start where its teacher did.
            seeds=config.seeds.child("repair" if task else "pretrain"),
            work=making.dir,
            scratch=making.scratch,
        )

        def tell(done: int, total: int, loss: float, rate: float) -> None:
            report("steps", done, total, **{"loss": loss, "learning rate": rate})

        with machine.together(stage, making.dir) as group:
            pretrain(job, tell, machine.devices, machine.accelerator, group)

    sections = {name: dataclasses.asdict(getattr(config, name)) for name in ("views", "train")}
    sections["encoder"] = config.encoder.identity()
    sections["train"].pop("loader_workers")
    sections["train"]["precision"] = machine.precision(config.train)
    if change is not None:
        sections["change"] = identity(change)
    if task is not None:  # with [train] as it was: what becomes of it follows from this and the images
        sections["repair"] = identity(task.repair)
    if machine.training_devices > 1:  # batch normalisation takes its statistics from one device's share
        sections["devices"] = {"count": machine.training_devices}
    stage = Stage(
        name="pretrain",
        title=title,
        config={"ssl": identity(config.ssl), "seed": config.seed, "threads": config.threads, **sections},
        inputs=inputs,
        make=make,
        work=Schedule(train, count, config.seeds).steps * train.batch,
    )
    return stage


def import_stage(config: Config, checkpoint: Checkpoint, size: int) -> Stage:
    """Makes what a pretrain stage makes from an encoder that was trained elsewhere, for images of `size` px."""

    def make(making: ArtifactBuilder, report: ProgressReport) -> None:
        from safetensors.torch import save_file

        from bench.ssl.import_weights import import_encoder
        from bench.ssl.train import ENCODER_FILE

        tensors, left_out = import_encoder(checkpoint.path, config.encoder, size)
        save_file(tensors, making.dir / ENCODER_FILE)
        write_json(making.dir / "import.json", {**checkpoint.facts, "left_out": left_out})

    return Stage(
        name="import",
        title="import the encoder",
        config={"sha256": checkpoint.sha256, "encoder": config.encoder.identity(), "size": size},
        inputs={},
        make=make,
    )


@dataclass(frozen=True)
class EncoderSource:
    """The encoder that a pretrain or an import stage left in `folder`; called with a device, it loads it there."""

    folder: Path
    settings: EncoderSettings
    size: int

    @property
    def file(self) -> Path:
        """Where its weights lie."""
        from bench.ssl.train import ENCODER_FILE

        return self.folder / ENCODER_FILE

    def brought(self, folder: Path) -> EncoderSource:
        """The same from a link to the file (or a copy) in `folder`: its own path would say what it was trained on."""
        found = dataclasses.replace(self, folder=folder / ENCODER)
        if not found.file.exists():
            with replacing(found.file) as temporary:
                try:
                    os.link(self.file, temporary)
                except OSError:  # another file system, or one without links
                    shutil.copyfile(self.file, temporary)
        return found

    def __call__(self, device: torch.device) -> FrozenEncoder:
        from bench.ssl.encoder import load_encoder

        return load_encoder(self.file, self.settings, self.size, device)


def encoder_of(folder: Path, config: Config, size: int, machine: Machine) -> FrozenEncoder:
    """The encoder that a pretrain or an import stage left in `folder`, on the machine's first device."""
    return EncoderSource(folder, config.encoder, size)(machine.device)
