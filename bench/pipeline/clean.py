"""The stage in which a defense judges the training images, a detector test images, or an encoder test the encoder, in a
process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api import Detector, EncoderTest, Images, Judge
from bench.config.config import Config
from bench.errors import BenchError
from bench.isolation.handover import ORDER
from bench.isolation.job import IMAGES, KNOWN
from bench.isolation.scores import Scores, write_encoder_verdict, write_scores
from bench.isolation.verdict import write_verdict
from bench.plugins.identity import identity
from bench.store import ArtifactBuilder, digest, user_cache

from .lot import Lot
from .pretrain import ENCODER, EncoderSource
from .stage import Machine, ProgressReport, Stage

if TYPE_CHECKING:
    from bench.isolation.process import IsolatedDefense

_SYSTEM = ("/proc", "/dev", "/sys", "/run")


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
            isolated = self.isolated(making.apart, making.dir.parents[1], report)
            try:
                self._keep(isolated, making.dir)
            except BenchError:  # the steps stay for the next attempt; what was handed over is quickly written again
                for name in (IMAGES, KNOWN, ENCODER):
                    shutil.rmtree(making.apart / name, ignore_errors=True)
                for order in making.apart.glob(ORDER.format("*")):
                    order.unlink()
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
        """The defense ready to judge the images; they, the encoder and its saved steps lie in `folder`, whose path it
        learns and so must say nothing.

        The key of the poison stage is in `inputs`, from which equal images get their order: nobody can work it out
        without the labels and the unpoisoned images. The run's seed alone is soon guessed.
        """
        import torch

        from bench.isolation.handover import hand_over
        from bench.isolation.job import Job
        from bench.isolation.process import IsolatedDefense

        config, images = self.config, self.images()
        seeds = config.seeds.child("view", self.inputs.get("poison") or digest(self.inputs))
        wanted = "encoder" in self.defense.needs
        source = EncoderSource(self.encoder(), config.encoder, images.size).brought(folder) if wanted else None
        torch.cuda.empty_cache()  # what a training has left here is for the defense's process
        closed = closed_paths(store, vars(config.dataset))
        if self.known is not None:
            hand_over(self.known(), seeds.child(KNOWN), folder / KNOWN, report)
        readable = [path for path in existing(chosen(self.defense)) if _may_read(path, closed)]
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
    """The files and folders that are there among the values; a text that can be no path is none."""
    found = []
    for value in options.values():
        if isinstance(value, str | Path) and str(value):
            with contextlib.suppress(OSError, ValueError, RuntimeError):  # too long, a NUL, an unknown ~user
                path = Path(value).expanduser()
                found += [path] if path.exists() else []
    return found


def chosen(defense: Judge) -> dict[str, object]:
    """Its options that have another value than by default: those that a user chose."""
    known = {field.name: field.default for field in dataclasses.fields(defense)}  # type: ignore[arg-type]
    return {name: vars(defense)[name] for name, default in known.items() if vars(defense)[name] != default}


def _may_read(path: Path, closed: Sequence[Path]) -> bool:
    """Whether a defense may read what its options name: nothing of what is closed, of the system's (its processes and
    devices, say) and of the working folder, whose files may say what the attack is; no folder around one of those."""
    path, shut = path.resolve(), [each.resolve() for each in (*closed, *map(Path, _SYSTEM))]
    around = path.is_dir() and any(each.is_relative_to(path) for each in (*shut, Path.cwd()))
    return not around and not any(path.is_relative_to(each) for each in shut)
