"""Puts the page of a run together. What does not apply to a run says so; no section is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.records.record import Record, fingerprint, only_judges

from . import tables
from .controls import Beside
from .html import plain, render
from .story import story

if TYPE_CHECKING:
    from bench.api import Defense
    from bench.pipeline.pipeline import Pipeline

    from .artifacts import Artifacts


def report(
    pipeline: Pipeline, record: Record, beside: Beside, others: Sequence[Defense] = (), count: int = 12
) -> bytes:
    """The page of a finished run whose stages are in the store, UTF-8.

    beside: what it is compared with. others: defenses whose maps are drawn besides those of the run's own. count: how
    many suspicious images.
    """
    from .artifacts import artifacts_of

    return run_page(record, beside, artifacts_of(pipeline, others, count))


def run_page(
    record: Record,
    beside: Beside,
    artifacts: Artifacts | None = None,
    record_file: str = "",
    images_file: str = "",
) -> bytes:
    """The page of a run, UTF-8, from its record, and from what its stages stored where that is at hand.

    record_file, images_file: of a site's page: the names of the record and of the CSV of per_image.py beside it.
    Without artifacts the page shows no images, and its policy allows only its own style.
    """
    outcome, record = fingerprint(record), plain(record)
    beside = Beside(plain(beside.controls), plain(beside.seeds))
    run = record["run"]
    return render(
        "report.html",
        title=title_of(record),
        record=record,
        run=run,
        record_file=record_file,
        images_file=images_file,
        judges=only_judges(record),
        story=story(record, beside, artifacts),
        artifacts=artifacts,
        tables=[tables.rates(record, beside), tables.removal(record)],
        more=tables.localisations(record),
        details=tables.details(record, beside),
        missing_control=not beside.controls and not run.get("control"),
        glossary=tables.glossary(),
        clean_removed=tables.clean_removed(record),
        cost=tables.cost(record),
        provenance=tables.provenance(record, outcome),
        lists=tables.lists(record),
        patches=tables.patches(record.get("facts", {})),
    )


def title_of(record: Record) -> str:
    """What a run is called, on one line."""
    run, name = record["run"], record["dataset"]["name"]
    text: Any = plain(f"{run['defense']} against {run['attack']} on {name}, seed {run['seed']}")
    return str(text)
