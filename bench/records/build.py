"""From finished stages to a record: every metric is computed from what the stages stored, every time."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import __version__
from bench.api import Repair
from bench.config.config import Config
from bench.errors import BenchError
from bench.pipeline.pipeline import Pipeline
from bench.pipeline.stage import Stage
from bench.plugins.origin import origin
from bench.store import digest

from . import metrics, record
from .inputs import Evidence, found, gather, predictions, scores

log = logging.getLogger(__name__)
LONGEST = 180
"""Characters of plugins' names in a record's file name, which may have 255 in all."""


def record_path(pipeline: Pipeline) -> Path:
    """Where the store keeps the record of a finished pipeline."""
    run, last = pipeline.config, [pipeline.defended_probe] if pipeline.whole else []
    keys = [stage.key for stage in (pipeline.clean, pipeline.threat_probe, *last)]
    plugins = f"{run.dataset.name}-{run.attack.name}-{run.defense.name}"[:LONGEST]
    return pipeline.store.root / "records" / f"{plugins}-seed{run.seed}-{digest(keys)[:10]}.json"


def keep_record(pipeline: Pipeline) -> tuple[record.Record, Path]:
    """The record of a finished pipeline, and where the store keeps it."""
    built, kept = build_record(pipeline), record_path(pipeline)
    save_changed(kept, built)
    return built, kept


def save_changed(path: Path, built: record.Record) -> None:
    """Write a record, unless one of the same outcome is there; in place of a damaged one, too. Raises BenchError for
    one of a newer version of the schema, of which nothing can be said."""
    if os.path.lexists(path):
        try:
            if record.fingerprint(record.load(path)) == record.fingerprint(built):
                return
        except BenchError as error:
            if path.is_dir() or record.is_newer(path):
                raise
            log.warning("a damaged record is written again: %s", error)
    record.save(path, built)


def build_record(pipeline: Pipeline) -> record.Record:
    """The schema-checked record of a finished pipeline."""
    config, dataset = pipeline.config, pipeline.dataset
    targets = config.attack.targets(dataset.classes)
    built = {
        "schema_version": record.SCHEMA_VERSION,
        "metric_version": metrics.METRIC_VERSION,
        "status": record.MEASURED,
        "bench": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": {
            "attack": config.attack.name,
            "defense": config.defense.name,
            "preset": config.preset,
            "seed": config.seed,
            "control": config.defense.control,
            "baseline": config.defense.baseline,
            **({"repair": True} if isinstance(config.defense.training_change, Repair) else {}),
            "until": config.until,
            "asked": {**config.asked, **_imported(config)},
        },
        "plugins": _origins(config),
        "config": _resolved(pipeline),
        "dataset": record.dataset_facts(dataset),
        **scores(_evidence(pipeline, targets)),
        "facts": dict(pipeline.judgement.facts),
        "seeds": {"root": config.seed, **{n: config.seeds.child(n).value for n in ("attack", "pretrain", "probe")}},
        "versions": record.versions(),
        "hardware": record.hardware(),
        "stages": _stages(pipeline),
        "git": record.git_state(),
    }
    record.validate(built)
    return built


def _resolved(pipeline: Pipeline) -> dict[str, Any]:
    """The configuration, with what the machine decides."""
    resolved = pipeline.config.resolved
    precision = pipeline.machine.precision(pipeline.config.train)
    return {**resolved, "train": {**resolved["train"], "precision": precision}}


def _origins(config: Config) -> list[dict[str, str]]:
    """Where each plugin of the run comes from, part by part of its defense."""
    defense, reference = config.defense, config.defense.reference
    parts = [("defense", part) for part in (*defense.parts, *([reference] if reference else []))]
    return [
        origin(*each) for each in (("attack", config.attack), *parts, ("ssl", config.ssl), ("dataset", config.dataset))
    ]


def _imported(config: Config) -> dict[str, Any]:
    """An imported threat model by its file's name and digest: a record is published, a path is not."""
    checkpoint = config.threat_checkpoint
    return {"threat_checkpoint": checkpoint.facts} if checkpoint else {}


def search_metrics(pipeline: Pipeline, targets: tuple[int, ...]) -> dict[str, Any]:
    """What a finished clean stage gives: see inputs.found."""
    return found(pipeline.train_manifest, pipeline.verdict, targets)


def rates(pipeline: Pipeline, probe: Stage, targets: tuple[int, ...]) -> dict[str, Any]:
    """What a finished probe stage gives: metrics.classification of its stored predictions."""
    predicted, labels = predictions(pipeline.folder(probe), len(targets))
    return metrics.classification(predicted.clean, predicted.triggered, labels, targets)


def _evidence(pipeline: Pipeline, targets: tuple[int, ...]) -> Evidence:
    last = pipeline.folder(pipeline.defended_probe) if pipeline.whole else None
    probes = pipeline.folder(pipeline.threat_probe), last
    return gather(pipeline.dataset, targets, pipeline.train_manifest, pipeline.judgement, probes)


def _stages(pipeline: Pipeline) -> dict[str, Any]:
    named = {
        "poison": pipeline.poison,
        "threat_model": pipeline.threat,
        "threat_probe": pipeline.threat_probe,
        "defense": pipeline.clean,
    }
    if pipeline.whole:
        named |= {"retraining": pipeline.retrain, "defended_probe": pipeline.defended_probe}
    found = {}
    for name, stage in named.items():
        meta = pipeline.store.meta(stage.name, stage.key) or {}
        cost = {key: round(float(meta.get(key, 0.0)), 2) for key in ("seconds", "peak_memory_mb")}
        found[name] = {"key": stage.key, **cost, "threads": meta.get("threads")}
    return found
