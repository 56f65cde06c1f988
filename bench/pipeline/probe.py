"""The stage that measures an encoder: a linear classifier on its features, on clean and on triggered images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from bench.api import Dataset, Images
from bench.config.config import Config
from bench.data.images import Subset
from bench.store import ArtifactBuilder, write_arrays, write_json

from .pretrain import EncoderSource
from .stage import Machine, ProgressReport, Stage


def probe_stage(
    config: Config,
    dataset: Dataset,
    triggered: Callable[[], list[Images]],
    machine: Machine,
    encoder: Callable[[], Path],
    inputs: dict[str, str],
    title: str,
) -> Stage:
    """Linear evaluation: the predictions on the clean and on each triggered validation set."""

    def make(making: ArtifactBuilder, report: ProgressReport) -> None:
        from bench.ssl import linear_probe as probe
        from bench.ssl.encoder import feature_maker

        seeds = config.seeds.child("probe")
        rows = probe.labelled_subset(dataset.train.labels, config.probe.fraction, seeds.child("subset"))
        sets = [dataset.val.images, *triggered()]
        report("feature sets", 0, len(sets) + 1)
        found = {}
        with machine.shards(config.threads) as shards:
            features = feature_maker(EncoderSource(encoder(), config.encoder, dataset.size), machine.device, shards)
            labelled = features(Subset(dataset.train.images, rows))
            fitted = probe.fit(labelled, dataset.train.labels[rows], len(dataset.classes), config.probe, seeds)
            for number, images in enumerate(sets):
                report("feature sets", number + 1, len(sets) + 1)
                found["clean" if number == 0 else f"trigger{number - 1}"] = fitted.predict(features(images))
        write_arrays(making.dir / "predictions.npz", {**found, "labels": dataset.val.labels})
        write_json(making.dir / "probe.json", {"labelled_images": len(rows)})

    return Stage(
        name="probe",
        title=title,
        config={"probe": dataclasses.asdict(config.probe), "seed": config.seed, "threads": config.threads},
        inputs=inputs,
        make=make,
        work=len(dataset.val),
    )
