"""From records to rows: one per record for its defense, one per threat model without; equal results count once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, NamedTuple

from bench.records.metrics import CLEAN, DETECTION, LOCALISATION, TRIGGERED, metrics_of
from bench.records.record import MEASURED, Record, entries, fingerprint
from bench.store import canonical, digest

NONE, ORACLE = "none", "oracle"
LEAST_GAP = 1.0
"""Points of ASR that the oracle must gain: the share of a smaller gain says nothing."""
_DEFENSE_STAGES = {"defense", "retraining", "defended_probe"}  # "none" depends on the others
RATES = {
    f"{metric.title}{suffix}": (part, metric.name)
    for part, suffix in ((CLEAN, ""), (TRIGGERED, " triggered"))
    for metric in metrics_of(part)
    if metric.board
}
"""Title of a column, also its name in `rows` -> where a record has its number, below "none" or "defended"."""
FOUND = {metric.title: metric.name for metric in metrics_of(DETECTION) if metric.board}
"""Title of a column, also its name in `rows` -> its key in a record's "detection"."""
PLACED = {metric.title: metric.name for metric in metrics_of(LOCALISATION) if metric.board}
"""Title of a column for each k -> its key in a record's "localisation"; its name in `rows` is "<k>.<key>"."""
GAP, SECONDS = "gap closed", "seconds"
UNDEFINED = "–"  # noqa: RUF001 - an en dash, for what is undefined or does not apply


class Group(NamedTuple):
    """What all records of one table share."""

    dataset: str
    fingerprint: str
    attack: str
    options: str
    preset: str
    metric_version: int

    @property
    def attack_options(self) -> dict[str, str]:
        """Those of the attack, as texts: of another rate, target or trigger it is another attack."""
        found: dict[str, str] = json.loads(self.options)
        return found


def group_of(record: Mapping[str, Any]) -> Group:
    """The table that a record belongs to."""
    data, run = record["dataset"], record["run"]
    options = canonical({name: text for name, text in leaves(record["config"]["attack"]) if name != "name"})
    return Group(data["name"], data["fingerprint"], run["attack"], options, run["preset"], record["metric_version"])


# --- rows -----------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class RunRow:
    """What one record says of its defense, or of its threat model without one.

    values: by the names of the columns, localisation as "<k>.accuracy" ...; what is undefined is None or not there.
    config: every setting, as `_config` has it; settings: those in which it differs from other rows of that table and
    defense, in words. stages: seconds of each stage that it depends on, by its key. threat: what makes its threat
    model that model; undefended: that one's triggered ASR. identity: rows of one result have one.
    """

    group: Group
    defense: str
    control: bool
    status: str
    seed: int
    values: dict[str, float | None]
    stages: dict[str, float]
    config: dict[str, str]
    threat: tuple[str | None, str]
    undefended: float | None
    identity: str
    source: str
    settings: str = ""


def rows(records: Iterable[Record], sources: Iterable[str] = ()) -> list[RunRow]:
    """One row per record for its defense, one per threat model for "none"; equal results count once, as measured
    where one of them is. sources: where each record lies."""
    found: dict[str, RunRow] = {}
    named = [(record, source) for record, source in zip(records, chain(sources, repeat("")), strict=False)]
    for record, source in sorted(named, key=lambda each: _status(each[0]) != MEASURED):
        for row in (_none_row(record, source), _defended_row(record, source)):
            found.setdefault(row.identity, row)
    table = list(found.values())
    _name_settings(table)
    _close_gaps(table)
    return table


def _status(record: Record) -> str:
    return str(record.get("status", MEASURED))


def _none_row(record: Record, source: str) -> RunRow:
    stages = {name: stage for name, stage in record["stages"].items() if name not in _DEFENSE_STAGES}
    keys = {name: stage["key"] for name, stage in stages.items()}
    rates = record["metrics"]["none"]
    identity = digest([*group_of(record), record["run"]["seed"], keys, rates])
    return _row(record, source, NONE, rates, stages, identity, _config(record, without="defense"))


