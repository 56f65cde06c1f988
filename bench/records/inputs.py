"""What the numbers of a record are computed from: labels, predictions, a verdict and the truth; no image, no model.

A run's record and the check of a submission compute them by the functions here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.api import Dataset, EncoderVerdict, Verdict
from bench.data.manifest import Manifest
from bench.errors import BenchError
from bench.isolation.scores import Scores
from bench.store import read_arrays

from . import metrics
from .metrics import Ints
from .record import poison_facts


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Predicted class of M validation images as they are, (M,), and with each of T triggers, (T, M)."""

    clean: Ints
    triggered: Ints


Judgement = Verdict | Scores | EncoderVerdict


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Of N training and M validation images; `targets` is the target class of each of T triggers. defended: None where
    the run ended with the verdict. verdict: of a defense, or what a detector or an encoder test said."""

    classes: tuple[str, ...]
    targets: tuple[int, ...]
    manifest: Manifest
    train_labels: Ints
    val_labels: Ints
    none: Predictions
    defended: Predictions | None
    verdict: Judgement


def predicted_of(evidence: Evidence) -> list[tuple[str, Predictions]]:
    """("none", its predictions), and ("defended", ...) where there is a second training."""
    both = (("none", evidence.none), ("defended", evidence.defended))
    return [(which, predicted) for which, predicted in both if predicted is not None]


def gather(
    dataset: Dataset, targets: tuple[int, ...], manifest: Manifest, verdict: Judgement, probes: tuple[Path, Path | None]
) -> Evidence:
    """The evidence of a run. probes: the folders that the two probe stages left, without and with the defense (None:
    the run ended with the verdict)."""
    before, after = probes
    none, labels = predictions(before, len(targets))
    return Evidence(
        classes=dataset.classes,
        targets=targets,
        manifest=manifest,
        train_labels=dataset.train.labels,
        val_labels=labels,
        none=none,
        defended=None if after is None else predictions(after, len(targets))[0],
        verdict=verdict,
    )


def predictions(probe: Path, triggers: int) -> tuple[Predictions, Ints]:
    """What the folder of a probe stage holds, and the true class of each image, (M,)."""
    stored = read_arrays(probe / "predictions.npz")
    try:
        triggered = np.stack([stored[f"trigger{number}"] for number in range(triggers)])
        return Predictions(clean=stored["clean"], triggered=triggered), stored["labels"]
    except (KeyError, ValueError) as error:
        raise BenchError(f"{probe / 'predictions.npz'} is damaged: {error}") from error


def scores(evidence: Evidence) -> dict[str, Any]:
    """The record's "poison" and "metrics"."""
    targets, labels, after = evidence.targets, evidence.train_labels, evidence.defended
    return {
        "poison": poison_facts(evidence.manifest, labels, targets, evidence.classes),
        "metrics": {
            "none": _rates(evidence, evidence.none),
            **({} if after is None else {"defended": _rates(evidence, after)}),
            **_judged(evidence),
        },
    }


def _judged(evidence: Evidence) -> metrics.Metrics:
    """What the verdict gives, whatever was judged."""
    verdict, truth = evidence.verdict, evidence.manifest
    if isinstance(verdict, Scores):
        return {metrics.TEST_TIME: metrics.of_test_images(verdict.triggered, verdict.score)}
    if isinstance(verdict, EncoderVerdict):
        return {metrics.ENCODER: metrics.encoder(verdict.score)}
    lost = metrics.clean_removed(evidence.train_labels, evidence.classes, truth.poisoned, verdict.keep)
    return {**found(truth, verdict, evidence.targets), "clean_removed": lost}


def _rates(evidence: Evidence, predicted: Predictions) -> metrics.Metrics:
    return metrics.classification(predicted.clean, predicted.triggered, evidence.val_labels, evidence.targets)


def found(truth: Manifest, verdict: Verdict, targets: tuple[int, ...]) -> metrics.Metrics:
    """What a verdict gives: "detection", "localisation", with several targets "per_trigger"."""
    scored = verdict.trigger_score, verdict.boxes
    values: metrics.Metrics = {
        "detection": metrics.detection(truth.poisoned, verdict.keep, verdict.score),
        "localisation": metrics.localisation(truth.poisoned, truth.boxes, *scored),
    }
    if len(targets) > 1:  # of one trigger it would say the same again
        values["per_trigger"] = metrics.of_each_trigger(
            truth.trigger, targets, truth.boxes, verdict.keep, verdict.score, *scored
        )
    return values
