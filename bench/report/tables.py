"""The page's tables, as rows of text: what a run measured, what its words mean, what it cost, where it came from."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.records.metrics import (
    CLEAN,
    DETECTION,
    ENCODER,
    IMAGES,
    LOCALISATION,
    METRICS,
    NUMBER,
    OF_TRIGGER,
    TEST_TIME,
    TRIGGERED,
    Metric,
    metrics_of,
)
from bench.records.record import MEASURED, Record, entries, only_judges, pace, repair_cost, whole

from .controls import Beside

UNDEFINED = "-"
MOST, LONGEST = 300, 400
"""Rows of one list of facts, and letters of one fact: a page stays a page; the record holds the rest."""
_SPLITS = {CLEAN: "clean images", TRIGGERED: "triggered images"}
_WORDS = {
    "triggered image": "a validation image with the trigger put on it.",
    "poisoned image": "a training image that carries the trigger; its label is never changed.",
    "control": "a row that knows the truth and shows what to compare with; no defense could be one.",
    "clean-set": "control: training on the same images without any trigger.",
    "oracle": "control: removes exactly the poisoned images.",
    "random": "control: removes as many images as the defense it is measured against, at random.",
    "trusted": "control: keeps a share of the images, all of them clean, as if a person had looked through so many.",
    "untrusted": "control: keeps as many images as trusted, at random.",
    "repair": "a new encoder made out of the old one, instead of a second training.",
}


@dataclass(frozen=True)
class PageTable:
    """A caption, headings, and rows of as many cells; the first column is text, the others numbers."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def share(value: float | None) -> str:
    """A percentage as it is printed; a dash where it is undefined."""
    return UNDEFINED if value is None else f"{value:.1f} %"


def number(metric: Metric | None, value: float | None) -> str:
    """A metric's value as it is printed; `metric` is None for one of a newer version."""
    if value is not None and metric and metric.unit == NUMBER:
        return f"{value:.4g}"
    if value is None or (metric and metric.unit != IMAGES):
        return share(value)
    return f"{value:,.2f}".removesuffix(".00")


def glossary() -> list[tuple[str, str]]:
    """The words of the page and what they mean."""
    return [(metric.title.format(k="k"), metric.help) for metric in METRICS] + list(_WORDS.items())


def _columns(part: str, found: Iterable[Mapping[str, Any]], k: str = "k") -> dict[str, tuple[str, Metric | None]]:
    """Name -> (title, metric) of the numbers of a part of the record: those of METRICS, then others by their names."""
    known = {metric.name: (metric.title.format(k=k), metric) for metric in metrics_of(part)}
    return {name: known.get(name, (name, None)) for each in ({}, *found) for name in (*known, *each)}


def rates(record: Record, beside: Beside, more: bool = False) -> PageTable:
    """What a classifier on each encoder answers: without a defense, with the run's, and with the controls.

    more: the rates that leaderboards do not show.
    """
    columns = [("no defense", record["metrics"]["none"])]
    defended = (each for each in (record, *beside.controls) if "defended" in each["metrics"])
    columns += [(_name(each), each["metrics"]["defended"]) for each in defended]
    rows = []
    for split, images in _SPLITS.items():
        for name, (title, metric) in _columns(split, [found[split] for _, found in columns]).items():
            if more != (metric is not None and metric.board):
                cells = (number(metric, found[split].get(name)) for _, found in columns)
                rows.append((f"{images}: {metric.words if metric else title}", *cells))
    caption = "More of the same classifier" if more else f"A linear classifier on the encoder{_several(record)}"
    return PageTable(caption, ("validation images", *(name for name, _ in columns)), rows)


def _several(record: Record) -> str:
    return " (means over the targets)" if len(record["poison"]["targets"]) > 1 else ""


def _name(record: Record) -> str:
    return f"{record['run']['defense']}{' (control)' if record['run'].get('control') else ''}"


def removal(record: Record) -> PageTable:
    """How well the removed images are the poisoned ones; or what a detector or an encoder test is worth."""
    if only_judges(record):
        return _judged(record)
    found = record["metrics"]["detection"]
    columns = _columns(DETECTION, [found])
    if not record["poison"]["count"]:  # nothing is there to be found
        columns = {name: column for name, column in columns.items() if name in ("removed", "false_removal")}
    cells = (number(metric, found.get(name)) for name, (_, metric) in columns.items())
    headings = ("", *(title for title, _ in columns.values()))
    return PageTable("Finding poisoned images", headings, [(record["run"]["defense"], *cells)])


def _judged(record: Record) -> PageTable:
    """One row: how a detector orders test images, with its time for one, or what an encoder test says."""
    part, caption = (TEST_TIME, "Test images") if TEST_TIME in record["metrics"] else (ENCODER, "The encoder")
    found = record["metrics"][part]
    cells = {title: number(metric, found.get(name)) for name, (title, metric) in _columns(part, [found]).items()}
    if part == TEST_TIME:
        cells["time for an image"] = f"{1000 * pace(record):.1f} ms"
    return PageTable(caption, ("", *cells), [(record["run"]["defense"], *cells.values())])


