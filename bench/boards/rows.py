"""From records to rows: one per run of a defense, one per threat model without; equal results count once, and other
results of one seed are refused: no mean hides them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from typing import Any

from bench.errors import BenchError
from bench.records.metrics import CLEAN, DETECTION, LOCALISATION, TEST_TIME, TRIGGERED, metrics_of
from bench.records.record import MEASURED, Record, fingerprint, only_judges, repair_cost, whole
from bench.store import canonical, digest

from .naming import UNDEFINED as UNDEFINED, asked_for, flat_config, leaves, name_settings
from .row import Group, RunRow

NONE, ORACLE, CLEAN_SET = "none", "oracle", "clean-set"
DEFENSE, BASELINE, CONTROL = KINDS = ("defense", "baseline", "control")
"""What a row can be; none is the first of the controls."""
_DEFENSE_STAGES = {"defense", "retraining", "defended_probe"}  # "none" depends on the others
RATES = {
    f"{metric.title}{suffix}": (part, metric.name)
    for part, suffix in ((CLEAN, ""), (TRIGGERED, " triggered"))
    for metric in metrics_of(part)
    if metric.board
}
"""Title of a column, also its name in `rows` -> where a record has its number, below "none" or "defended"."""
SCORED, REMOVED = (
    {metric.title: metric.name for metric in metrics_of(DETECTION) if metric.board and metric.scored is scored}
    for scored in (True, False)
)
"""Title of a column, also its name in `rows` -> its key in a record's "detection": how the scores order the images, and
what was removed."""
FOUND = REMOVED | SCORED
PLACED = {metric.title: metric.name for metric in metrics_of(LOCALISATION) if metric.board}
"""Title of a column for each k -> its key in a record's "localisation"; its name in `rows` is "<k>.<key>"."""
TESTED = {metric.title: metric.name for metric in metrics_of(TEST_TIME) if metric.board}
"""Title of a column, also its name in `rows` -> its key in a record's "test_time"."""
LOST, COST, SECONDS, PACE = "points lost", "repair cost", "seconds", "ms/image"
TIMES = {COST, SECONDS, PACE}
"""Columns that the machine decides as much as the line does: none is marked the best, and they may differ between two
results of one line and seed."""
HIGHER: dict[str, bool | None] = {LOST: False, **dict.fromkeys(TIMES, False)}
for _part, _suffix in ((CLEAN, ""), (TRIGGERED, " triggered"), (DETECTION, ""), (LOCALISATION, ""), (TEST_TIME, "")):
    HIGHER |= {f"{metric.title}{_suffix}": metric.higher_is_better for metric in metrics_of(_part)}
"""Title of a column -> whether a higher number is better, None for neither."""


OVER = " | "
"""Stands between the name of a number and what it is over, in the names of overview.py: "AP | worst"."""


def higher_is_better(name: str) -> bool | None:
    """Of a number of a row, by its name; None for neither."""
    located, name = {key: title for title, key in PLACED.items()}, name.partition(OVER)[0]
    return HIGHER.get(located.get(name.partition(".")[2], name))


def detects(name: str) -> bool:
    """Whether a number of a row, by its name, is of what was detected: scored, removed or located."""
    return name in FOUND or name[0].isdigit()


def group_of(record: Mapping[str, Any]) -> Group:
    """The table that a record belongs to."""
    data, run, config = record["dataset"], record["run"], record["config"]
    options = canonical({name: text for name, text in leaves(config["attack"]) if name != "name"})
    of_run = run["preset"], record["metric_version"], str(config.get("ssl", {}).get("name", ""))
    return Group(data["name"], data["fingerprint"], run["attack"], options, *of_run)


# --- rows -----------------------------------------------------------------------------------------


def rows(records: Iterable[Record], sources: Iterable[str] = (), files: Iterable[str] = ()) -> list[RunRow]:
    """One row per run of a defense, one per threat model for "none"; equal results count once, as measured where one of
    them is, and a run until detection is part of the same run to the end. sources: where each record lies, for links;
    files: for messages. Runs of detectors and encoder tests have tables of their own (judged.py). Raises BenchError for
    two results of one line and seed that differ."""
    found: dict[str, RunRow] = {}
    for record, *where in measured_first(records, sources, files):
        if only_judges(record):
            continue
        for row in (_none_row(record, *where), _defended_row(record, *where)):
            found.setdefault(row.identity, row)
    table = list(found.values())
    name_settings(table)
    table = one_a_seed(table)
    _count_points(table)
    return table


def measured_first(
    records: Iterable[Record], sources: Iterable[str], files: Iterable[str]
) -> list[tuple[Record, str, str]]:
    """(record, source, file) of each, "" for those that are not given; what was measured here comes first."""
    more = (chain(each, repeat("")) for each in (sources, files))
    return sorted(zip(records, *more, strict=False), key=lambda each: _status(each[0]) != MEASURED)


def _status(record: Record) -> str:
    return str(record.get("status", MEASURED))


def _none_row(record: Record, source: str, file: str) -> RunRow:
    stages = {name: stage for name, stage in record["stages"].items() if name not in _DEFENSE_STAGES}
    keys = {name: stage["key"] for name, stage in stages.items()}
    rates = record["metrics"]["none"]
    identity = digest([*group_of(record), record["run"]["seed"], keys, rates])
    row = row_of(record, stages, flat_config(record, without="defense"), identity, (source, file))
    row.defense, row.kind, row.verdict, row.full = NONE, CONTROL, None, True
    row.values = _rates(rates, row.stages)
    return row


