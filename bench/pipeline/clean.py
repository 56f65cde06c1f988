"""The stage in which a defense judges the poisoned training images, in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.api import Defense, Images
from bench.config.config import Config
from bench.isolation.handover import hand_over
from bench.isolation.process import IsolatedDefense
from bench.isolation.verdict import write_verdict
from bench.plugins.identity import identity
from bench.store import ArtifactBuilder, digest

from .pretrain import EncoderSource
from .stage import Machine, ProgressReport, Stage


def clean_stage(
    config: Config,
    defense: Defense,
    poisoned: Callable[[], Images],
    count: int,
    machine: Machine,
    encoder: Callable[[], Path],
    inputs: dict[str, str],
) -> Stage:
    """Lets the defense judge the poisoned training set through its view: verdict.npz and facts.json."""

    def make(making: ArtifactBuilder, report: ProgressReport) -> None:
        store = making.dir.parents[1]
        isolated = isolate(
            config, defense, poisoned(), machine, encoder, making.scratch, store=store, inputs=inputs, report=report
        )
        write_verdict(isolated.clean(), making.dir)
        making.add_memory(max(isolated.peaks, default=0.0))

    return Stage(
        name="clean",
        title=f"find the poison ({defense.name})",
        config={"defense": identity(defense), "seed": config.seed},
        inputs=inputs,
        make=make,
        work=count,
    )


def isolate(
    config: Config,
    defense: Defense,
    images: Images,
    machine: Machine,
    encoder: Callable[[], Path],
    folder: Path,
    *,
    store: Path,
    inputs: Mapping[str, str],
    report: ProgressReport = lambda *_, **__: None,
) -> IsolatedDefense:
    """`defense` ready to judge `images`; they and its saved steps lie in `folder`. inputs: those of its clean stage.

    The key of the poison stage is in them, from which equal images get their order: nobody can work it out without the
    labels and the unpoisoned images. The run's seed alone is soon guessed.
    """
    import torch

    from bench.isolation.job import Job

    seeds = config.seeds.child("view", inputs.get("poison") or digest(dict(inputs)))
    order = hand_over(images, seeds, folder / "images", report)
    source = EncoderSource(encoder(), config.encoder, images.size) if "encoder" in defense.needs else None
    job = Job(
        defense=defense,
        method="clean",
        arguments=(),
        folder=folder,
        encoder=source,
        seeds=config.seeds.child("defense").sealed(),
        device=str(machine.device),
        accelerator=machine.accelerator,
        devices=machine.devices,
        threads=torch.get_num_threads(),
    )
    closed = closed_paths(store, vars(config.dataset))
    readable = [path for path in existing(vars(defense)) if _may_read(path, store, closed)]
    return IsolatedDefense(
        job=job,
        order=order,
        size=images.size,
        readable=(*readable, *([source.file] if source else [])),
        closed=tuple(closed),
        report=report,
        in_place=machine.in_place,
    )


def closed_paths(store: Path, options: Mapping[str, object]) -> list[Path]:
    """What holds truth on this machine: the store, what is known of checked files, and whatever files and folders the
    data set's `options` name."""
    import platformdirs

    found = [store, platformdirs.user_cache_path("ssl-backdoor-bench", appauthor=False)]
    found += [Path(os.environ[name]) for name in ("BENCH_STORE", "BENCH_CACHE") if os.environ.get(name)]
    return found + existing(options)


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
