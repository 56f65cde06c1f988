"""What the page of a run shows: all that is in its record, in sections of tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from bench.leaderboard.escaping import plain
from bench.leaderboard.rows import UNDEFINED, leaves
from bench.records.record import MEASURED, Record, fingerprint
from bench.store import canonical

MOST, LONGEST = 300, 400
"""Rows of one table of facts, and letters of one fact: a page stays a page; the record holds the rest."""
_RATES = {
    "acc": "classified rightly (ACC)",
    "asr": "taken for the target class (ASR)",
    "asr_all": "ASR over all images, those of the target class too",
    "asr_correct": "ASR over images classified rightly without a trigger",
    "false_positives": "images taken for the target class (count)",
}
_DETECTION = {
    "removed": "images removed (count)",
    "poisoned": "images poisoned (count)",
    "precision": "precision of the removal",
    "recall": "recall of the removal",
    "f1": "F1 of the removal",
    "auroc": "area under the ROC curve of the score",
    "average_precision": "average precision of the score",
}
"""Metric -> words; others, of a newer version or a stranger, go by their own name."""


class Sheet(NamedTuple):
    """A table: its title, column headings (empty: pairs of a name and a value), and rows of texts."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def title_of(run: Record) -> str:
    """What a run is called, plain."""
    told, data = run["run"], run["dataset"]
    return plain(f"{told['defense']} against {told['attack']} on {data['name']}, seed {told['seed']}")


def run_values(run: Record, record_name: str) -> dict[str, Any]:
    """What templates/run.html is rendered with: texts, plain. record_name: of the JSON file beside the page."""
    return {
        "title": title_of(run),
        "control": bool(run["run"].get("control", False)),
        "status": run.get("status", MEASURED),
        "record_name": record_name,
        "results": _results(run["metrics"]),
        "sheets": [sheet for sheet in _provenance(run) if sheet.rows],
    }


# --- every metric ---------------------------------------------------------------------------------


def _results(metrics: Mapping[str, Any]) -> list[Sheet]:
    none, defended, detection = metrics["none"], metrics["defended"], metrics["detection"]
    sheets = [
        _rates("What the encoders do", none, defended),
        *_each_trigger(none, defended),
        Sheet("What was removed", (), _measured(detection), "Percent, but for counts of images."),
        _lost(metrics.get("clean_removed", {})),
        _localised("How well triggers are located", metrics["localisation"]),
    ]
    for found in metrics.get("per_trigger", ()):
        of = f"the trigger of class {found['target']}"
        sheets.append(Sheet(f"What was removed of {of}", (), _measured(found["detection"])))
        sheets.append(_localised(f"How well {of} is located", found["localisation"]))
    return [sheet for sheet in sheets if sheet.rows]


def _rates(title: str, none: Mapping[str, Any], defended: Mapping[str, Any]) -> Sheet:
    rows = [
        (
            f"{words} images: {_RATES.get(metric, plain(metric))}",
            number(value, metric),
            number(defended[split].get(metric), metric),
        )
        for split, words in (("clean", "clean"), ("poisoned", "triggered"))
        for metric, value in _sorted(none[split], _RATES)
    ]
    return Sheet(title, ("percent", "no defense", "this run"), tuple(rows))


def _each_trigger(none: Mapping[str, Any], defended: Mapping[str, Any]) -> list[Sheet]:
    """A sheet per trigger, where there are several: of one, the means say it all."""
    pairs = list(zip(none.get("per_trigger", ()), defended.get("per_trigger", ()), strict=False))
    if len(pairs) < 2:
        return []
    return [_rates(f"What the encoders do, target class {before['target']}", before, after) for before, after in pairs]


def _lost(counts: Mapping[str, int]) -> Sheet:
    """The most first, then as the classes come; those that lost none are left out."""
    lost = sorted(((name, count) for name, count in counts.items() if count), key=lambda each: -each[1])
    rows = tuple((plain(name), number(count, "removed")) for name, count in lost)
    return Sheet("Clean images removed", (), rows, "Number of images, by class; none of the others.")


