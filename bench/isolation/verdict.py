"""What a defense answers: its form checked, written to a folder, read from it, named by its content.

An answer crosses from the defense's process as arrays and JSON (`taken_apart`, `put_together`), never as objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Arrays, EncoderVerdict, Grouping, Verdict
from bench.errors import BenchError
from bench.store import check_json, digest, read_arrays, read_json, write_arrays, write_json

KINDS = {"b": "bool", "f": "float", "i": "int"}
FORMS = {
    "clean": {"keep": "b", "score": "f", "trigger_score": "f", "boxes": "i"},
    "attention": {"maps": "f", "windows": "i"},
    "grouping": {"labels": "i", "score": "f"},
    "score": {"score": "f"},
    "verdict": {"score": "f"},
}
"""The arrays of each method's answer and the kinds of their dtypes."""
OBJECTS = {
    "clean": "a bench.Verdict",
    "attention": "None or (maps, windows)",
    "grouping": "None or a bench.Grouping",
    "score": "a NumPy array of float, a score for each image",
    "verdict": "a bench.EncoderVerdict with a number as its score",
}
MAY_BE_NONE = ("attention", "grouping")


def taken_apart(method: str, found: object, defense: str) -> tuple[Arrays, dict[str, Any]]:
    """What `defense` returned from its `method` as arrays and JSON. Raises BenchError where it is of another kind."""
    said = f"defense {defense!r} returned from {method}()"
    if method == "clean" and isinstance(found, Verdict):
        given = {name: getattr(found, name) for name in FORMS[method]}
        arrays = {name: value for name, value in given.items() if value is not None or name == "keep"}
        return _checked(method, arrays, said), {"facts": _facts(found.facts, said)}
    if method == "grouping" and isinstance(found, Grouping):
        return _checked(method, {"labels": found.labels, "score": found.score}, said), {"rule": str(found.rule)}
    if method == "attention" and isinstance(found, tuple) and len(found) == 2:
        return _checked(method, dict(zip(FORMS[method], found, strict=True)), said), {}
    if method == "score" and isinstance(found, np.ndarray):
        return _checked(method, {"score": found}, said), {}
    if method == "verdict" and isinstance(found, EncoderVerdict) and isinstance(found.score, int | float | np.floating):
        return {"score": np.array([found.score], np.float64)}, {"facts": _facts(found.facts, said)}
    if method not in MAY_BE_NONE or found is not None:
        raise BenchError(f"{said} {_kind(found)}, expected {OBJECTS[method]}")
    return {}, {}


def put_together(method: str, arrays: Arrays, words: dict[str, Any], defense: str) -> Any:
    """What `taken_apart` took apart: it may come from a hostile process. Raises BenchError for anything else."""
    said = f"defense {defense!r} returned from {method}()"
    if method in MAY_BE_NONE and not arrays:
        return None
    needed = {"keep"} if method == "clean" else set(FORMS[method])
    if not needed <= set(arrays) <= set(FORMS[method]):
        raise BenchError(f"{said} the arrays {sorted(arrays)}, expected {sorted(FORMS[method])}")
    found: dict[str, Any] = _checked(method, arrays, said)
    if method == "clean":
        return Verdict(**found, facts=_facts(words.get("facts"), said))
    if method == "score":
        return found["score"]
    if method == "verdict":
        return _encoder_verdict(found["score"], _facts(words.get("facts"), said), said)
    return tuple(found.values()) if method == "attention" else Grouping(**found, rule=str(words.get("rule")))


def _encoder_verdict(score: NDArray[np.float64], facts: dict[str, Any], said: str) -> EncoderVerdict:
    if score.shape != (1,) or not np.isfinite(score[0]):
        raise BenchError(f"{said} the score {score.tolist()}, expected a finite number")
    return EncoderVerdict(score=float(score[0]), facts=facts)


def _checked(method: str, arrays: Mapping[str, object], said: str) -> Arrays:
    """The values as plain NumPy arrays of their own, if each is one and its dtype is of its kind."""
    checked = {}
    for name, value in arrays.items():
        kind = FORMS[method][name]
        if not isinstance(value, np.ndarray) or value.dtype.kind != kind:
            got = value.dtype if isinstance(value, np.ndarray) else _kind(value)
            raise BenchError(f"{said} {name} as {got}, expected a NumPy array of {KINDS[kind]}")
        checked[name] = np.array(value)
    return checked


def _facts(facts: object, said: str) -> dict[str, Any]:
    if not isinstance(facts, Mapping):
        raise BenchError(f"{said} facts as {_kind(facts)}, expected a dict")
    found = dict(facts)
    try:
        check_json(found, "facts")
    except (BenchError, RecursionError) as error:
        raise BenchError(f"{said} facts that are not JSON: {error}") from None
    return found


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__


def check_verdict(verdict: Verdict, count: int, size: int, defense: str) -> Verdict:
    """The verdict, if it has the promised form for `count` images of `size` px; else a BenchError that names what does
    not fit."""

    def demand(holds: bool, what: str) -> None:
        if not holds:
            raise BenchError(f"defense {defense!r} returned a verdict whose {what}")

    shapes = {"keep": (count,), "score": (count,), "trigger_score": (count,), "boxes": (count, 4)}
    for name, shape in shapes.items():
        value = getattr(verdict, name)
        if value is not None or name == "keep":
            array, kind = np.asarray(value), FORMS["clean"][name]
            fits = array.dtype.kind == kind and array.shape == shape
            demand(fits, f"{name} is {array.dtype} {array.shape}, expected {KINDS[kind]} {shape}")
    demand(bool(verdict.keep.any()), "keep is all False: it removes the whole training set")
    if verdict.score is not None:
        demand(bool(np.isfinite(verdict.score).all()), "score holds values that are not finite")
    if verdict.boxes is not None:
        found = verdict.boxes[(verdict.boxes != -1).any(1)]
        within = ((found >= 0) & (found <= size)).all() and (found[:, :2] + found[:, 2:] <= size).all()
        demand(bool(within), "boxes leave the image")
    return verdict


def write_verdict(verdict: Verdict, folder: Path) -> None:
    """What a clean stage leaves in `folder`: verdict.npz and facts.json."""
    write_arrays(folder / "verdict.npz", verdict.arrays())
    write_json(folder / "facts.json", dict(verdict.facts))


def read_verdict(folder: Path) -> Verdict:
    """What a clean stage left in `folder`. Raises BenchError where it is damaged."""
    facts = {"facts": read_json(folder / "facts.json")}
    try:
        found: Verdict = put_together("clean", read_arrays(folder / "verdict.npz"), facts, "")
        return found
    except BenchError as error:
        raise BenchError(f"the verdict in {folder} is damaged: {error}") from error


def kept_digest(keep: NDArray[np.bool_]) -> str:
    """Names a selection by its content; keeping everything is one name, so that it shares the threat model."""
    return "all" if keep.all() else digest(np.packbits(keep).tobytes().hex())
