"""A run in words and one table, for a reader who has not read the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from .record import Record


def share(value: float | None) -> str:
    """A percentage as it is printed; a dash where it is undefined."""
    return "-" if value is None else f"{value:.1f} %"


def summary(record: Record) -> list[RenderableType]:
    """What to print after a run."""
    return [_heading(record), _rates_table(record), *_search(record), *_localisation(record)]


def _heading(record: Record) -> str:
    from rich.markup import escape

    run, poison, data = record["run"], record["poison"], record["dataset"]
    targets = ", ".join(repr(name) for name in poison["targets"])
    threat = record.get("config", {}).get("threat")
    origin = f" Threat model imported from {escape(threat['checkpoint'])}." if threat else ""
    return (
        f"\n[bold]{run['attack']}[/] on {data['name']}, target {targets}: "
        f"{poison['count']} of {data['counts']['train']} training images carry the trigger\n"
        f"({share(poison['rate_of_target'])} of the target class, {share(poison['rate_of_dataset'])} of the training "
        f"set). Seed {run['seed']}, preset {run['preset']}.{origin}"
    )


def _rates_table(record: Record) -> Table:
    from rich.table import Table

    defense = record["run"]["defense"]
    table = Table(title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("a linear classifier on the encoder")
    table.add_column("no defense", justify="right")
    table.add_column(defense, justify="right")
    rows = (
        ("clean images: classified rightly (ACC)", "clean", "acc"),
        ("clean images: taken for the target class (ASR)", "clean", "asr"),
        ("triggered images: classified rightly (ACC)", "poisoned", "acc"),
        ("triggered images: taken for the target class (ASR)", "poisoned", "asr"),
    )
    found = record["metrics"]
    for label, split, metric in rows:
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


def _localisation(record: Record) -> list[str]:
    found: Mapping[str, Any] = record["metrics"]["localisation"]
    if not found:
        return []
    k = "10" if "10" in found else max(found, key=int)
    best = found[k]
    return [
        f"Of the {k} images it suspected most, {share(best['accuracy'])} are poisoned; in those its window covers "
        f"{share(best['cr'])} of the trigger (catch rate) and overlaps it by {share(best['iou'])} (IoU)."
    ]
