"""Checks a submission: every number of its record that can be computed again from what came with it, is.

What cannot be: times, memory, hardware, versions, the configuration, what the defense says of its own work
("facts"), and whether the predictions come from that training on those images.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.api import Verdict
from bench.data.manifest import Manifest
from bench.errors import BenchError, counted
from bench.isolation.verdict import check_verdict
from bench.seeds import Seeds
from bench.store import digest

from .inputs import Evidence, predicted_of, scores
from .metrics import METRIC_VERSION, METRICS
from .record import SUBMITTED, Record
from .redact import without_paths
from .submission import Submission, read

TOLERANCE = 1e-9
"""Of a number, absolute and relative: sums may round otherwise on another machine."""
_SHOWN = 5
_LATER = {metric.name for metric in METRICS if not metric.required}
"""What an older record does not say; it is shown as undefined."""


def verified(path: Path) -> Record:
    """The record of a submission that says what its evidence gives, with the status "submitted" and the file's
    SHA-256. Raises BenchError with the reasons where it does not."""
    submission = read(path)
    found = list(faults(submission.record, submission.evidence))
    if found:
        more = f"\n  and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise BenchError(f"{path} is refused:" + "".join(f"\n  {fault}" for fault in found[:_SHOWN]) + more)
    return accepted(submission)


def accepted(submission: Submission) -> Record:
    """The record as it is kept."""
    kept: Record = without_paths(submission.record)
    return {**kept, "status": SUBMITTED, "submission": {"sha256": submission.sha256}}


def numbers(value: Any) -> int:
    """How many numbers `value` holds."""
    if isinstance(value, Mapping):
        return sum(map(numbers, value.values()))
    return sum(map(numbers, value)) if isinstance(value, list) else isinstance(value, int | float)


def faults(record: Mapping[str, Any], evidence: Evidence) -> list[str]:
    """What is wrong, empty where all is right. Evidence that breaks the rules of a run is not scored."""
    if record["metric_version"] != METRIC_VERSION:
        return [f"its metrics are of version {record['metric_version']}; this benchmark computes {METRIC_VERSION}"]
    broken = list(_broken(record, evidence))
    if broken:
        return broken
    found = scores(evidence)
    differ = [fault for name in ("poison", "metrics") for fault in _differ(record[name], found[name], name)]
    return [*differ, *_facts(record, evidence), *_names(record)]


# --- the evidence ---------------------------------------------------------------------------------


def _broken(record: Mapping[str, Any], evidence: Evidence) -> Iterator[str]:
    """Rules that hold for every run of this benchmark. The arrays have the record's counts: it was so that they were
    read."""
    train = record["dataset"]["counts"]["train"]
    if len(evidence.manifest) != train:
        yield f"train.jsonl has {counted(len(evidence.manifest), 'row')}; the record says {train} training images"
    arrays = {"train_labels": evidence.train_labels, "val_labels": evidence.val_labels}
    for which, predicted in predicted_of(evidence):
        arrays |= {f"{which}.clean": predicted.clean, f"{which}.trigger*": predicted.triggered}
    for name, array in {**arrays, "targets": np.asarray(evidence.targets, object)}.items():
        if array.size and not (array.min() >= 0 and array.max() < len(evidence.classes)):
            yield f"{name} holds a class outside 0 to {len(evidence.classes) - 1}"
    yield from _wrong_rows(evidence, record["dataset"]["image_size"])
    try:
        assert isinstance(evidence.verdict, Verdict)  # a submission holds nothing else
        check_verdict(evidence.verdict, len(evidence.manifest), record["dataset"]["image_size"], "submitted")
    except BenchError as error:
        yield str(error)


def _wrong_rows(evidence: Evidence, size: int) -> Iterator[str]:
    manifest: Manifest = evidence.manifest
    if len(manifest) != len(evidence.train_labels):
        return
    for poison in manifest.poisons:
        what = f"train.jsonl: poisoned image {poison.index}"
        if poison.trigger >= len(evidence.targets) or poison.target != evidence.targets[poison.trigger]:
            yield f"{what} has trigger {poison.trigger} -> class {poison.target}, not a pair of the record's"
        elif evidence.train_labels[poison.index] != poison.target:
            yield f"{what} is not of its target class"
        top, left, height, width = poison.box or (0, 0, 0, 0)
        if top + height > size or left + width > size:
            yield f"{what} has a trigger that leaves the image"


# --- the record -----------------------------------------------------------------------------------


def _facts(record: Mapping[str, Any], evidence: Evidence) -> Iterator[str]:
    """Facts that depend on the class list, the root seed, or on two stages being one."""
    data, root = record["dataset"], record["run"]["seed"]
    names = ("attack", "pretrain", "probe")
    said = {"classes": data.get("classes"), "classes_sha256": data["classes_sha256"]}
    found = {"classes": len(evidence.classes), "classes_sha256": digest(list(evidence.classes))}
    yield from _differ(said, found, "dataset")
    seeds = {"root": root, **{name: Seeds(root).child(name).value for name in names}}
    yield from _differ(record["seeds"], seeds, "seeds")
    probes = [record["stages"].get(name, {}).get("key") for name in ("threat_probe", "defended_probe")]
    parts = [dataclasses.astuple(predicted) for _, predicted in predicted_of(evidence)]
    same = all(np.array_equal(*both) for both in zip(parts[0], parts[-1], strict=True))
    if probes[0] is not None and probes[0] == probes[1] and not same:
        yield "the stages threat_probe and defended_probe are one, yet their predictions differ"


def _names(record: Mapping[str, Any]) -> Iterator[str]:
    """The configuration names what the record says was run."""
    run, config = record["run"], record["config"]
    said = {"attack": run["attack"], "defense": run["defense"], "dataset": record["dataset"]["name"]}
    sections = {name: config.get(name) for name in said}
    found = {name: part.get("name") if isinstance(part, dict) else None for name, part in sections.items()}
    yield from _differ({**said, "seed": run["seed"]}, {**found, "seed": config.get("seed")}, "run", "its config says")


# --- comparing ------------------------------------------------------------------------------------


def _differ(said: Any, found: Any, place: str, source: str = "the evidence gives") -> Iterator[str]:
    """Where two JSON values differ: other keys, other lengths, numbers further apart than TOLERANCE."""
    if isinstance(said, Mapping) and isinstance(found, Mapping):
        for key in sorted(said.keys() | found.keys()):
            inner = f"{place}.{key if key in found else ascii(key)}"
            if key in said and key in found:
                yield from _differ(said[key], found[key], inner, source)
            elif key not in _LATER:
                yield f"{inner} is {'in the record, not in' if key in said else 'missing; it is in'} what {source}"
    elif isinstance(said, list) and isinstance(found, list) and len(said) == len(found):
        for index, pair in enumerate(zip(said, found, strict=True)):
            yield from _differ(*pair, f"{place}[{index}]", source)
    elif not _equal(said, found):
        yield f"{place} is {_short(said)}; {source} {_short(found)}"


def _equal(said: object, found: object) -> bool:
    if isinstance(said, bool) or isinstance(found, bool):
        return said is found
    if isinstance(said, int | float) and isinstance(found, int | float):
        exact = isinstance(said, int) and isinstance(found, int)
        return said == found if exact else _close(said, found)
    return type(said) is type(found) and said == found


def _close(said: float, found: float) -> bool:
    try:
        return math.isclose(said, found, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    except OverflowError:  # an int that no float can be
        return False


def _short(value: object) -> str:
    text = json.dumps(value)  # ASCII: nothing in it can speak to a terminal
    return text if len(text) <= 60 else f"{text[:57]}..."
