"""What a scan writes into its folder: the page, report.json and the lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.estimate.estimate import duration
from bench.report.html import data_uri, heated, render
from bench.store import check_can_write, write_bytes, write_json

from .decide import Finding
from .encoders import Chosen
from .lists import write_list
from .picture import enlarged, framed
from .result import Result

PAGE = "report.html"
SHOWN = 100
"""Paths of removed or unreadable files, and groups of duplicates, that the page names; the lists name all."""


def check_output(folder: Path, scanned: Path) -> None:
    """Raise BenchError where the report could not be written, or would lie among the images."""
    if folder.resolve() == scanned.resolve():
        raise BenchError(f"--output {folder} is the folder that is scanned; expected another")
    check_can_write(folder / PAGE)


def write_report(result: Result, folder: Path) -> None:
    """All files; the page last, so that where it is, the others are."""
    kept, removed = result.rows
    write_list(folder / "kept.txt", kept)
    write_list(folder / "removed.txt", removed)
    write_list(folder / "unreadable.txt", result.unreadable())
    write_list(folder / "duplicates.txt", result.duplicate_rows())
    write_json(folder / "report.json", result.facts())
    write_bytes(folder / PAGE, page(result))


def page(result: Result) -> bytes:
    """report.html: no script, nothing from a network."""
    return render(
        "scan.html",
        facts=result.facts(),
        finding={Finding.FOUND: "bad", Finding.UNCLEAR: "open", Finding.NONE: "good"}[result.decision.finding],
        steps=result.decision.steps,
        meaning=MEANING,
        suspects=_pictured(result),
        flip_set=result.flip_set,
        removed=result.rows[1][:SHOWN],
        unreadable=result.unreadable()[:SHOWN],
        duplicates=result.duplicates()[:SHOWN],
        limits=limits(result),
        took={title: duration(seconds) for title, seconds in result.scan.seconds().items()},
    )


MEANING = {
    "likeness": "The windows show the same pixels (1: the very same)",
    "agreement": "Pasted elsewhere, they move images the same way (1: exactly)",
    "pull": "Pasted elsewhere, they make images look alike to the encoder (1: wholly)",
}


def _pictured(result: Result) -> list[dict[str, Any]]:
    found, size = result.suspects(), result.scan.images.size
    pixels = result.scan.images.batch(result.evidence.suspects).permute(0, 2, 3, 1).numpy()
    for number, suspect in enumerate(found):
        image = pixels[number]
        suspect["picture"] = data_uri(framed(enlarged(image), suspect["box"], size))
        suspect["heat"] = None
        if result.maps is not None:
            suspect["heat"] = data_uri(framed(enlarged(heated(image, result.maps[number])), suspect["box"], size))
    return found


def limits(result: Result) -> list[str]:
    """What this scan could not have seen, in sentences."""
    chosen, count = result.scan.chosen, len(result.scan.images)
    window = result.scan.verdict.facts.get("window")
    found = []
    if isinstance(window, int):
        found.append(
            f"Images were judged at {chosen.size} x {chosen.size} px (their middle square), and triggers sought in "
            f"windows of {window} px. A trigger that is much smaller, covers the whole image, or lies outside that "
            "square, is missed."
        )
    found.append(
        "Only patches at one place are sought. A trigger spread over the whole image (a pattern in its frequencies, "
        "say) is not."
    )
    if chosen.origin == "trained":
        found.append(
            "The search sees what the encoder has learnt. A backdoor that a short training does not take up can be "
            "missed here and still work on a model that is trained for longer."
        )
    else:
        found.append(
            "The encoder was not trained on these images. It can show a trigger only if it was itself trained on "
            "images that bear it, and the limits above were set on encoders trained here."
        )
    found.append(
        "A logo or watermark that many images share looks like a trigger to this search. Look at the pictures."
    )
    if count < 1000:
        found.append(f"{count} images are few: the limits above were set on thousands.")
    return found


def summary(result: Result, folder: Path) -> list[str]:
    """The scan in a few lines, plain text."""
    counts, decision = result.counts(), result.decision
    lines = [f"Verdict: {decision.finding}. {decision.because}"]
    lines += [
        f"  {step.name} {step.value:.2f} (of any window {step.usual:.2f}; a trigger has {step.limits.high:.2f} or more)"
        for step in decision.steps
    ]
    lines.append(
        f"{counts['files']:,} files: {counts['kept']:,} kept, {counts['removed']:,} removed, "
        f"{counts['unreadable']:,} unreadable; {counts['images']:,} different images."
    )
    return [*lines, f"Report: {folder / PAGE}"]


def eyes(chosen: Chosen) -> str:
    """The line that a scan begins with."""
    return f"{chosen.defense.name} at {chosen.size} px, encoder {chosen.eyes}"
