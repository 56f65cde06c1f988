"""From records to tables: one table per dataset, attack, preset and metric version, one row per defense.

Records that differ in any of these never meet in a table. Those that differ in another setting (a `--set`)
meet in one table but never in one row: the row is named after what differs. Nothing here prints.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .record import Record, fingerprint
from .store import canonical, digest

if TYPE_CHECKING:
    import pandas as pd

NONE, ORACLE = "none", "oracle"
LEAST_GAP = 1.0
"""Points of ASR that the oracle must gain: of less, no share can be told."""
K = 10  # the k shown, or the largest below it that every locating record of a table has
_DEFENSE_STAGES = {
    "defense",
    "retraining",
    "defended_probe",
}  # "none" rests on the others
_RATES = {"ACC": ("clean", "acc"), "ASR": ("clean", "asr")}
_RATES |= {"ACC triggered": ("poisoned", "acc"), "ASR triggered": ("poisoned", "asr")}
_FOUND = {"removed": "removed", "precision": "precision", "recall": "recall", "F1": "f1"}
_PLACED = {"top-{}": "accuracy", "IoU@{}": "iou", "CR@{}": "cr"}
_GAP, _SEED = "gap closed", "seed"
_MARKUP = re.compile(r"[&<>|`*\[\]\\~$@:^]|(?<![a-z0-9])_|_(?![a-z0-9])|(?<=www)\.", re.IGNORECASE)
_GONE = "–"  # noqa: RUF001 - an en dash, for what is undefined or does not apply
LEGEND = (
    "ACC and ASR: percent of clean validation images classified rightly, and of those of other classes taken "
    "for the target; triggered: the same with the trigger in each image. Gap closed: of what removing exactly "
    "the poisoned images (the oracle) takes off the triggered ASR, the percent that this row takes off. Removed: "
    "number of training images; precision, recall, F1 of the removal. top-k, IoU@k, CR@k: percent of the k most "
    "suspicious images that are poisoned, and how well their triggers are located. Seconds: all stages that the "
    "row rests on. A control sees the truth and is no defense. Mean ± standard deviation over the seeds."
)


class Group(NamedTuple):
    """What all records of one table share."""

    dataset: str
    fingerprint: str
    attack: str
    preset: str
    metric_version: int


def group_of(record: Mapping[str, Any]) -> Group:
    """The table that a record belongs to."""
    data, run = record["dataset"], record["run"]
    return Group(data["name"], data["fingerprint"], run["attack"], run["preset"], record["metric_version"])


# --- rows -----------------------------------------------------------------------------------------


def rows(records: Iterable[Record]) -> pd.DataFrame:
    """One row per record for its defense, one per threat model for "none"; equal results count once.

    Columns: those of Group, defense, control, settings (how it differs from other rows of that table and
    defense, else ""), seed, then the metrics (float, NaN where undefined), localisation as "<k>.accuracy",
    "<k>.iou", "<k>.cr".
    """
    import pandas as pd

    found: dict[str, dict[str, Any]] = {}
    for record in records:
        for row in (_none_row(record), _defended_row(record)):
            found.setdefault(row.pop("identity"), row)
    table = list(found.values())
    _name_settings(table)
    _close_gaps(table)
    columns = [*Group._fields, "defense", "control", "settings", _SEED, *_RATES, _GAP, *_FOUND, "seconds"]
    return pd.DataFrame(table, columns=[*columns, *_placed_columns(table)])


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
    row |= {name: metrics["detection"][key] for name, key in _FOUND.items()}
    for k, values in metrics["localisation"].items():
        row |= {f"{k}.{name}": values[name] for name in _PLACED.values()}
    return {**row, "identity": fingerprint(record), "settings": _settings(record)}


def _row(record: Record, defense: str, rates: Mapping[str, Any], stages: Mapping[str, Any]) -> dict[str, Any]:
    seconds = {stage["key"]: stage["seconds"] for stage in stages.values()}  # a shared stage counts once
    return {
        **group_of(record)._asdict(),
        "defense": defense,
        "control": defense != NONE and record["run"].get("control", False),
        "threat": record["stages"].get("threat_model", {}).get("key"),
        _SEED: record["run"]["seed"],
        **{name: rates[which][rate] for name, (which, rate) in _RATES.items()},
        "seconds": float(sum(seconds.values())),
    }


def _close_gaps(table: Sequence[dict[str, Any]]) -> None:
    """(ASR none - ASR row) / (ASR none - ASR oracle), percent, among rows that rest on the same threat model."""
    asr: dict[tuple[str, str], float] = {(row["defense"], row["threat"]): row["ASR triggered"] for row in table}
    for row in table:
        none, oracle = (asr.get((name, row["threat"])) for name in (NONE, ORACLE))
        if row["defense"] != NONE and none is not None and oracle is not None and none - oracle >= LEAST_GAP:
            row[_GAP] = 100 * (none - row["ASR triggered"]) / (none - oracle)


def _placed_columns(table: Sequence[Mapping[str, Any]]) -> list[str]:
    ks = {int(name.partition(".")[0]) for row in table for name in row if name[0].isdigit()}
    return [f"{k}.{name}" for k in sorted(ks) for name in _PLACED.values()]


# --- settings that differ -------------------------------------------------------------------------


def _settings(record: Record, without: str = "") -> dict[str, str]:
    """The configuration as {"attack.rate": "0.5", ...}, but for the seed and what the group already fixes.

    The dataset is known by its fingerprint (its options may hold a path); workers change no number.
    """
    config = {name: value for name, value in record["config"].items() if name not in (_SEED, "dataset", without)}
    flat = dict(leaves(config, ""))
    flat.pop("train.loader_workers", None)
    return flat


def leaves(value: object, name: str = "") -> Iterable[tuple[str, str]]:
    """A configuration as ("attack.rate", "0.5") ..., the values as texts."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, f"{name}.{key}" if name else key)
    else:
        yield name, value if isinstance(value, str) else canonical(value)