def localisations(record: Record) -> list[PageTable]:
    """Whether the most suspicious images are poisoned and their triggers found; where there are several triggers, how
    each works and is found."""
    if only_judges(record):
        return []
    found = [_located("Finding the trigger", record["metrics"]["localisation"]), _each_trigger(record)]
    return [table for table in found if table]


def _located(caption: str, found: Mapping[str, Any]) -> PageTable | None:
    columns = _columns(LOCALISATION, found.values())
    rows = [
        (f"top {k}", *(number(metric, found[k].get(name)) for name, (_, metric) in columns.items()))
        for k in sorted(found, key=int)
    ]
    headings = ("", *((metric.words if metric else title) for title, metric in columns.values()))
    return PageTable(caption, headings, rows) if rows else None


def _each_trigger(record: Record) -> PageTable | None:
    """A row for each target, its ASR and how its images were found; None where there is one."""
    k = shown_k(record["metrics"]["localisation"])
    metrics, names = record["metrics"], record["poison"]["targets"]
    if "per_trigger" not in metrics:
        return None
    removal = _columns(OF_TRIGGER, [each["detection"] for each in metrics["per_trigger"]])
    located = _columns(LOCALISATION, (), k) if k else {}
    rows = []
    encoders = [(name, metrics[who]) for who, name in _encoders(record).items()]
    for place, found in enumerate(metrics["per_trigger"]):
        asr = [share(each["per_trigger"][place]["poisoned"]["asr"]) for _, each in encoders]
        cells = [number(metric, found["detection"].get(name)) for name, (_, metric) in removal.items()]
        cells += [number(metric, found["localisation"][k].get(name)) for name, (_, metric) in located.items() if k]
        rows.append((names[place], *asr, *cells))
    titles = (title for title, _ in (*removal.values(), *located.values()))
    headings = ("target", *(f"ASR, {name}" for name, _ in encoders), *titles)
    return PageTable("Each target: ASR of its trigger, how it was found", headings, rows)


def _encoders(record: Record) -> dict[str, str]:
    """Where the record has the rates of an encoder -> what that one is called."""
    names = {"none": "no defense", "defended": record["run"]["defense"]}
    return {who: name for who, name in names.items() if who in record["metrics"]}


def shown_k(found: Mapping[str, Any]) -> str | None:
    """The k to tell of where there is room for one: 10, else the largest; None where nothing is scored."""
    return "10" if "10" in found else max(found, key=int, default=None)


def details(record: Record, beside: Beside) -> list[PageTable]:
    """The rates that leaderboards do not show, and all rates and the localisation of each of several triggers."""
    found: list[PageTable | None] = [rates(record, beside, more=True)]
    metrics = record["metrics"]
    encoders = _encoders(record)
    triggers = metrics.get("per_trigger", ()) if all("per_trigger" in metrics[who] for who in encoders) else ()
    for place, (name, trigger) in enumerate(zip(record["poison"]["targets"], triggers, strict=False)):
        one = {**record, "metrics": {who: metrics[who]["per_trigger"][place] for who in encoders}}
        each = [rates(one, Beside(), more) for more in (False, True)]
        rows = [row for table in each for row in table.rows]
        found.append(PageTable(f"A linear classifier on the encoder, target {name}", each[0].headings, rows))
        if "localisation" in trigger:
            found.append(_located(f"Finding the trigger of {name}", trigger["localisation"]))
    return [table for table in found if table and table.rows]


def clean_removed(record: Record) -> PageTable | None:
    """What the removal cost, by class, the most first; None where no clean image was removed, or nobody counted."""
    counts: Mapping[str, int] = record["metrics"].get("clean_removed", {})
    lost = sorted(((name, count) for name, count in counts.items() if count), key=lambda each: -each[1])[:MOST]
    rows = [(name, f"{count:,}") for name, count in lost]
    return PageTable("Clean images removed", ("class", "images"), rows) if rows else None


STAGES = {
    "poison": "poison the images",
    "threat_model": "train on the poisoned images",
    "threat_probe": "measure that encoder",
    "defense": "find the poison",
    "retraining": "train again on what is kept",
    "defended_probe": "measure the new encoder",
}


