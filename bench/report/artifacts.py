"""What a run's page shows beside its record: images, clusters, curves, from what the run's stages stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.api import Control, Defense, Repair
from bench.isolation.scores import Scores
from bench.pipeline.pipeline import Pipeline
from bench.ssl.schedule import Schedule

from .charts import Chart, Curve, loss_chart, rate_chart, read_losses, score_chart
from .pictures import WRONG, Album, Clusters, Picture, seen
from .removed import Removed, removed_by_class

FIRST, SECOND, REPAIR = "first training", "second training", "repair"


@dataclass(frozen=True, kw_only=True, eq=False)
class Artifacts:
    """What the stages of a run stored, as its page shows it.

    training_change: the name of a change of the second training, or of a repair; unpoisoned: the new encoder saw the
    images as they were before they were poisoned. size: of an image, pixels. ranked: the suspects are ordered by a
    score; by_trigger: by the trigger score. without_curve: (training, why it has no curve).
    """

    training_change: str | None
    unpoisoned: bool
    size: int
    suspects: Sequence[Picture]
    ranked: bool
    by_trigger: bool
    removed: Removed
    missed: Sequence[Picture]
    collateral: Sequence[Picture]
    clusters: Clusters | None
    scores: Chart | None
    curves: Sequence[Curve]
    loss: Chart | None
    rate: Chart | None
    without_curve: Sequence[tuple[str, str]]


def artifacts_of(pipeline: Pipeline, others: Sequence[Defense], count: int) -> Artifacts:
    """Those of a finished run: `count` suspects, with the maps of its defense and of `others`."""
    if pipeline.config.defense.only_judges:
        return _of_scores(pipeline)
    verdict, data, defense = pipeline.verdict, pipeline.dataset, pipeline.config.defense
    poisoned = pipeline.train_manifest.poisoned
    removed = removed_by_class(data.train.labels, data.classes, poisoned, verdict.keep)
    album = Album(pipeline)
    found = seen(pipeline, album, others, count)
    curves, without_curve = _curves(pipeline)
    return Artifacts(
        training_change=defense.training_change.name if defense.training_change else None,
        unpoisoned=isinstance(defense.filter, Control) and defense.filter.unpoisoned,
        size=album.size,
        suspects=found.suspects,
        ranked=verdict.score is not None or verdict.trigger_score is not None,
        by_trigger=verdict.trigger_score is not None,
        removed=removed,
        missed=album.pictures(removed.missed[:WRONG], small=True),
        collateral=album.pictures(removed.collateral[:WRONG], small=True),
        clusters=found.clusters,
        scores=None if verdict.score is None else score_chart(verdict.score, poisoned, verdict.keep),
        curves=curves,
        loss=loss_chart(curves) if curves else None,
        rate=rate_chart(curves) if curves else None,
        without_curve=without_curve,
    )


def _of_scores(pipeline: Pipeline) -> Artifacts:
    """Those of a detector or an encoder test: the scores of test images, if there are any, and the training."""
    found, chart = pipeline.judgement, None
    if isinstance(found, Scores):
        keep, names = np.ones(len(found.score), bool), ("without a trigger", "with a trigger")
        chart = score_chart(found.score, found.triggered, keep, names)
    curves, without_curve = _curves(pipeline)
    nobody = np.zeros(0, np.int64)
    return Artifacts(
        training_change=None,
        unpoisoned=False,
        size=pipeline.dataset.size,
        suspects=(),
        ranked=False,
        by_trigger=False,
        removed=Removed((), nobody, nobody),
        missed=(),
        collateral=(),
        clusters=None,
        scores=chart,
        curves=curves,
        loss=loss_chart(curves) if curves else None,
        rate=rate_chart(curves) if curves else None,
        without_curve=without_curve,
    )


def _curves(pipeline: Pipeline) -> tuple[list[Curve], list[tuple[str, str]]]:
    """The curves that there are, and (training, why there is none) for the others."""
    config, curves, without = pipeline.config, [], []
    trainings = [(FIRST, pipeline.threat, Schedule(config.train, len(pipeline.dataset.train), config.seeds))]
    if pipeline.whole:
        name = REPAIR if isinstance(config.defense.training_change, Repair) else SECOND
        trainings.append((name, pipeline.retrain, pipeline.second_schedule))
    else:
        ended = "scores" if config.defense.only_judges else "the verdict"
        without.append((SECOND, f"there is none: the run ended with {ended}"))
    for name, stage, schedule in trainings:
        if name == SECOND and stage.key == pipeline.threat.key:
            without.append((name, "all images were kept, so it is the first training"))
        elif stage.name == "import":
            without.append((name, "the encoder was imported, not trained here"))
        elif losses := read_losses(pipeline.folder(stage)):
            curves.append(Curve(name, losses, schedule))
        else:
            without.append((name, "no curve stored (older run)"))
    return curves, without
