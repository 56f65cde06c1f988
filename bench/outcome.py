"""From finished stages to a record: every metric is computed from what the stages stored, every time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from . import __version__, metrics, record
from .evidence import Evidence, gather, scores
from .pipeline import Pipeline


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
            "asked": dict(config.asked),
        },
        "config": config.resolved,
        "dataset": record.dataset_facts(dataset),
        **scores(_evidence(pipeline, targets)),
        "facts": dict(pipeline.verdict.facts),
        "seeds": {"root": config.seed, **{n: config.seeds.child(n).value for n in ("attack", "pretrain", "probe")}},
        "versions": record.versions(),
        "hardware": record.hardware(),
        "stages": _stages(pipeline),
        "git": record.git_state(),
    }
    record.validate(built)
    return built


def _evidence(pipeline: Pipeline, targets: tuple[int, ...]) -> Evidence:
    probes = pipeline.folder(pipeline.threat_probe), pipeline.folder(pipeline.defended_probe)
    return gather(pipeline.dataset, targets, pipeline.train_manifest, pipeline.verdict, probes)


def _stages(pipeline: Pipeline) -> dict[str, Any]:
    named = {
        "poison": pipeline.poison,
        "threat_model": pipeline.threat,
        "threat_probe": pipeline.threat_probe,
        "defense": pipeline.clean,
        "retraining": pipeline.retrain,
        "defended_probe": pipeline.defended_probe,
    }
    found = {}
    for name, stage in named.items():
        meta = pipeline.store.meta(stage.name, stage.key) or {}
        cost = {key: round(float(meta.get(key, 0.0)), 2) for key in ("seconds", "peak_memory_mb")}
        found[name] = {"key": stage.key, **cost, "threads": meta.get("threads")}
    return found
