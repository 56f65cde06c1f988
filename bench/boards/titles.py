"""What a table is of, in words: its title, what stands in small print below it, and the facts that identify it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.records.record import MEASURED, Record
from bench.records.redact import one_line

from .naming import shared_settings
from .row import Group, RunRow, by_group

FIRST = {"preset": "laptop", "dataset": "scenes", "attack": "htba", "ssl": "moco_v3"}
"""What `bench run` does without options; its table comes first, then those that differ least from it."""
SMALL = {"images": 50_000, "pixels": 64}
"""Below either a table says that it is small. The papers train on some 100,000 images of 224 px."""
LOOKS = {
    **dict.fromkeys(("saturation", "contrast"), "1.0"),
    **dict.fromkeys(("brightness", "opacity", "trigger_scale"), "[1.0,1.0]"),
    "rotation": "0.0",
    "jpeg": "0",
}
"""Options of an attack that say how its trigger looks, and what they are where it is as drawn."""
_NAMES = {
    "scenes": "Drawn scenes",
    "vivid": "Drawn scenes, vivid",
    "cifar10": "CIFAR-10",
    "stl10": "STL-10",
    "imagenet100": "ImageNet-100",
}
_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def order_of(group: Group, rows: Sequence[RunRow]) -> tuple[Any, ...]:
    """What tables are sorted by."""
    return *(getattr(group, name) != value for name, value in FIRST.items()), group[:3], _triggers(rows), group


def titles(parts: Mapping[Group, Sequence[RunRow]]) -> dict[Group, str]:
    """The title of each table: data and attack in words, and where these are the same for two, what else differs."""
    plain = {group: _words(_first(rows)) for group, rows in parts.items()}
    alike = {group: [other for other in parts if plain[other] == plain[group]] for group in parts}
    return {group: plain[group] + _difference(group, alike[group]) for group in parts}


def images(rows: Sequence[RunRow]) -> str:
    """The data that the rows are of."""
    return _images(_first(rows))


def attacks(rows: Sequence[RunRow]) -> dict[Group, str]:
    """The attack of each group in a few words: its name, the number of its triggers, and what else differs."""
    parts = by_group(rows)
    plain = {group: _attack(_first(same)) for group, same in parts.items()}
    alike = {group: [other for other in parts if plain[other] == plain[group]] for group in parts}
    return {group: plain[group] + _difference(group, alike[group]) for group in parts}


def _attack(record: Record) -> str:
    count = len(record["poison"]["triggers"])
    name = one_line(str(record["run"]["attack"]))
    return f"{name}, {_counted(count)} triggers" if count > 1 else name


def _counted(count: int) -> str:
    return _COUNTS[count] if count < len(_COUNTS) else str(count)


def about(rows: Sequence[RunRow]) -> str:
    """In one line: the data set, the preset with what was changed for all lines, and what was trained how long."""
    record, group = _first(rows), rows[0].group
    settings = [f"{name}={text}" for name, text in shared_settings(rows).items()]
    changed = f"preset {group.preset}" + (f" with {', '.join(settings)}" if settings else "")
    return "; ".join([f"data set {group.dataset}", changed, *_training(record["config"])])


def options(group: Group) -> str:
    """Those of the attack, in one line."""
    return ", ".join(f"{name}={text}" for name, text in group.attack_options.items() if not name.endswith("sha256"))


def share(rows: Sequence[RunRow]) -> float:
    """Of the training images that are poisoned, in percent."""
    record = _first(rows)
    return 100.0 * float(record["poison"]["count"]) / float(record["dataset"]["counts"]["train"])


def small(rows: Sequence[RunRow]) -> str:
    """A warning where the data are small, "" where they are not."""
    data = _first(rows)["dataset"]
    count, size = data["counts"]["train"], data["image_size"]
    if count >= SMALL["images"] and size >= SMALL["pixels"]:
        return ""
    return f"A small setting, {count:,} images of {size} px: what holds here need not hold at a paper's size."


def facts(rows: Sequence[RunRow]) -> dict[str, str]:
    """What identifies the data and the code: fingerprints, hashes and versions, by what they are of."""
    group, records = rows[0].group, [row.record for row in rows]
    hashes = {f"attack, {name}": text for name, text in group.attack_options.items() if name.endswith("sha256")}
    return {
        "data set, fingerprint": group.fingerprint,
        "classes, SHA-256": ", ".join(sorted({record["dataset"]["classes_sha256"] for record in records})),
        **hashes,
        "version of the metrics": str(group.metric_version),
        "version of the benchmark": ", ".join(sorted({one_line(record["bench"]) for record in records})),
        "code, git": ", ".join(sorted({_commit(record) for record in records})),
    }


def _first(rows: Sequence[RunRow]) -> Record:
    """One record for all: that of the lowest seed measured here."""
    return min(rows, key=lambda row: (row.status != MEASURED, row.seed, row.defense, row.identity)).record


def _triggers(rows: Sequence[RunRow]) -> int:
    return len(_first(rows)["poison"]["triggers"])


def _words(record: Record) -> str:
    return f"{_images(record)}; {record['run']['attack']}: {_poison(record['poison'])}"


def _images(record: Record) -> str:
    data = record["dataset"]
    return f"{_data(record)}, {data['counts']['train']:,} images of {data['image_size']} px"


def _data(record: Record) -> str:
    """The data set's name; of a folder of images the folder's own name, never the path to it, and whether they have
    stickers."""
    name = str(record["dataset"]["name"])
    options = record["config"].get("dataset", {}) if name == "folder" else {}
    last = one_line(re.split(r"[/\\]", str(options.get("root", "")).rstrip("/\\"))[-1])
    kind = "folder, with stickers" if options.get("stickers") else "folder"
    return f"{_NAMES.get(last, last)} ({kind})" if last else _NAMES.get(name, name)


def _poison(poison: Mapping[str, Any]) -> str:
    if not poison["count"]:
        return "nothing is poisoned"
    rates = sorted({round(trigger["rate_of_target"], 1) for trigger in poison["triggers"]})
    rate = " to ".join(f"{rate:g}" for rate in dict.fromkeys((rates[0], rates[-1]))) + " %"
    classes = [f"'{one_line(trigger['target'])}'" for trigger in poison["triggers"]]
    if len(classes) == 1:
        return f"one trigger on {rate} of {classes[0]}"
    return f"{_counted(len(classes))} triggers, each on {rate} of its class: {', '.join(classes)}"


def _difference(group: Group, alike: Sequence[Group]) -> str:
    """What a group differs in from others of one title, in parentheses: one option if one tells all of them apart, how
    the trigger looks before any other, and nothing where it looks as drawn; the hash of a file only where nothing else
    differs."""
    every = {other: _named(other) for other in alike}
    differ = [name for name, text in every[group].items() if any(one.get(name) != text for one in every.values())]
    named = [name for name in differ if "sha256" not in name and name != "fingerprint"] or differ
    telling = [name for name in named if len({one.get(name) for one in every.values()}) == len(every)]
    named = sorted(telling, key=lambda name: name not in LOOKS)[:1] or named
    if telling and every[group][named[0]] == LOOKS.get(named[0]):
        return ""
    return f" ({', '.join(f'{name} {every[group][name]}' for name in named)})" if named else ""


def _named(group: Group) -> dict[str, str]:
    kept = {"SSL method": group.ssl, "preset": group.preset, "data set": group.dataset}
    kept["metric version"] = str(group.metric_version)
    return kept | group.attack_options | {"fingerprint": group.fingerprint[:12]}


def _training(config: Mapping[str, Any]) -> list[str]:
    found = [
        config.get(part, {}).get(name) for part, name in (("ssl", "name"), ("encoder", "backbone"), ("train", "epochs"))
    ]
    words = ("SSL method {}", "encoder {}", "{} epochs")
    return [text.format(value) for text, value in zip(words, found, strict=True) if value is not None]


def _commit(record: Record) -> str:
    git = record.get("git") or {}
    return str(git.get("hash") or "not known")[:12] + (" with changes" if git.get("dirty") else "")
