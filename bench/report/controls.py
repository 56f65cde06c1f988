"""The records that a run can be compared with: the controls of the same seed, and the same run with other seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.records import record as records
from bench.records.record import Record
from bench.store import canonical, read_json

MOST_BYTES = 2**20


@dataclass(frozen=True)
class Beside:
    """controls: records of controls of the same setting and seed, by name. seeds: of the same run, by other seed."""

    controls: Sequence[Record] = ()
    seeds: Sequence[Record] = ()


def beside(run: Record, folders: Sequence[Path]) -> Beside:
    """What lies in `folders` beside `run`: same data, attack, training and versions of the metrics. Of several records
    of one run the newest counts; a file that is no record is passed over."""
    others = [found for found in _records(folders) if _setting(found) == _setting(run)]
    controls: dict[str, Record] = {}
    seeds: dict[str, Record] = {}
    for found in sorted(others, key=lambda each: (str(each["created"]), canonical(each))):
        same = _defense(found) == _defense(run)
        if found["run"]["seed"] == run["run"]["seed"]:
            if found["run"].get("control") and not same and _for(run, found):
                controls[canonical(_defense(found))] = found
        elif same:
            seeds[str(found["run"]["seed"])] = found
    named = sorted(controls.values(), key=lambda each: str(each["run"]["defense"]))
    return Beside(named, sorted(seeds.values(), key=lambda each: int(each["run"]["seed"])))


def _records(folders: Sequence[Path]) -> Iterator[Record]:
    files = {file.resolve(): file for folder in folders for file in sorted(folder.glob("*.json"))}
    for file in sorted(files):
        try:
            found = read_json(file) if file.stat().st_size <= MOST_BYTES else None
            if isinstance(found, dict) and "schema_version" in found:
                records.validate(found)
                yield records.upgraded(found)
        except (BenchError, OSError, ValueError):
            continue


def _setting(found: Record) -> str:
    """What two records must agree in to be compared."""
    config = {name: part for name, part in found["config"].items() if name not in ("defense", "seed")}
    return canonical([config, found["dataset"]["fingerprint"], found["metric_version"], found["run"]["preset"]])


def _defense(found: Record) -> dict[str, Any]:
    part = found["config"].get("defense")
    return part if isinstance(part, dict) else {}


def _for(run: Record, control: Record) -> bool:
    """Whether a control that is measured against a defense is measured against the run's."""
    rival, own = _defense(control).get("rival"), _defense(run)
    return rival is None or bool(run["run"].get("control")) or rival == own or rival in own.values()
