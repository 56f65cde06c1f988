"""The stage in which a defense judges the training images, a detector test images, or an encoder test the encoder, in a
process of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api import Detector, EncoderTest, Images, Judge
from bench.config.config import Config
from bench.errors import BenchError
from bench.isolation.job import IMAGES, KNOWN
from bench.isolation.scores import Scores, write_encoder_verdict, write_scores
from bench.isolation.verdict import write_verdict
from bench.plugins.identity import identity
from bench.store import ArtifactBuilder, digest, user_cache

from .lot import Lot
from .pretrain import EncoderSource
from .stage import Machine, ProgressReport, Stage

if TYPE_CHECKING:
    from bench.isolation.process import IsolatedDefense


@dataclass(frozen=True, kw_only=True, eq=False)
class DefenseTask:
    """A defense and the images it is to judge, `count` of them. inputs: the keys that name those and the encoder, which
    lies in the folder that `encoder` finds. Of a detector, known: the images that it may know, and lot: what was done
    to those that it judges."""

    config: Config
    defense: Judge
    images: Callable[[], Images]
    count: int
    machine: Machine
    encoder: Callable[[], Path]
    inputs: dict[str, str]
    known: Callable[[], Images] | None = None
    lot: Lot | None = None

    def stage(self) -> Stage:
        """Lets the defense judge through its view: a verdict, scores, or a verdict on the encoder."""

        def make(making: ArtifactBuilder, report: ProgressReport) -> None:
            isolated = self.isolated(making.scratch, making.dir.parents[1], report)
            try:
                self._keep(isolated, making.dir)
            except BenchError:  # the steps stay for the next attempt; the images are large, and quickly written again
                for name in (IMAGES, KNOWN):
                    shutil.rmtree(making.scratch / name, ignore_errors=True)
                raise
            making.add_memory(max(isolated.peaks, default=0.0))

        if isinstance(self.defense, Detector):
            name, title = "detect", "score test images"
        elif isinstance(self.defense, EncoderTest):
            name, title = "judge", "judge the encoder"
        else:
            name, title = "clean", "find the poison"
        return Stage(
            name=name,
            title=f"{title} ({self.defense.name})",
            config={
                "defense": identity(self.defense),
                "seed": self.config.seed,
                "threads": self.config.threads,
            },
            inputs=self.inputs,
            make=make,
            work=self.count,
        )

    def _keep(self, isolated: IsolatedDefense, folder: Path) -> None:
        """Ask, and write the answer into `folder`."""
        if self.lot is not None:
            facts = {"in_place": True} if self.machine.in_place else {}
            write_scores(Scores(**vars(self.lot), score=isolated.scores(), facts=facts), folder)
        elif isinstance(self.defense, EncoderTest):
            write_encoder_verdict(isolated.verdict(), folder)
        else:
            write_verdict(isolated.clean(), folder)

    def isolated(self, folder: Path, store: Path, report: ProgressReport = lambda *_, **__: None) -> IsolatedDefense:
        """The defense ready to judge the images; they and its saved steps lie in `folder`.

        The key of the poison stage is in `inputs`, from which equal images get their order: nobody can work it out
        without the labels and the unpoisoned images. The run's seed alone is soon guessed.
        """
        import torch

        from bench.isolation.handover import hand_over
        from bench.isolation.job import Job
        from bench.isolation.process import IsolatedDefense

        config, images, options = self.config, self.images(), vars(self.defense)
        seeds = config.seeds.child("view", self.inputs.get("poison") or digest(self.inputs))
        wanted = "encoder" in self.defense.needs
        source = EncoderSource(self.encoder(), config.encoder, images.size) if wanted else None
        torch.cuda.empty_cache()  # what a training has left here is for the defense's process
        closed = closed_paths(store, vars(config.dataset))
        if self.known is not None:
            hand_over(self.known(), seeds.child(KNOWN), folder / KNOWN, report)
        readable = [path for path in existing(options) if _may_read(path, store, closed)]
        job = Job(
            defense=self.defense,
            method="clean",
            arguments=(),
            folder=folder,
            encoder=source,
            seeds=config.seeds.child("defense").sealed(),
            device=str(self.machine.device),
            accelerator=self.machine.accelerator,
            devices=self.machine.devices,
            threads=config.threads,
        )
        return IsolatedDefense(
            job=job,
            order=hand_over(images, seeds, folder / IMAGES, report),
            size=images.size,
            readable=(*readable, *([source.file] if source else [])),
            closed=tuple(closed),
            report=report,
            in_place=self.machine.in_place,
        )


def closed_paths(store: Path, options: Mapping[str, object]) -> list[Path]:
    """What holds truth on this machine: the store, what is known of checked files, and whatever files and folders the
    data set's `options` name."""
    named = [os.environ.get(name) for name in ("BENCH_STORE", "BENCH_CACHE")]
    return [*(Path(each) for each in (store, user_cache(), *named) if each), *existing(options)]


def existing(options: Mapping[str, object]) -> list[Path]:
    """The files and folders that are there among the values."""
    named = [Path(value).expanduser() for value in options.values() if isinstance(value, str | Path) and str(value)]
    return [path for path in named if path.exists()]


def _may_read(path: Path, store: Path, closed: Sequence[Path]) -> bool:
    """Whether a defense may read what its options name: a file that is not in the store, a folder apart from all that
    is closed."""
    path = path.resolve()
    if path.is_file():
        return not path.is_relative_to(store.resolve())
    return not any(path.is_relative_to(each) or each.is_relative_to(path) for each in (c.resolve() for c in closed))
