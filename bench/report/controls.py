"""The records that a run can be compared with: the controls of the same seed, and the same run with other seeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.records import record as records
from bench.records.record import Record
from bench.store import canonical

MOST_BYTES = 2**20


@dataclass(frozen=True)
class Beside:
    """controls: records of controls of the same setting and seed, by name. seeds: of the same run, by other seed."""

    controls: Sequence[Record] = ()
    seeds: Sequence[Record] = ()


def beside(run: Record, folders: Sequence[Path]) -> Beside:
    """What lies in `folders` beside `run`; a file that is no record is passed over."""
    return Neighbours(_records(folders)).of(run)


class Neighbours:
    """Records by what two of them must agree in to be compared: data, attack, training, versions of the metrics, and
    where the run ended."""

    def __init__(self, every: Iterable[Record]) -> None:
        self._by_setting: dict[str, list[Record]] = {}
        for found in sorted(every, key=lambda each: (str(each["created"]), canonical(each))):
            self._by_setting.setdefault(_setting(found), []).append(found)

    def of(self, run: Record) -> Beside:
        """The controls and other seeds of a run. Of several records of one run the newest counts."""
        controls: dict[str, Record] = {}
        seeds: dict[int, Record] = {}
        for found in self._by_setting.get(_setting(run), ()):
            same = _defense(found) == _defense(run)
            if found["run"]["seed"] == run["run"]["seed"]:
                if found["run"].get("control") and not same and _for(run, found):
                    controls[canonical(_defense(found))] = found
            elif same:
                seeds[found["run"]["seed"]] = found
        named = sorted(controls.values(), key=lambda each: str(each["run"]["defense"]))
        return Beside(named, [seeds[seed] for seed in sorted(seeds)])


def _records(folders: Sequence[Path]) -> Iterator[Record]:
    files = {file.resolve() for folder in folders for file in folder.glob("*.json")}
    for file in sorted(files):
        try:
            if file.stat().st_size <= MOST_BYTES:
                yield records.load(file)
        except (BenchError, OSError, ValueError):
            continue


def _setting(found: Record) -> str:
    """What two records must agree in to be compared."""
    config = {name: part for name, part in found["config"].items() if name not in ("defense", "seed")}
    versions = [found["dataset"]["fingerprint"], found["metric_version"], found["run"]["preset"], records.whole(found)]
    versions += [records.measured(found)]  # what was sent in is nobody's control here
    versions += ["judges"] if records.only_judges(found) else []
    return canonical([config, *versions])


def _defense(found: Record) -> dict[str, Any]:
    part = found["config"].get("defense")
    return part if isinstance(part, dict) else {}


def _for(run: Record, control: Record) -> bool:
    """Whether a control that is measured against a defense is measured against the run's."""
    rival, own = _defense(control).get("rival"), _defense(run)
    return rival is None or bool(run["run"].get("control")) or rival == own or rival in own.values()