def _localised(title: str, found: Mapping[str, Any]) -> Sheet:
    rows = [(k, *(number(found[k][name]) for name in ("accuracy", "iou", "cr"))) for k in sorted(found, key=int)]
    note = "Of the k most suspicious images: percent poisoned, overlap with the trigger, share of it inside the window."
    return Sheet(title, ("k", "accuracy", "IoU", "catch rate"), tuple(rows), note)


# --- where it comes from --------------------------------------------------------------------------


def _provenance(run: Record) -> list[Sheet]:
    data, poison = dict(run["dataset"]), dict(run["poison"])
    triggers = poison.pop("triggers")
    return [
        Sheet("Run", (), _pairs(_facts(run))),
        Sheet("Dataset", (), _pairs(data)),
        Sheet("Poison", (), _pairs(poison)),
        *(Sheet(f"Trigger {place}", (), _pairs(each)) for place, each in enumerate(triggers, 1)),
        *_stages(run["stages"]),
        *(Sheet(f"Configuration: {plain(name)}", (), _pairs(part)) for name, part in _parts(run["config"])),
        Sheet("Seeds", (), _pairs(run["seeds"])),
        Sheet("What the defense says of its work", (), _pairs(run.get("facts", {}))),
        Sheet("Versions", (), _pairs(run["versions"])),
        Sheet("Hardware", (), _pairs(run["hardware"])),
    ]


def _facts(run: Record) -> dict[str, Any]:
    git = run["git"]
    named = {name: value for name, value in run["run"].items() if name != "asked"}
    return {
        **named,
        "status": run.get("status", MEASURED),
        **({"submitted file, SHA-256": run["submission"]["sha256"]} if "submission" in run else {}),
        "created": run["created"],
        "fingerprint of the outcome": fingerprint(run),
        "benchmark version": run["bench"],
        "git commit": "not told" if git is None else git["hash"] + (", with changes" if git["dirty"] else ""),
        "metric version": run["metric_version"],
        "record schema": run["schema_version"],
        **{f"asked {name}": value for name, value in run["run"].get("asked", {}).items()},
    }


def _parts(config: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """The sections of a configuration; what is in none of them first."""
    yield "general", {name: value for name, value in config.items() if not isinstance(value, dict)}
    yield from ((name, part) for name, part in config.items() if isinstance(part, dict))


def _stages(stages: Mapping[str, Any]) -> list[Sheet]:
    rows = [
        (plain(name), number(stage["seconds"]), number(stage["peak_memory_mb"]), number(stage.get("threads")))
        for name, stage in sorted(stages.items(), key=lambda each: -each[1]["seconds"])
    ]
    columns = ("stage", "seconds", "peak memory, MB", "threads")
    keys = _pairs({name: stage["key"] for name, stage in stages.items()})
    return [
        Sheet("Stages", columns, tuple(rows), "The longest first."),
        Sheet("Keys of the stages in the store", (), keys),
    ]


def _pairs(facts: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Names and values as they are, nested ones as "a.b"; both plain and cut at a length."""
    found = [(_cut(name), _cut(_text(value))) for name, value in _flat(facts)]
    more = len(found) - MOST
    return tuple(found[:MOST]) + (((f"and {more} more", "see the record"),) if more > 0 else ())


def _measured(metrics: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    found = _sorted(metrics, _DETECTION)[:MOST]
    return tuple((_DETECTION.get(name, _cut(name)), number(value)) for name, value in found)


def _sorted(metrics: Mapping[str, Any], words: Mapping[str, str]) -> list[tuple[str, Any]]:
    """Those with words first, in the order of these."""
    return [(name, metrics[name]) for name in words if name in metrics] + [
        (name, value) for name, value in metrics.items() if name not in words
    ]


def _flat(facts: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from leaves(value, str(name))
        else:
            yield str(name), value


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == "" or value == []:
        return UNDEFINED
    if isinstance(value, list):
        nested = any(isinstance(item, dict | list) for item in value)
        return canonical(value) if nested else ", ".join(map(_text, value))
    return str(value)


def _cut(text: str) -> str:
    text = plain(text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def number(value: float | None, metric: str = "") -> str:
    """A count as it is (`metric` names one that may be a mean of counts), anything else with two decimals; a dash
    where it is undefined."""
    if value is None:
        return UNDEFINED
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
    return text.removesuffix(".00") if metric == "false_positives" else text
