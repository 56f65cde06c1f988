"""What a defense answers: its form checked, written to a folder, read from it, named by its content.

An answer crosses from the defense's process as arrays and JSON (`taken_apart`, `put_together`), never as objects.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Arrays, Grouping, Verdict
from bench.errors import BenchError
from bench.store import check_json, digest, read_arrays, write_arrays, write_json

KINDS = {"b": "bool", "f": "float", "i": "int"}
FIELDS = {"keep": "b", "score": "f", "trigger_score": "f", "boxes": "i"}
"""The arrays of a verdict and the kinds of their dtypes."""


def taken_apart(method: str, found: object, defense: str) -> tuple[Arrays, dict[str, Any]]:
    """What `defense` returned from its `method` as arrays and JSON. Raises BenchError where it is of another kind."""
    said = f"defense {defense!r} returned from {method}()"
    if method == "clean":
        if not isinstance(found, Verdict):
            raise BenchError(f"{said} {_kind(found)}, expected a bench.Verdict")
        given = {name: getattr(found, name) for name in FIELDS}
        arrays = {name: value for name, value in given.items() if value is not None or name == "keep"}
        return _checked(arrays, FIELDS, said), {"facts": _facts(found.facts, said)}
    if found is None:
        return {}, {}
    if method == "attention":
        if not (isinstance(found, tuple) and len(found) == 2):
            raise BenchError(f"{said} {_kind(found)}, expected None or a tuple (maps, windows)")
        return _checked({"maps": found[0], "windows": found[1]}, {"maps": "f", "windows": "i"}, said), {}
    if not (isinstance(found, Grouping) and isinstance(found.rule, str)):
        raise BenchError(f"{said} {_kind(found)}, expected None or a bench.Grouping with a text as its rule")
    arrays = {"labels": found.labels, "score": found.score}
    return _checked(arrays, {"labels": "i", "score": "f"}, said), {"rule": str(found.rule)}


def put_together(method: str, arrays: Arrays, words: dict[str, Any], defense: str) -> Any:
    """What `taken_apart` took apart: it may come from a hostile process. Raises BenchError for anything else."""
    try:
        if method == "clean":
            return Verdict(**arrays, facts=words["facts"])
        if not arrays:
            return None
        return Grouping(**arrays, rule=words["rule"]) if method == "grouping" else (arrays["maps"], arrays["windows"])
    except (TypeError, KeyError) as error:
        raise BenchError(f"the process of defense {defense!r} gave back no answer of {method}(): {error}") from None


def _checked(arrays: Mapping[str, object], kinds: Mapping[str, str], said: str) -> Arrays:
    """The values as plain NumPy arrays of their own, if each is one and its dtype is of its kind."""
    checked = {}
    for name, value in arrays.items():
        got = str(value.dtype) if isinstance(value, np.ndarray) else _kind(value)
        if not isinstance(value, np.ndarray) or value.dtype.kind != kinds[name]:
            raise BenchError(f"{said} {name} as {got}, expected a NumPy array of {KINDS[kinds[name]]}")
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
            array, kind = np.asarray(value), FIELDS[name]
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
    """What a clean stage left in `folder`."""
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    return Verdict(**read_arrays(folder / "verdict.npz"), facts=facts)


def kept_digest(keep: NDArray[np.bool_]) -> str:
    """Names a selection by its content; keeping everything is one name, so that it shares the threat model."""
    return "all" if keep.all() else digest(np.packbits(keep).tobytes().hex())
