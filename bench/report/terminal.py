"""A run in words and one table, for a reader who has not read the paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import counted
from bench.records.record import only_judges, repair_cost, whole

from .controls import Beside
from .story import judged, judgement
from .tables import PageTable, localisations, rates, removal, share, shown_k

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bench.records.record import Record


def summary(record: Record) -> list[RenderableType]:
    """What to print after a run."""
    encoders = rates(record, Beside())
    headings = [encoders.caption[0].lower() + encoders.caption[1:], *encoders.headings[1:]]
    if only_judges(record):
        return [_heading(record), _drawn(headings, encoders), f"\n{judgement(record)}", *_scores(record)]
    removed = record["metrics"]["detection"]["removed"]
    targets = [table for table in localisations(record) if table.caption.startswith("Each target")]
    return [
        _heading(record),
        _drawn(headings, encoders),
        f"\n{record['run']['defense']} removed {judged(record) if removed else 'nothing'}.",
        *_scores(record),
        *_localisation(record),
        *_repaired(record),
        *(_drawn(table.headings, table, f"\n{table.caption}") for table in targets),
    ]


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
    carrying = f"{poison['count']} of" if poison["count"] else "none of the"
    return (
        f"\n[bold]{run['attack']}[/] on {data['name']}, {targets} {names}: "
        f"{carrying} {data['counts']['train']} training images carry {trigger}\n"
        f"({share(poison['rate_of_target'])} of the {classes}, {share(poison['rate_of_dataset'])} of the training "
        f"set). Seed {run['seed']}, preset {run['preset']}.{origin}"
    )


def _drawn(headings: Sequence[str], table: PageTable, title: str | None = None) -> RenderableType:
    """A table of the run's page for the terminal: the first column is text, the others numbers."""
    from .fitting import FittingTable

    return FittingTable(headings=headings, rows=table.rows, right=headings[1:], title=title)


def _scores(record: Record) -> list[RenderableType]:
    """Of a run that ended with the verdict: how good that is, a line a measure."""
    if whole(record):
        return []
    found = removal(record)
    (row,) = found.rows
    turned = dataclasses.replace(found, rows=tuple(zip(found.headings[1:], row[1:], strict=True)))
    return [_drawn((found.caption, row[0]), turned, "")]


def _repaired(record: Record) -> list[str]:
    """What a repair cost."""
    cost = repair_cost(record)
    return [] if cost is None else [f"The repair took {share(cost)} of the time of the first training."]


def _localisation(record: Record) -> list[str]:
    found: Mapping[str, Any] = record["metrics"]["localisation"]
    k = shown_k(found)
    if k is None or not record["poison"]["count"]:
        return []
    best = found[k]
    poisoned = f"Of the {counted(int(k), 'image')} it suspected most, {share(best['accuracy'])} are poisoned"
    if {trigger.get("placed", True) for trigger in record["poison"]["triggers"]} == {False}:
        return [f"{poisoned}. Locating the trigger does not apply: it is not at one place."]
    return [f"{poisoned}; in those its window {_window(best)}."]


def _window(found: Mapping[str, Any]) -> str:
    text = f"covers {share(found['cr'])} of the trigger (catch rate) and overlaps it by {share(found['iou'])} (IoU)"
    return text if found.get("hit") is None else f"{text}; {share(found['hit'])} of these windows hold some part of it"
