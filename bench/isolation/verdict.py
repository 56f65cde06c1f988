"""What a defense answers: checked, written to a folder, read from it, named by its content."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.api import Verdict
from bench.errors import BenchError
from bench.store import digest, read_arrays, write_arrays, write_json


def write_verdict(verdict: Verdict, folder: Path) -> None:
    """What a clean stage leaves in `folder`."""
    write_arrays(folder / "verdict.npz", verdict.arrays())
    write_json(folder / "facts.json", dict(verdict.facts))


def read_verdict(folder: Path) -> Verdict:
    """What a clean stage left in `folder`."""
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    return Verdict(**read_arrays(folder / "verdict.npz"), facts=facts)


def check_verdict(verdict: Verdict, count: int, size: int, defense: str) -> Verdict:
    """The verdict, if it has the promised form; else a BenchError that names what does not fit."""

    def demand(holds: bool, what: str) -> None:
        if not holds:
            raise BenchError(f"defense {defense!r} returned a verdict whose {what}")

    keep = np.asarray(verdict.keep)
    demand(
        keep.dtype == bool and keep.shape == (count,), f"keep is {keep.dtype} {keep.shape}, expected bool ({count},)"
    )
    demand(bool(keep.any()), "keep is all False: it removes the whole training set")
    for name in ("score", "trigger_score"):
        value = getattr(verdict, name)
        if value is not None:
            demand(np.shape(value) == (count,), f"{name} has shape {np.shape(value)}, expected ({count},)")
    if verdict.score is not None:
        demand(bool(np.isfinite(verdict.score).all()), "score holds values that are not finite")
    if verdict.boxes is not None:
        boxes = np.asarray(verdict.boxes)
        demand(boxes.shape == (count, 4), f"boxes have shape {boxes.shape}, expected ({count}, 4)")
        found = boxes[(boxes != -1).any(1)]
        within = ((found >= 0) & (found <= size)).all() and (found[:, :2] + found[:, 2:] <= size).all()
        demand(bool(within), "boxes leave the image")
    return verdict


def kept_digest(keep: NDArray[np.bool_]) -> str:
    """Names a selection by its content; keeping everything is one name, so that it shares the threat model."""
    return "all" if keep.all() else digest(np.packbits(keep).tobytes().hex())