def cost(record: Record) -> PageTable:
    """Each stage as it was made; one that stands in for two is counted once."""
    rows, seen, total, most = [], set(), 0.0, 0.0
    for name, stage in sorted(record["stages"].items(), key=lambda item: [*STAGES, item[0]].index(item[0])):
        again = stage["key"] in seen
        seen.add(stage["key"])
        total, most = total + (0.0 if again else stage["seconds"]), max(most, stage["peak_memory_mb"] or 0.0)
        label = STAGES.get(name, name)
        if name == "defense" and only_judges(record):
            label = "score test images" if TEST_TIME in record["metrics"] else "judge the encoder"
        if name == "threat_model" and record["config"].get("threat"):
            label = "import the encoder"
        elif name == "retraining" and record["run"].get("repair"):
            label = "repair the encoder"
        threads = UNDEFINED if stage.get("threads") is None else str(stage["threads"])
        spent = "as above" if again else seconds(stage["seconds"])
        rows.append((label, spent, memory(stage["peak_memory_mb"]), threads))
    rows.append(("all", seconds(total), memory(most), ""))
    repair = repair_cost(record)
    caption = "" if repair is None else f"; the repair took {share(repair)} of the first training's time"
    return PageTable(f"Each stage, as it was made{caption}", ("stage", "time", "peak memory", "threads"), rows)


def seconds(value: float) -> str:
    """A duration for people."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def memory(value: float | None) -> str:
    """MiB for people."""
    return UNDEFINED if value is None else f"{value:,.0f} MiB"


def provenance(record: Record, outcome: str) -> list[tuple[str, str]]:
    """(what, value) pairs: enough to make the run again. outcome: the record's fingerprint."""
    git, data = record["git"], record["dataset"]
    source = "not from a git checkout" if git is None else git["hash"] + (" with changes" if git["dirty"] else "")
    return _pairs(
        {
            "command": command(record),
            "made": record["created"],
            "status": record.get("status", MEASURED),
            **({"submitted file": f"SHA-256 {record['submission']['sha256']}"} if "submission" in record else {}),
            "outcome": f"fingerprint {outcome}",
            "benchmark": f"ssl-backdoor-bench {record['bench']}, metrics version {record['metric_version']}, "
            f"record schema {record['schema_version']}",
            "source": source,
            "dataset": f"{data['name']}: {data['counts']['train']:,} training and {data['counts']['val']:,} validation "
            f"images of {data['image_size']} px" + (f", {data['skipped']:,} unreadable" if data["skipped"] else ""),
            "fingerprint": data["fingerprint"],
            "seeds": _listed(record["seeds"]),
            "versions": _listed(record["versions"]),
            "machine": _listed(record["hardware"]),
        }.items()
    )


PNG = re.compile(r"iVBORw0KGgo[A-Za-z0-9+/=]{1,200000}")
"""A PNG in base64."""


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in values.items() if value not in (None, []))


def command(record: Record) -> str:
    """The command that makes the run again, as far as the record says."""
    asked = record["run"].get("asked")
    if not asked:
        return "not recorded"
    parts = ["bench", "run", "--preset", str(asked["preset"]), "--seed", str(asked["seed"])]
    for kind, name in asked["choices"].items():
        parts += [f"--{kind}", str(name)]
    for text in asked["settings"]:
        parts += ["--set", str(text)]
    threat = record["config"].get("threat")
    parts += [] if whole(record) else ["--until", str(record["run"]["until"])]
    return shlex.join([*parts, *(["--threat-checkpoint", threat["checkpoint"]] if threat else [])])


def lists(record: Record) -> dict[str, list[tuple[str, str]]]:
    """Longer lists of facts, by their title; those without one are left out."""
    keys = {name: stage["key"] for name, stage in record["stages"].items()}
    found = {
        "Every option": entries(record["config"]),
        "The poison": _flat(record["poison"]),
        "What the defense noted": _flat(record.get("facts", {})),
        "Keys of the stages in the store": keys.items(),
    }
    return {title: pairs for title, facts in found.items() if (pairs := _pairs(facts))}


def patches(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The patches that a defense found, from its `facts`: {"picture": a PNG in base64, "size": "10 x 10 px", "images":
    number of images, "tied": whether it took it for a trigger}. What is not of that form is left out."""
    return [
        {
            "picture": each["picture"],
            "size": f"{each['size'][0]} x {each['size'][1]} px",
            "images": each["images"],
            "tied": tied,
        }
        for name, tied in (("triggers", True), ("not_tied", False))
        for each in (facts[name] if isinstance(facts.get(name), list) else ())
        if isinstance(each, Mapping)
        and isinstance(each.get("picture"), str)
        and PNG.fullmatch(each["picture"])
        and isinstance(each.get("images"), int)
        and isinstance(each.get("size"), list)
        and len(each["size"]) == 2
    ]


def _flat(facts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Nested facts by path, those in lists by their place, from 1: ("triggers.1.count", 25) ..."""
    for name, value in entries(facts):
        if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            yield from _flat({f"{name}.{place}": item for place, item in enumerate(value, 1)})
        elif name and not (isinstance(value, str) and PNG.fullmatch(value)):
            yield name, value


def _pairs(facts: Iterable[tuple[str, Any]]) -> list[tuple[str, str]]:
    """Names and values as texts, both cut at a length, and the list at MOST rows."""
    found = [(_cut(name), _cut(_text(value))) for name, value in facts]
    more = len(found) - MOST
    return found[:MOST] + ([(f"and {more} more", "see the record")] if more > 0 else [])


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(each) for each in value) or "none"
    return "none" if value is None else str(value)
