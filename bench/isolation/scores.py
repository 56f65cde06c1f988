"""What a detector says of test images, and an encoder test of its encoder: checked, written to a folder and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import EncoderVerdict
from bench.errors import BenchError
from bench.store import read_arrays, read_json, write_arrays, write_json

SCORES, FACTS, VERDICT = "scores.npz", "facts.json", "encoder.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """M test images as a detector judged them. index: (M,) int64, of the validation image; trigger: (M,) int64, which
    one it was given, -1 for none; score: (M,) float64, higher = more suspicious. facts: JSON-able, for the record."""

    index: NDArray[np.int64]
    trigger: NDArray[np.int64]
    score: NDArray[np.float64]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def triggered(self) -> NDArray[np.bool_]:
        """Which carry a trigger, (M,)."""
        return self.trigger >= 0


def check_scores(score: NDArray[np.float64], count: int, detector: str) -> NDArray[np.float64]:
    """The scores, if there is a finite one for each of `count` images; else BenchError."""
    said = f"detector {detector!r} returned from score()"
    if score.shape != (count,):
        raise BenchError(f"{said} an array of shape {score.shape}, expected {(count,)}: a score for each image")
    if not np.isfinite(score).all():
        raise BenchError(f"{said} {int((~np.isfinite(score)).sum())} scores that are not finite")
    return score.astype(np.float64)


def write_scores(scores: Scores, folder: Path) -> None:
    """What a detect stage leaves in `folder`."""
    write_arrays(folder / SCORES, {"index": scores.index, "trigger": scores.trigger, "score": scores.score})
    write_json(folder / FACTS, dict(scores.facts))


def read_scores(folder: Path) -> Scores:
    """What a detect stage left in `folder`."""
    return Scores(**read_arrays(folder / SCORES), facts=read_json(folder / FACTS))


def write_encoder_verdict(verdict: EncoderVerdict, folder: Path) -> None:
    """What a judge stage leaves in `folder`."""
    write_json(folder / VERDICT, {"score": verdict.score, "facts": dict(verdict.facts)})


def read_encoder_verdict(folder: Path) -> EncoderVerdict:
    """What a judge stage left in `folder`."""
    return EncoderVerdict(**read_json(folder / VERDICT))
