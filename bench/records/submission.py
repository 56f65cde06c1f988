"""A submission: one zip that holds a record and all that its numbers can be computed from again.

    about.json         {"format": 1, "members": {name: SHA-256}}: what else is in it
    record.json        the record, its paths reduced to file names
    classes.json       the class names, in order
    train.jsonl        the poison manifest of the N training images
    train_labels.npy   (N,) int64          val_labels.npy   (M,) int64
    none.clean.npy, none.trigger<t>.npy        predictions, (M,) int64
    defended.clean.npy, defended.trigger<t>.npy   the same with the defense; not of a run until detection
    keep.npy           (N,) bool; where the defense gave them: score.npy, trigger_score.npy (N,) float64,
                       boxes.npy (N, 4) int64
Reading one executes nothing, unpickles nothing and writes nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.api import Arrays, Verdict
from bench.data.manifest import Manifest
from bench.errors import BenchError, printable

from .inputs import Evidence, Predictions, predicted_of
from .record import SUBMITTED, Record, only_judges, upgraded, validate, whole
from .redact import without_paths
from .safe_zip import Archive, array_bytes, array_from, json_from, pack, read_file

FORMAT = 1
ABOUT, RECORD, CLASSES, MANIFEST = "about.json", "record.json", "classes.json", "train.jsonl"
MAX_JSON, MAX_MANIFEST, MAX_ARRAYS = 4 * 2**20, 256 * 2**20, 512 * 2**20
_LINE = 2048  # bytes of a manifest's row, on average, at most
_OPTIONAL = ("score", "trigger_score", "boxes")


@dataclass(frozen=True, kw_only=True, eq=False)
class Submission:
    """What a file says (not yet verified), and the file's SHA-256."""

    record: Record
    evidence: Evidence
    sha256: str


