"""Puts the page together. What does not apply to a run says so; no section is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.api import Control, Defense
from bench.pipeline.pipeline import Pipeline
from bench.records.record import Record
from bench.report.html import render
from bench.ssl.schedule import Schedule

from . import charts, tables
from .controls import Beside
from .pictures import WRONG, Album, seen
from .removed import removed_by_class
from .story import Played, story

FIRST, SECOND = "first training", "second training"


def report(
    pipeline: Pipeline, record: Record, beside: Beside, others: Sequence[Defense] = (), count: int = 12
) -> bytes:
    """The page of a finished run, UTF-8. others: defenses whose maps are drawn besides those of the run's own; count:
    how many suspicious images."""
    verdict, data = pipeline.verdict, pipeline.dataset
    removed = removed_by_class(data.train.labels, data.classes, pipeline.train_manifest.poisoned, verdict.keep)
    album, played = Album(pipeline), _played(pipeline)
    found = seen(pipeline, album, others, count)
    return render(
        "report.html",
        record=record,
        run=record["run"],
        story=story(record, beside, removed, played),
        played=played,
        tables=[tables.rates(record, beside), tables.detection(record)],
        more=[each for each in (tables.localisation(record), tables.per_trigger(record)) if each],
        missing_control=not beside.controls and not record["run"].get("control"),
        glossary=tables.GLOSSARY,
        size=album.size,
        suspects=found.suspects,
        ranked=verdict.score is not None or verdict.trigger_score is not None,
        by_trigger=verdict.trigger_score is not None,
        removed=removed,
        missed=album.pictures(removed.missed[:WRONG], small=True),
        collateral=album.pictures(removed.collateral[:WRONG], small=True),
        clusters=found.clusters,
        **_charts(pipeline),
        cost=tables.cost(record),
        provenance=tables.provenance(record),
        facts=tables.facts(record),
        options=tables.options(record),
    )


def _played(pipeline: Pipeline) -> Played:
    defense = pipeline.config.defense
    return Played(
        change=defense.training_change.name if defense.training_change else None,
        unpoisoned=isinstance(defense.filter, Control) and defense.filter.unpoisoned,
        trained_again=pipeline.retrain.key != pipeline.threat.key,
    )


def _charts(pipeline: Pipeline) -> dict[str, Any]:
    curves, without = _curves(pipeline)
    score = pipeline.verdict.score
    return {
        "without_curve": without,
        "loss": charts.loss_chart(curves) if curves else None,
        "rate": charts.rate_chart(curves) if curves else None,
        "curves": curves,
        "scores": None
        if score is None
        else charts.score_chart(score, pipeline.train_manifest.poisoned, pipeline.verdict.keep),
    }


def _curves(pipeline: Pipeline) -> tuple[list[charts.Curve], list[tuple[str, str]]]:
    """The curves that there are, and (training, why there is none) for the others."""
    config, curves, without = pipeline.config, [], []
    trainings = (
        (FIRST, pipeline.threat, len(pipeline.dataset.train)),
        (SECOND, pipeline.retrain, int(pipeline.verdict.keep.sum())),
    )
    for name, stage, count in trainings:
        if name == SECOND and stage.key == pipeline.threat.key:
            without.append((name, "all images were kept, so it is the first training"))
        elif stage.name == "import":
            without.append((name, "the encoder was imported, not trained here"))
        elif losses := charts.read_losses(pipeline.folder(stage)):
            curves.append(charts.Curve(name, losses, Schedule(config.train, count, config.seeds)))
        else:
            without.append((name, "no curve stored (older run)"))
    return curves, without