def _rates(rates: Mapping[str, Any], stages: Mapping[str, float]) -> dict[str, float | None]:
    return {name: rates[which][rate] for name, (which, rate) in RATES.items()} | {SECONDS: sum(stages.values())}


def _defended_row(record: Record, source: str, file: str) -> RunRow:
    """A record of the defense "none" has nothing but the none row to say."""
    if record["run"]["defense"] == NONE:
        return _none_row(record, source, file)
    metrics = record["metrics"]
    row = row_of(record, record["stages"], flat_config(record), fingerprint(record), (source, file))
    if row.full:
        row.values = _rates(metrics["defended"], row.stages) | {COST: repair_cost(record)}
    row.values |= {name: metrics["detection"].get(key) for name, key in FOUND.items()}
    for k, values in metrics["localisation"].items():
        row.values |= {f"{k}.{name}": values.get(name) for name in PLACED.values()}
    return row


def row_of(
    record: Record, stages: Mapping[str, Any], config: dict[str, str], identity: str, where: tuple[str, str]
) -> RunRow:
    """The row of a record's defense, without its values."""
    run = record["run"]
    return RunRow(
        group=group_of(record),
        defense=run["defense"],
        kind=CONTROL if run.get("control") else BASELINE if run.get("baseline") else DEFENSE,
        status=_status(record),
        seed=run["seed"],
        values={},
        stages={stage["key"]: float(stage["seconds"]) for stage in stages.values()},  # a shared stage counts once
        config=config,
        asked=asked_for(record),
        threat=(record["stages"].get("threat_model", {}).get("key"), canonical(record["metrics"]["none"])),
        verdict=record["stages"].get("defense", {}).get("key"),
        full=whole(record),
        poisoned=record["poison"]["count"],
        identity=identity,
        source=where[0],
        file=where[1] or f"the record of {record['created']}",
        record=record,
    )


# --- one result a seed ----------------------------------------------------------------------------


def one_a_seed(table: Sequence[RunRow]) -> list[RunRow]:
    """Rows of one line and seed as one, the one of a run to the end where there is one; it gets the numbers that only
    another has. Raises BenchError where they differ."""
    found: dict[tuple[Any, ...], RunRow] = {}
    for row in sorted(table, key=lambda each: not each.full):
        place = (row.group, row.defense, row.settings, row.status, row.seed)
        kept = found.setdefault(place, row)
        if kept is not row:
            differ = _difference(kept, row)
            if differ:
                raise BenchError(_refusal(kept, row, differ))
            kept.values = row.values | {name: value for name, value in kept.values.items() if value is not None}
    return list(found.values())


def _difference(one: RunRow, other: RunRow) -> str:
    """What two rows of one line and seed differ in, "" where nothing does."""
    keys = [(row.threat[0] or "unknown")[:12] for row in (one, other)]
    if keys[0] != keys[1]:
        return f"their threat models are others (stages {keys[0]} and {keys[1]})"
    if one.threat != other.threat:
        return f"what was measured of their one threat model ({keys[0]}) is not the same"
    if one.verdict != other.verdict:
        keys = [(row.verdict or "unknown")[:12] for row in (one, other)]
        return f"their verdicts are others (stages {keys[0]} and {keys[1]})"
    for name in sorted(one.values.keys() & other.values.keys() - TIMES):
        first, second = one.values[name], other.values[name]
        if first is None or second is None:  # an older record does not say
            continue
        if not math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-9):
            what = "verdicts" if detects(name) else "results"
            return f"their {what} are others ({name} {first:g} and {second:g})"
    return ""


def _refusal(one: RunRow, other: RunRow, differ: str) -> str:
    line = f"{one.defense} ({one.settings})" if one.settings else one.defense
    return (
        f"two results of {line}, seed {one.seed}, would meet in one mean: {one.file} and {other.file}. Data, attack "
        f"and settings are the same, but {differ}: another version of the benchmark or of a plugin, or another "
        "machine, made one of them. Leave one of the files out, or run the older one again"
    )


# --- points lost ----------------------------------------------------------------------------------


def _count_points(table: Sequence[RunRow]) -> None:
    """max(0, ASR - ASR of the oracle) + max(0, ACC of the oracle - ACC), points, on the row's own threat model.

    ASR is that of triggered images, ACC that of clean ones: a defense that takes the target class away with the poison
    loses in ACC what it gains in ASR. A threat model is known by its key and by what was measured of it. No oracle that
    was sent in judges a row that was measured here.
    """
    oracles: dict[tuple[Any, bool], RunRow] = {}
    for row in table:
        if row.defense == ORACLE and row.kind == CONTROL and row.full:
            for judged in (False, True) if row.status == MEASURED else (False,):
                oracles.setdefault((row.threat, judged), row)
    for row in table:
        oracle = oracles.get((row.threat, row.status == MEASURED))
        if oracle is None or not row.full:
            continue
        asr, acc = ((row.values[name], oracle.values[name]) for name in ("ASR triggered", "ACC"))
        if None not in (*asr, *acc):
            row.values[LOST] = max(0.0, asr[0] - asr[1]) + max(0.0, acc[1] - acc[0])  # type: ignore[operator]
