"""What a scan writes into its folder: the page, report.json and the lists."""

from __future__ import annotations

import json
import os
from itertools import count
from pathlib import Path
from typing import Any

from bench.errors import BenchError, counted
from bench.estimate.estimate import duration
from bench.report.html import data_uri, heated, render
from bench.store import check_can_write, write_bytes, write_json

from .decide import Comparison, decide_quick
from .encoders import QUICK, USUAL, Chosen, Origin
from .evidence import TOP
from .listing import Listing
from .lists import shortened, tally, write_list
from .picture import framed
from .result import ListLine, ScanResult
from .twins import groups_of

PAGE = "report.html"
SHOWN, GROUPS = 100, 10
"""Paths of removed or unreadable files and groups of duplicates, and groups of near-duplicates, that the page shows;
the lists name all."""


def usual_output(listing: Listing) -> Path:
    """Where the report of a scan lies if its user names no folder: scan-NAME here, with a number behind it where the
    report of something else of that name is there."""
    own = {None, os.path.realpath(listing.source)}
    folders = (Path(f"scan-{listing.title}{f'-{number}' if number > 1 else ''}") for number in count(1))
    return next(folder for folder in folders if _source_of(folder) in own)


def _source_of(folder: Path) -> str | None:
    """The real path of what the report in `folder` is of; None where there is none."""
    try:
        return os.path.realpath(str(json.loads((folder / "report.json").read_bytes())["folder"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_output(folder: Path, scanned: Path) -> None:
    """Raise BenchError where the report could not be written, or is the folder that is scanned."""
    if folder.resolve() == scanned.resolve():
        raise BenchError(f"--output {folder} is the folder that is scanned; expected another")
    check_can_write(folder / PAGE)


def write_report(result: ScanResult, folder: Path) -> None:
    """All files; the page last, so that where it is, the others are."""
    for name, title, rows in lists(result):
        write_list(folder / name, title, rows)
    write_json(folder / "report.json", result.facts())
    write_bytes(folder / PAGE, page(result))


def lists(result: ScanResult) -> list[tuple[str, str, list[ListLine]]]:
    """The lists: file name, first line, rows."""
    kept, removed = result.rows
    verdict = f'of {counted(len(kept) + len(removed), "file")}, verdict "{result.decision.finding}"'
    scores = "columns, by tabs: path, score, trigger score, number of the patch in report.html that it bears"
    twins: list[ListLine] = [(path, str(number)) for number, group in enumerate(result.twins, 1) for path in group]
    return [
        ("kept.txt", f"To keep: {len(kept):,} {verdict}; `bench scan` reads this list too; {scores}", kept),
        ("removed.txt", f"To leave out: {len(removed):,} {verdict}; look at report.html first; {scores}", removed),
        ("unreadable.txt", "Files that cannot be read; columns, by tabs: path, why", result.unreadable()),
        ("duplicates.txt", "Files with the same content; columns, by tabs: path, SHA-256", result.duplicate_rows()),
        (
            "near-duplicates.txt",
            "Nearly the same picture, all kept; columns, by tabs: path, number of the group",
            twins,
        ),
    ]


def page(result: ScanResult) -> bytes:
    """report.html: no script, nothing from a network."""
    search, finding = result.scan.verdict.facts, result.decision.finding
    return render(
        "scan.html",
        facts=result.facts(),
        finding="bad" if finding.alarms else "good" if finding.clears else "open",
        quick=result.scan.quick,
        goes_on=result.goes_on,
        looked=None if result.scan.quick else decide_quick(len(result.scan.patches)),
        patches=result.patches,
        many=TOP,
        imagenet=result.scan.chosen.normalisation == USUAL,
        steps=result.decision.steps,
        suspects=_pictured(result),
        flip_set=search.get("flip_set"),
        removed=result.rows[1][:SHOWN],
        unreadable=result.unreadable()[:SHOWN],
        duplicates=result.duplicates()[:SHOWN],
        twins=_examples(result),
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


def _examples(result: ScanResult) -> list[dict[str, Any]]:
    """The first groups of near-duplicates: "pictures" of up to five, "paths" of all."""
    found = []
    for group, paths in zip(groups_of(result.scan.picture)[:GROUPS], result.twins[:GROUPS], strict=True):
        pixels = result.scan.images.batch(group[:5]).permute(0, 2, 3, 1).numpy()
        found.append({"pictures": [data_uri(framed(image, None)) for image in pixels], "paths": paths[:SHOWN]})
    return found


def summary(result: ScanResult, folder: Path) -> list[str]:
    """The scan in a few lines, plain text."""
    counts, decision = result.counts(), result.decision
    measures = [f"  {measured(step)}" for step in decision.steps]
    for number, patch in enumerate(result.patches, 1):
        pulls = (
            "" if patch["pull"] is None else f"; pull {patch['pull']:.2f} (random patches {patch['usual_pull']:.2f})"
        )
        measures.append(
            f"  patch {number}: {patch['size']} in {patch['images']:,} of {counted(counts['images'], 'image')}{pulls}"
        )
    if counts["near_duplicate_groups"]:
        measures.append(
            f"  near-duplicates: {counts['near_duplicate_images']:,} images are nearly the same picture, in "
            f"{counted(counts['near_duplicate_groups'], 'group')}; no sign of a trigger"
        )
    measures += [f"  unreadable: {line}" for line in shortened(result.unreadable())]
    files = (
        f"{tally(counts['files'], counts['unreadable'], counts['images'])}; {counted(counts['kept'], 'file')} kept, "
        f"{counts['removed']:,} removed."
    )
    verdict = f"{'Quick look' if result.goes_on else 'Verdict'}: {decision.finding}. {decision.because}"
    return [verdict, *measures, files, f"Report: {folder / PAGE}"]


def measured(step: Comparison) -> str:
    """A measure in words."""
    if step.name == "alike":
        what, digits = f"{step.value} of the {TOP} most suspicious images look alike there", 0
    elif step.name == "gap":
        what, digits = f"between the images that hold it and all others there is a gap of {step.value:.2f}", 2
    else:
        what, digits = f"pasted on others it pulls these together by {step.value:.2f}", 2
    return f"{what} (random windows: {step.usual:.{digits}f}; a trigger: {step.limits.high:.{digits}f} or more)"


def opening(listing: Listing, chosen: Chosen) -> str:
    """The line that a scan begins with."""
    files = counted(listing.tried, "file")
    if listing.again:
        files = f"{files} ({counted(listing.again, 'link')} to some of them left out, so that each counts once)"
    how = f"a quick look ({QUICK}, no encoder)"
    if chosen.origin is not Origin.NONE:
        how = f"a quick look, then {chosen.defense.name}, encoder {chosen.encoder_words}"
    return f"{files}; {how}; each image is judged at {chosen.size} x {chosen.size} px"
