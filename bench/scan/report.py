"""What a scan writes into its folder: the page, report.json and the lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.estimate.estimate import duration
from bench.report.html import data_uri, heated, render
from bench.store import check_can_write, write_bytes, write_json

from .encoders import Chosen, Origin
from .lists import write_list
from .picture import framed
from .result import ScanResult

PAGE = "report.html"
SHOWN = 100
"""Paths of removed or unreadable files, and groups of duplicates, that the page names; the lists name all."""


def check_output(folder: Path, scanned: Path) -> None:
    """Raise BenchError where the report could not be written, or would lie among the images."""
    if folder.resolve() == scanned.resolve():
        raise BenchError(f"--output {folder} is the folder that is scanned; expected another")
    check_can_write(folder / PAGE)


def write_report(result: ScanResult, folder: Path) -> None:
    """All files; the page last, so that where it is, the others are."""
    kept, removed = result.rows
    write_list(folder / "kept.txt", kept)
    write_list(folder / "removed.txt", removed)
    write_list(folder / "unreadable.txt", result.unreadable())
    write_list(folder / "duplicates.txt", result.duplicate_rows())
    write_json(folder / "report.json", result.facts())
    write_bytes(folder / PAGE, page(result))


def page(result: ScanResult) -> bytes:
    """report.html: no script, nothing from a network."""
    search, finding = result.scan.verdict.facts, result.decision.finding
    return render(
        "scan.html",
        facts=result.facts(),
        finding="bad" if finding.alarms else "good" if finding.clears else "open",
        quick=result.scan.quick,
        patches=result.patches,
        steps=result.decision.steps,
        suspects=_pictured(result),
        flip_set=search.get("flip_set"),
        removed=result.rows[1][:SHOWN],
        unreadable=result.unreadable()[:SHOWN],
        duplicates=result.duplicates()[:SHOWN],
        window=search.get("window"),
        trained=result.scan.chosen.origin is Origin.TRAINED,
        took={title: duration(seconds) for title, seconds in result.scan.seconds().items()},
    )


def _pictured(result: ScanResult) -> list[dict[str, Any]]:
    """The suspects with their pictures, and where the defense looked on them."""
    found = result.suspects()
    pixels = result.scan.images.batch(result.evidence.suspects).permute(0, 2, 3, 1).numpy()
    for number, (suspect, image) in enumerate(zip(found, pixels, strict=True)):
        suspect["picture"] = data_uri(framed(image, suspect["box"]))
        heat = None if result.maps is None else framed(heated(image, result.maps[number]), suspect["box"])
        suspect["heat"] = None if heat is None else data_uri(heat)
    return found


def summary(result: ScanResult, folder: Path) -> list[str]:
    """The scan in a few lines, plain text."""
    counts, decision = result.counts(), result.decision
    measures = [
        f"  {step.name} {step.value:.2f} (of any window {step.usual:.2f}; a trigger has {step.limits.high:.2f} or more)"
        for step in decision.steps
    ]
    measures += [f"  {patch['size']} in {patch['images']:,} of {counts['images']:,} images" for patch in result.patches]
    files = (
        f"{counts['files']:,} files: {counts['kept']:,} kept, {counts['removed']:,} removed, "
        f"{counts['unreadable']:,} unreadable; {counts['images']:,} different images."
    )
    verdict = f"Verdict: {decision.finding}. {decision.because}"
    return [verdict, *measures, files, f"Report: {folder / PAGE}"]


def opening(chosen: Chosen) -> str:
    """The line that a scan begins with."""
    encoder = "no encoder" if chosen.origin is Origin.NONE else f"encoder {chosen.encoder_words}"
    return f"{chosen.defense.name} at {chosen.size} px, {encoder}"
