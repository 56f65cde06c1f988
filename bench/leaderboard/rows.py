"""From records to rows: one per record for its defense, one per threat model without; equal results count once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.records.metrics import CLEAN, DETECTION, LOCALISATION, TRIGGERED, metrics_of
from bench.records.record import MEASURED, Record, entries, fingerprint
from bench.store import canonical, digest

if TYPE_CHECKING:
    import pandas as pd

NONE, ORACLE = "none", "oracle"
LEAST_GAP = 1.0
"""Points of ASR that the oracle must gain: the share of a smaller gain says nothing."""
_DEFENSE_STAGES = {"defense", "retraining", "defended_probe"}  # "none" rests on the others
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
GAP, SEED, SECONDS = "gap closed", "seed", "seconds"
LOST = "clean removed"
OF_STAGE, OF_CLASS = f"{SECONDS} of ", f"{LOST} of "
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


def rows(records: Iterable[Record], sources: Iterable[str] = ()) -> pd.DataFrame:
    """One row per record for its defense, one per threat model for "none"; equal results count once, as measured
    where one of them is.

    sources: where each record lies. Columns: those of Group, defense, control, settings (how it differs from other
    rows of that table and defense, else ""), config (all of it, as `_settings` has it), status, seed, source, stages
    (seconds of each stage that the row rests on, by its key), then the metrics (float, NaN where undefined),
    localisation as "<k>.accuracy" ..., "seconds of <stage>", "clean removed" and "clean removed of <class>".
    """
    import pandas as pd

    found: dict[str, dict[str, Any]] = {}
    named = [(record, source) for record, source in zip(records, chain(sources, repeat("")), strict=False)]
    for record, source in sorted(named, key=lambda each: _status(each[0]) != MEASURED):
        for row in (_none_row(record), _defended_row(record)):
            found.setdefault(row.pop("identity"), {**row, "source": source})
    table = list(found.values())
    _name_settings(table)
    _close_gaps(table)
    facts = ["defense", "control", "settings", "config", "status", SEED, "source", "stages"]
    more = [*_placed_columns(table), *_columns(table, OF_STAGE), *_columns(table, LOST)]
    columns = [*Group._fields, *facts, *RATES, GAP, *FOUND, SECONDS, *more]
    return pd.DataFrame(table, columns=columns)


def _status(record: Record) -> str:
    return str(record.get("status", MEASURED))


def _none_row(record: Record) -> dict[str, Any]:
    stages = {name: stage for name, stage in record["stages"].items() if name not in _DEFENSE_STAGES}
    keys = {name: stage["key"] for name, stage in stages.items()}
    result = [*group_of(record), record["run"]["seed"], keys, record["metrics"]["none"]]
    row = _row(record, NONE, record["metrics"]["none"], stages)
    return {**row, "identity": digest(result), "settings": _settings(record, without="defense")}


def _defended_row(record: Record) -> dict[str, Any]:
    """A record of the defense "none" has nothing but the none row to say."""
    defense, metrics = record["run"]["defense"], record["metrics"]
    if defense == NONE:
        return _none_row(record)
    row = _row(record, defense, metrics["defended"], record["stages"])
    row |= {name: metrics["detection"][key] for name, key in FOUND.items()}
    row |= _lost(metrics.get("clean_removed"))
    for k, values in metrics["localisation"].items():
        row |= {f"{k}.{name}": values.get(name) for name in PLACED.values()}
    return {**row, "identity": fingerprint(record), "settings": _settings(record)}


def _lost(counts: Mapping[str, int] | None) -> dict[str, float]:
    """What clean images a removal cost, in all and of each class."""
    if counts is None:
        return {}
    return {LOST: float(sum(counts.values())), **{f"{OF_CLASS}{name}": float(n) for name, n in counts.items()}}


def _row(record: Record, defense: str, rates: Mapping[str, Any], stages: Mapping[str, Any]) -> dict[str, Any]:
    seconds = {stage["key"]: stage["seconds"] for stage in stages.values()}  # a shared stage counts once
    return {
        **group_of(record)._asdict(),
        "defense": defense,
        "control": defense != NONE and record["run"].get("control", False),
        "status": _status(record),
        "threat": (record["stages"].get("threat_model", {}).get("key"), canonical(record["metrics"]["none"])),
        "undefended": record["metrics"]["none"]["poisoned"]["asr"],
        SEED: record["run"]["seed"],
        **{name: rates[which][rate] for name, (which, rate) in RATES.items()},
        "stages": seconds,
        SECONDS: float(sum(seconds.values())),
        **{f"{OF_STAGE}{name}": float(stage["seconds"]) for name, stage in stages.items()},
    }


def _close_gaps(table: Sequence[dict[str, Any]]) -> None:
    """(ASR none - ASR row) / (ASR none - ASR oracle), percent, on the row's own threat model.

    A threat model is known by its key and by what was measured of it. No oracle that was sent in judges a row that
    was measured here.
    """
    oracles: dict[tuple[Any, bool], float | None] = {}
    for row in table:
        if row["defense"] == ORACLE and row["control"]:
            oracles.setdefault((row["threat"], False), row["ASR triggered"])
            if row["status"] == MEASURED:
                oracles.setdefault((row["threat"], True), row["ASR triggered"])
    for row in table:
        none, asr = row["undefended"], row["ASR triggered"]
        oracle = oracles.get((row["threat"], row["status"] == MEASURED))
        if row["defense"] != NONE and None not in (none, asr, oracle) and none - oracle >= LEAST_GAP:
            row[GAP] = 100 * (none - asr) / (none - oracle)


def _placed_columns(table: Sequence[Mapping[str, Any]]) -> list[str]:
    ks = {int(name.partition(".")[0]) for row in table for name in row if name[0].isdigit()}
    return [f"{k}.{name}" for k in sorted(ks) for name in PLACED.values()]


def _columns(table: Sequence[Mapping[str, Any]], start: str) -> list[str]:
    return sorted({name for row in table for name in row if name.startswith(start)})


# --- settings that differ -------------------------------------------------------------------------


def _settings(record: Record, without: str = "") -> dict[str, str]:
    """The configuration as {"attack.rate": "0.5", ...}, but for the seed and what the group already fixes.

    The dataset is known by its fingerprint (its options may hold a path); workers change no number.
    """
    config = {name: value for name, value in record["config"].items() if name not in (SEED, "dataset", without)}
    flat = dict(leaves(config, ""))
    flat.pop("train.loader_workers", None)
    return flat


def leaves(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """A configuration as ("attack.rate", "0.5") ..., the values as texts."""
    return ((path, leaf if isinstance(leaf, str) else canonical(leaf)) for path, leaf in entries(value, name))


def _name_settings(table: Sequence[dict[str, Any]]) -> None:
    """Replace each row's settings by a text of those that differ among its table's and defense's rows, and keep all of
    them as its config."""
    peers: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in table:
        peers.setdefault((*(row[name] for name in Group._fields), row["defense"]), []).append(row)
    for same in peers.values():
        every = {name for row in same for name in row["settings"]}
        differ = sorted(name for name in every if len({row["settings"].get(name) for row in same}) > 1)
        for row in same:
            row["config"] = row["settings"]
            row["settings"] = _shortened({name: row["settings"].get(name, UNDEFINED) for name in differ})


def _shortened(settings: Mapping[str, str]) -> str:
    """At most three settings in full; with more, a short hash keeps different ones apart."""
    texts = [f"{name}={value}" for name, value in settings.items()]
    return ", ".join(texts if len(texts) <= 3 else [*texts[:2], f"#{digest(dict(settings))[:8]}"])