def _defended_row(record: Record, source: str) -> RunRow:
    """A record of the defense "none" has nothing but the none row to say."""
    defense, metrics = record["run"]["defense"], record["metrics"]
    if defense == NONE:
        return _none_row(record, source)
    row = _row(record, source, defense, metrics["defended"], record["stages"], fingerprint(record), _config(record))
    row.values |= {name: metrics["detection"][key] for name, key in FOUND.items()}
    for k, values in metrics["localisation"].items():
        row.values |= {f"{k}.{name}": values.get(name) for name in PLACED.values()}
    return row


def _row(
    record: Record,
    source: str,
    defense: str,
    rates: Mapping[str, Any],
    stages: Mapping[str, Any],
    identity: str,
    config: dict[str, str],
) -> RunRow:
    none = record["metrics"]["none"]
    seconds = {stage["key"]: float(stage["seconds"]) for stage in stages.values()}  # a shared stage counts once
    values = {name: rates[which][rate] for name, (which, rate) in RATES.items()}
    return RunRow(
        group=group_of(record),
        defense=defense,
        control=defense != NONE and record["run"].get("control", False),
        status=_status(record),
        seed=record["run"]["seed"],
        values={**values, SECONDS: sum(seconds.values())},
        stages=seconds,
        config=config,
        threat=(record["stages"].get("threat_model", {}).get("key"), canonical(none)),
        undefended=none["poisoned"]["asr"],
        identity=identity,
        source=source,
    )


def _close_gaps(table: Sequence[RunRow]) -> None:
    """(ASR none - ASR row) / (ASR none - ASR oracle), percent, on the row's own threat model.

    A threat model is known by its key and by what was measured of it. No oracle that was sent in judges a row that
    was measured here.
    """
    oracles: dict[tuple[Any, bool], float | None] = {}
    for row in table:
        if row.defense == ORACLE and row.control:
            for judged in (False, True) if row.status == MEASURED else (False,):
                oracles.setdefault((row.threat, judged), row.values["ASR triggered"])
    for row in table:
        none, asr = row.undefended, row.values["ASR triggered"]
        oracle = oracles.get((row.threat, row.status == MEASURED))
        if row.defense == NONE or none is None or asr is None or oracle is None:
            continue
        if none - oracle >= LEAST_GAP:
            row.values[GAP] = 100 * (none - asr) / (none - oracle)


# --- settings that differ -------------------------------------------------------------------------


def _config(record: Record, without: str = "") -> dict[str, str]:
    """The configuration as {"attack.rate": "0.5", ...}, but for the seed and what the group already fixes.

    The dataset is known by its fingerprint (its options may hold a path); workers change no number.
    """
    config = {name: value for name, value in record["config"].items() if name not in ("seed", "dataset", without)}
    flat = dict(leaves(config, ""))
    flat.pop("train.loader_workers", None)
    return flat


def leaves(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """A configuration as ("attack.rate", "0.5") ..., the values as texts."""
    return ((path, leaf if isinstance(leaf, str) else canonical(leaf)) for path, leaf in entries(value, name))


def _name_settings(table: Sequence[RunRow]) -> None:
    """Say in each row in which settings it differs from the others of its table and defense."""
    peers: dict[tuple[Group, str], list[RunRow]] = {}
    for row in table:
        peers.setdefault((row.group, row.defense), []).append(row)
    for same in peers.values():
        every = {name for row in same for name in row.config}
        differ = sorted(name for name in every if len({row.config.get(name) for row in same}) > 1)
        for row in same:
            row.settings = _shortened({name: row.config.get(name, UNDEFINED) for name in differ})


def _shortened(settings: Mapping[str, str]) -> str:
    """At most three settings in full; with more, a short hash keeps different ones apart."""
    texts = [f"{name}={value}" for name, value in settings.items()]
    return ", ".join(texts if len(texts) <= 3 else [*texts[:2], f"#{digest(dict(settings))[:8]}"])
