"""The page's tables, as rows of text: what a run measured, what its words mean, what it cost, where it came from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.records.record import Record, entries
from bench.report.terminal import RATES, share

from .controls import Beside

Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A caption, headings, and rows of as many cells; the first column is text, the others numbers."""

    caption: str
    headings: Row
    rows: Sequence[Row]


GLOSSARY = (
    ("ACC", "accuracy: share of the validation images whose class a linear classifier on the encoder predicts."),
    ("ASR", "attack success rate: share of the images of other classes that are taken for the target class."),
    ("triggered image", "a validation image with the trigger put on it."),
    ("poisoned image", "a training image that carries the trigger; its label is never changed."),
    ("recall", "share of the poisoned images that were removed."),
    ("precision", "share of the removed images that are poisoned."),
    ("F1", "harmonic mean of precision and recall."),
    ("AUROC", "how often a poisoned image has a higher score than a clean one; 50 % is guessing."),
    ("average precision", "mean of the precision at each score, weighted by the recall gained there."),
    ("top k", "the k images whose candidate trigger acts most strongly, by the defense's trigger score."),
    ("catch rate", "share of the true trigger's area inside the window found, over the poisoned images of the top k."),
    ("IoU", "intersection over union of the window found and the true trigger, over the same images."),
    ("control", "a row that knows the truth and shows what to compare with; no defense could be one."),
    ("clean-set", "control: training on the same images without any trigger."),
    ("oracle", "control: removes exactly the poisoned images."),
    ("random", "control: removes as many images as the defense it is measured against, at random."),
)


def rates(record: Record, beside: Beside) -> Table:
    """No defense beside the run's, and the controls beside both."""
    columns = [("no defense", record["metrics"]["none"]), (_name(record), record["metrics"]["defended"])]
    columns += [(_name(each), each["metrics"]["defended"]) for each in beside.controls]
    several = " (means over the targets)" if len(record["poison"]["targets"]) > 1 else ""
    return Table(
        f"A linear classifier on the encoder{several}",
        ("validation images", *(name for name, _ in columns)),
        [(label, *(share(found[split][metric]) for _, found in columns)) for label, split, metric in RATES],
    )


def _name(record: Record) -> str:
    return f"{record['run']['defense']}{' (control)' if record['run'].get('control') else ''}"


def detection(record: Record) -> Table:
    """How well it told poisoned from clean images."""
    found = record["metrics"]["detection"]
    names = ("precision", "recall", "f1", "auroc", "average_precision")
    cells = (f"{found['removed']:,}", *(share(found[name]) for name in names))
    headings = ("removed", "precision", "recall", "F1", "AUROC", "average precision")
    return Table("Finding poisoned images", ("", *headings), [(record["run"]["defense"], *cells)])


def localisation(record: Record) -> Table | None:
    """Whether the most suspicious images are poisoned, and their triggers found; None where nothing is scored."""
    found: Mapping[str, Any] = record["metrics"]["localisation"]
    if not found:
        return None
    rows = [
        (f"top {k}", *(share(found[k][name]) for name in ("accuracy", "cr", "iou"))) for k in sorted(found, key=int)
    ]
    return Table("Finding the trigger", ("", "poisoned", "catch rate", "IoU"), rows)


def per_trigger(record: Record) -> Table | None:
    """A row for each trigger; None where there is one."""
    metrics, names = record["metrics"], record["poison"]["targets"]
    if "per_trigger" not in metrics:
        return None
    rows = []
    for number, found in enumerate(metrics["per_trigger"]):
        asr = [share(metrics[who]["per_trigger"][number]["poisoned"]["asr"]) for who in ("none", "defended")]
        counts = [f"{found['detection'][name]:,}" for name in ("poisoned", "removed")]
        rows.append((names[number], *asr, *counts, share(found["detection"]["recall"])))
    headings = ("target", "ASR, no defense", f"ASR, {record['run']['defense']}", "poisoned", "removed", "recall")
    return Table("Each target", headings, rows)


STAGES = {
    "poison": "poison the images",
    "threat_model": "train on the poisoned images",
    "threat_probe": "measure that encoder",
    "defense": "find the poison",
    "retraining": "train again on what is kept",
    "defended_probe": "measure the new encoder",
}


def cost(record: Record) -> Table:
    """Each stage as it was made; one that stands in for two is counted once."""
    rows, seen, total, most = [], set(), 0.0, 0.0
    for name, stage in sorted(record["stages"].items(), key=lambda item: [*STAGES, item[0]].index(item[0])):
        again = stage["key"] in seen
        seen.add(stage["key"])
        total, most = total + (0.0 if again else stage["seconds"]), max(most, stage["peak_memory_mb"] or 0.0)
        label = STAGES.get(name, name)
        if name == "threat_model" and record["config"].get("threat"):
            label = "import the encoder"
        threads = "-" if stage.get("threads") is None else str(stage["threads"])
        spent = "as above" if again else seconds(stage["seconds"])
        rows.append((label, spent, memory(stage["peak_memory_mb"]), threads))
    rows.append(("all", seconds(total), memory(most), ""))
    return Table("Each stage, as it was made", ("stage", "time", "peak memory", "threads"), rows)


def seconds(value: float) -> str:
    """A duration for people."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def memory(value: float | None) -> str:
    """MiB for people."""
    return "-" if value is None else f"{value:,.0f} MiB"


def provenance(record: Record) -> list[tuple[str, str]]:
    """(what, value) pairs: enough to make the run again."""
    git, data, machine = record["git"], record["dataset"], record["hardware"]
    source = "not from a git checkout" if git is None else git["hash"] + (" with changes" if git["dirty"] else "")
    return [
        ("command", command(record)),
        ("made", str(record["created"])),
        ("status", str(record.get("status", "measured"))),
        ("benchmark", f"ssl-backdoor-bench {record['bench']}, metrics version {record['metric_version']}"),
        ("source", source),
        (
            "dataset",
            f"{data['name']}: {data['counts']['train']:,} training and {data['counts']['val']:,} validation "
            f"images of {data['image_size']} px" + (f", {data['skipped']:,} unreadable" if data["skipped"] else ""),
        ),
        ("fingerprint", data["fingerprint"]),
        ("seeds", _listed(record["seeds"])),
        ("versions", _listed({name: value for name, value in record["versions"].items() if value})),
        ("machine", _listed({name: value for name, value in machine.items() if value not in (None, [])})),
    ]


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in values.items())


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
    return shlex.join([*parts, *(["--threat-checkpoint", threat["checkpoint"]] if threat else [])])


def options(record: Record) -> list[tuple[str, str]]:
    """Every option in force: ("train.epochs", "20") ..."""
    return [(name, _text(value)) for name, value in entries(record["config"])]


def facts(record: Record) -> list[tuple[str, str]]:
    """What the defense says of its work."""
    return [(name, _text(value)) for name, value in entries(record.get("facts", {})) if name]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(each) for each in value) or "none"
    return "none" if value is None else str(value)