def _name_settings(table: Sequence[dict[str, Any]]) -> None:
    """Replace each row's settings by a text of those that differ among its table's and defense's rows."""
    peers: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in table:
        peers.setdefault((*(row[name] for name in Group._fields), row["defense"]), []).append(row)
    for same in peers.values():
        every = {name for row in same for name in row["settings"]}
        differ = sorted(name for name in every if len({row["settings"].get(name) for row in same}) > 1)
        for row in same:
            row["settings"] = _told({name: row["settings"].get(name, _GONE) for name in differ})


def _told(settings: Mapping[str, str]) -> str:
    """At most three settings in full; with more, a short hash keeps different ones apart."""
    texts = [f"{name}={value}" for name, value in settings.items()]
    return ", ".join(texts if len(texts) <= 3 else [*texts[:2], f"#{digest(dict(settings))[:8]}"])


# --- tables ---------------------------------------------------------------------------------------


def tables(records: Iterable[Record]) -> dict[Group, pd.DataFrame]:
    """One table of texts per group, in the order of the groups; "none" first, then by ASR under the trigger.

    Controls come last. A cell is the mean over the seeds (of each seed's mean), from two seeds on with the
    sample standard deviation.
    """
    every = rows(records)
    grouped = every.groupby(list(Group._fields), sort=True)
    return {Group._make(key): _table(part) for key, part in grouped}


def _table(part: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    k = _common_k(part)
    shown = {name: name for name in (*_RATES, _GAP, *_FOUND)}
    shown |= {title.format(k): f"{k}.{name}" for title, name in _PLACED.items()} | {"seconds": "seconds"}
    numbers = part.reindex(columns=list(shown.values())).astype(float)
    by_seed = numbers.groupby([part[name] for name in ("defense", "settings", _SEED)]).mean()
    lines = by_seed.groupby(level=["defense", "settings"])
    mean, spread = (frame.to_dict("index") for frame in (lines.mean(), lines.std()))
    seeds = lines.size().to_dict()
    controls = set(part.loc[part["control"].astype(bool), "defense"])
    keys: list[Any] = sorted(mean, key=lambda key: _rank(key, mean[key]["ASR triggered"], key[0] in controls))
    table = []
    for key in keys:
        defense, settings = key
        cells = {title: _cell(name, mean[key][name], spread[key][name]) for title, name in shown.items()}
        remarks = [*(["control"] if defense in controls else []), *([settings] if settings else [])]
        label = f"{defense} ({'; '.join(remarks)})" if remarks else defense
        table.append({"defense": label, "seeds": str(seeds[key]), **cells})
    return pd.DataFrame(table)


def _rank(key: Any, asr: float, control: bool) -> tuple[Any, ...]:
    """No defense first, then by rising ASR, rows without one last; controls behind all."""
    undefined = math.isnan(asr)
    return key[0] != NONE, control, undefined, 0.0 if undefined else asr, key


def _common_k(part: pd.DataFrame) -> int:
    """The largest k up to K for which every locating row has numbers; K where none locates."""
    counted = {int(name.partition(".")[0]): name for name in part.columns if name.endswith(".accuracy")}
    there = part[list(counted.values())].notna()
    located = there[there.any(axis=1)]
    return max((k for k, name in counted.items() if k <= K and len(located) and located[name].all()), default=K)


def _cell(column: str, mean: float, spread: float) -> str:
    single = math.isnan(spread)
    if math.isnan(mean):
        return _GONE
    digits = 0 if column == "seconds" or (column == "removed" and single) else 1
    text = f"{mean:.{digits}f}"
    return text if single else f"{text} ± {spread:.{digits}f}"


# --- markdown -------------------------------------------------------------------------------------


def markdown(tables: Mapping[Group, pd.DataFrame]) -> str:
    """The tables as GitHub-flavoured markdown, each under a heading that says what its records share."""
    if not tables:
        return "No records.\n"
    parts = [f"{_heading(group)}\n\n{_pipes(table)}\n" for group, table in tables.items()]
    return "\n".join([*parts, f"{LEGEND}\n"])


def _heading(group: Group) -> str:
    name = f"## {escape(group.attack)} on {escape(group.dataset)}, preset {escape(group.preset)}"
    return f"{name}\n\nDataset fingerprint {group.fingerprint[:12]}, metric version {group.metric_version}."


def _pipes(table: pd.DataFrame) -> str:
    safe = table.assign(defense=[escape(name) for name in table["defense"]])
    align = ("left", *["right"] * (table.shape[1] - 1))
    return str(safe.to_markdown(index=False, tablefmt="pipe", disable_numparse=True, colalign=align))


def escape(text: str) -> str:
    """`text` on one line with nothing in it that markdown or HTML would take for more than text."""
    line = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text).strip()
    line = _MARKUP.sub(_entity, line)
    return line or "(no name)"


def _entity(found: re.Match[str]) -> str:
    return f"&#{ord(found[0])};"