def layout(record: Mapping[str, Any], triggers: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Every array that a submission of `record` may hold: file name -> (dtype, shape)."""
    counts = record["dataset"]["counts"]
    train, val = (counts["train"],), (counts["val"],)
    found: dict[str, tuple[str, tuple[int, ...]]] = {"keep": ("|b1", train)}
    found |= {"train_labels": ("<i8", train), "val_labels": ("<i8", val)}
    for which in ("none", "defended") if whole(record) else ("none",):
        found |= {f"{which}.{each}": ("<i8", val) for each in ("clean", *(f"trigger{n}" for n in range(triggers)))}
    found |= {"score": ("<f8", train), "trigger_score": ("<f8", train), "boxes": ("<i8", (*train, 4))}
    return {f"{name}.npy": of for name, of in found.items()}


# --- writing --------------------------------------------------------------------------------------


def to_bytes(record: Mapping[str, Any], evidence: Evidence) -> bytes:
    """The file of a submission. Equal input gives equal bytes."""
    refuse_judges(record)
    sent = {**without_paths(upgraded(record)), "status": SUBMITTED}
    sent.pop("submission", None)
    arrays = _arrays_of(evidence)
    shapes = layout(sent, len(evidence.targets))
    members = {f"{name}.npy": array_bytes(array, shapes[f"{name}.npy"][0]) for name, array in arrays.items()}
    members |= {RECORD: _json(sent), CLASSES: _json(list(evidence.classes)), MANIFEST: evidence.manifest.to_bytes()}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
    return pack({**members, ABOUT: _json({"format": FORMAT, "members": digests})})


def refuse_judges(record: Mapping[str, Any]) -> None:
    """Raises BenchError for a record that no submission can hold."""
    if only_judges(record):
        raise BenchError(
            f"the run is of {record['run']['defense']!r}, which chooses no training images: a submission holds a "
            "verdict on them. Scores of test images and of encoders cannot be sent in yet"
        )


def _arrays_of(evidence: Evidence) -> Arrays:
    found: Arrays = {"train_labels": evidence.train_labels, "val_labels": evidence.val_labels}
    for which, predicted in predicted_of(evidence):
        found[f"{which}.clean"] = predicted.clean
        found |= {f"{which}.trigger{number}": row for number, row in enumerate(predicted.triggered)}
    verdict = {name: getattr(evidence.verdict, name, None) for name in ("keep", *_OPTIONAL)}
    return found | {name: array for name, array in verdict.items() if array is not None}


def _json(value: object) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()


# --- reading --------------------------------------------------------------------------------------


def read(path: Path) -> Submission:
    """What the file says. Raises BenchError naming it and what is wrong with its form."""
    try:
        return from_bytes(read_file(path))
    except BenchError as error:
        raise BenchError(f"{path} is no submission that can be read: {printable(str(error))}") from None


def from_bytes(data: bytes) -> Submission:
    """What a submission's bytes say. Raises BenchError where their form is wrong."""
    archive = Archive(data)
    digests = _digests(archive)
    record = json_from(_sealed(archive, RECORD, MAX_JSON, digests), RECORD)
    validate(record, RECORD)
    record = upgraded(record)
    refuse_judges(record)
    targets = _targets(record)
    arrays = _read_arrays(archive, record, len(targets), digests)
    most = min(MAX_MANIFEST, 4096 + _LINE * record["dataset"]["counts"]["train"])
    manifest = Manifest.from_bytes(_sealed(archive, MANIFEST, most, digests), MANIFEST)
    classes = json_from(_sealed(archive, CLASSES, MAX_JSON, digests), CLASSES)
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise BenchError(f"{CLASSES} is no list of names")
    evidence = Evidence(
        classes=tuple(classes),
        targets=targets,
        manifest=manifest,
        train_labels=arrays["train_labels"],
        val_labels=arrays["val_labels"],
        none=_predictions(arrays, "none", len(targets)),
        defended=_predictions(arrays, "defended", len(targets)) if whole(record) else None,
        verdict=Verdict(
            keep=arrays["keep"],
            score=arrays.get("score"),
            trigger_score=arrays.get("trigger_score"),
            boxes=arrays.get("boxes"),
        ),
    )
    return Submission(record=record, evidence=evidence, sha256=hashlib.sha256(data).hexdigest())


def _digests(archive: Archive) -> dict[str, str]:
    """What about.json says is in the archive, which is just that."""
    about = json_from(archive.read(ABOUT, MAX_JSON), ABOUT)
    known = isinstance(about, dict) and about.keys() == {"format", "members"}
    if not known or about["format"] != FORMAT:
        raise BenchError(f"{ABOUT} is not of format {FORMAT}: made by another version of the benchmark?")
    members = about["members"]
    if not isinstance(members, dict) or archive.names != {ABOUT, *members}:
        odd = sorted(archive.names ^ {ABOUT, *(members if isinstance(members, dict) else ())})
        raise BenchError(f"its files and the list in {ABOUT} differ: {odd[:3]!a}")
    return members


def _sealed(archive: Archive, name: str, most: int, digests: Mapping[str, Any]) -> bytes:
    data = archive.read(name, most)
    if hashlib.sha256(data).hexdigest() != digests[name]:
        raise BenchError(f"{name} was changed after it was packed: its SHA-256 is not the one in {ABOUT}")
    return data


def _targets(record: Mapping[str, Any]) -> tuple[int, ...]:
    """The target class of each trigger, as the record's metrics name them."""
    named = record["metrics"]["none"].get("per_trigger")
    if not named or len(named) != len(record["poison"]["targets"]):
        raise BenchError(f"{RECORD}: metrics.none.per_trigger is not one entry for each target of the attack")
    return tuple(int(each["target"]) for each in named)


def _read_arrays(archive: Archive, record: Record, triggers: int, digests: Mapping[str, Any]) -> Arrays:
    known = layout(record, triggers)
    required = known.keys() - {f"{name}.npy" for name in _OPTIONAL} | {RECORD, CLASSES, MANIFEST}
    for odd, fault in (
        (required - digests.keys(), "is missing"),
        (digests.keys() - required - known.keys(), "has no place in the submission of this record"),
    ):
        if odd:
            raise BenchError(f"{min(odd)!a} {fault}")
    sizes = {name: np.dtype(known[name][0]).itemsize * math.prod(known[name][1]) for name in known if name in digests}
    if sum(sizes.values()) > MAX_ARRAYS:
        raise BenchError(f"its arrays would take more than {MAX_ARRAYS // 2**20} MiB")
    return {
        name.removesuffix(".npy"): array_from(_sealed(archive, name, size + 1152, digests), name, *known[name])
        for name, size in sizes.items()
    }


def _predictions(arrays: Arrays, which: str, triggers: int) -> Predictions:
    triggered = np.stack([arrays[f"{which}.trigger{number}"] for number in range(triggers)])
    return Predictions(clean=arrays[f"{which}.clean"], triggered=triggered)
