"""A run in words and one table, for a reader who has not read the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from bench.records.record import Record

RATES = (
    ("clean images: classified rightly (ACC)", "clean", "acc"),
    ("clean images: taken for the target class (ASR)", "clean", "asr"),
    ("triggered images: classified rightly (ACC)", "poisoned", "acc"),
    ("triggered images: taken for the target class (ASR)", "poisoned", "asr"),
)
"""What a run is told by: words, split and metric in the record."""


def share(value: float | None) -> str:
    """A percentage as it is printed; a dash where it is undefined."""
    return "-" if value is None else f"{value:.1f} %"


def summary(record: Record) -> list[RenderableType]:
    """What to print after a run."""
    return [_heading(record), _rates_table(record), *_search(record), *_localisation(record), *_each_target(record)]


def _heading(record: Record) -> str:
    from rich.markup import escape

    run, poison, data = record["run"], record["poison"], record["dataset"]
    names = escape(", ".join(repr(name) for name in poison["targets"]))
    several = len(poison["targets"]) > 1
    targets, trigger, classes = (
        ("targets", "one of the triggers", "target classes") if several else ("target", "the trigger", "target class")
    )
    threat = record.get("config", {}).get("threat")
    origin = f" Threat model imported from {escape(threat['checkpoint'])}." if threat else ""
    return (
        f"\n[bold]{run['attack']}[/] on {data['name']}, {targets} {names}: "
        f"{poison['count']} of {data['counts']['train']} training images carry {trigger}\n"
        f"({share(poison['rate_of_target'])} of the {classes}, {share(poison['rate_of_dataset'])} of the training "
        f"set). Seed {run['seed']}, preset {run['preset']}.{origin}"
    )


def _rates_table(record: Record) -> Table:
    from rich.table import Table

    defense, several = record["run"]["defense"], len(record["poison"]["targets"]) > 1
    table = Table(title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("a linear classifier on the encoder" + (" (means over the targets)" if several else ""))
    table.add_column("no defense", justify="right")
    table.add_column(defense, justify="right")
    found = record["metrics"]
    for label, split, metric in RATES:
        table.add_row(label, *(share(found[which][split][metric]) for which in ("none", "defended")))
    return table


def _search(record: Record) -> list[str]:
    found, poison = record["metrics"]["detection"], record["poison"]
    if not found["removed"]:
        return [f"\n{record['run']['defense']} removed nothing."]
    caught = round((found["recall"] or 0) * poison["count"] / 100)
    return [
        f"\n{record['run']['defense']} removed {found['removed']} images: {caught} of the {poison['count']} poisoned "
        f"(recall {share(found['recall'])}) and {found['removed'] - caught} clean "
        f"(precision {share(found['precision'])})."
    ]


def _shown_k(found: Mapping[str, Any]) -> str | None:
    """The k to tell of: 10, else the largest; None where nothing is located."""
    return "10" if "10" in found else max(found, key=int, default=None)


def _localisation(record: Record) -> list[str]:
    found: Mapping[str, Any] = record["metrics"]["localisation"]
    k = _shown_k(found)
    if k is None:
        return []
    best = found[k]
    poisoned = f"Of the {k} images it suspected most, {share(best['accuracy'])} are poisoned"
    if {trigger.get("placed", True) for trigger in record["poison"]["triggers"]} == {False}:
        return [f"{poisoned}. Locating the trigger does not apply: it is not at one place."]
    return [f"{poisoned}; in those its window {_window(best)}."]


def _window(found: Mapping[str, Any]) -> str:
    return f"covers {share(found['cr'])} of the trigger (catch rate) and overlaps it by {share(found['iou'])} (IoU)"


def _each_target(record: Record) -> list[RenderableType]:
    """A table with a line for each target, where there are several."""
    from rich.markup import escape
    from rich.table import Table

    metrics, poison = record["metrics"], record["poison"]
    if "per_trigger" not in metrics:
        return []
    k = _shown_k(metrics["localisation"])
    headings = ["target", "ASR, no defense", f"ASR, {record['run']['defense']}", "poisoned", "removed", "recall"]
    headings += [f"of top {k}", "catch rate", "IoU"] if k else []
    table = Table(
        title="\nEach target: ASR of its trigger, how it was found",
        title_justify="left",
        show_edge=False,
        pad_edge=False,
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "target" else "right")
    for number, found in enumerate(metrics["per_trigger"]):
        asr = [share(metrics[who]["per_trigger"][number]["poisoned"]["asr"]) for who in ("none", "defended")]
        judged = found["detection"]
        cells = [*asr, str(judged["poisoned"]), str(judged["removed"]), share(judged["recall"])]
        cells += [share(found["localisation"][k][name]) for name in ("accuracy", "cr", "iou")] if k else []
        table.add_row(escape(poison["targets"][number]), *cells)
    return [table]
