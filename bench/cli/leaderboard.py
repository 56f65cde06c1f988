"""What `bench leaderboard`, `bench submit` and `bench verify` do: everything that they print and write."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.leaderboard.marks import filled_in, has_place, page_at
from bench.store.store import Store, check_can_write, write_bytes

from .commands import again, log_out, open_store, out

if TYPE_CHECKING:
    from bench.records.inputs import Evidence

SITE = "html"
"""The format that is a folder of pages; leaderboard.FORMATS has those of one file."""
_ARTIFACTS = {
    "poison": ("poison",),
    "threat_probe": ("probe",),
    "defense": ("clean", "control"),
    "defended_probe": ("probe",),
}
"""Stage in a record -> the store's names for it."""


def submit_command(run: Path, store: Path | None, output: Path | None) -> None:
    """`bench submit`."""
    from bench.records import record as records, submission, verify

    output = output or run.with_suffix(".zip")
    check_can_write(output)
    found = records.load(run)
    evidence = _evidence(run, found, open_store(store))
    data = submission.to_bytes(found, evidence)
    faults = verify.faults(found, evidence)
    if faults:
        raise BenchError(f"{run} does not say what its stages give:\n  " + "\n  ".join(faults[:5]))
    write_bytes(output, data)
    out.print(f"Submission: {output}", highlight=False, soft_wrap=True, markup=False)


def _evidence(run: Path, found: Mapping[str, Any], store: Store) -> Evidence:
    """What the stages named in a record left, with the labels of its dataset. Raises BenchError."""
    from bench.data.manifest import Manifest
    from bench.pipeline.stages import read_verdict
    from bench.plugins.manager import Plugins
    from bench.records.inputs import gather

    asked, named = found["run"].get("asked"), found["metrics"]["none"].get("per_trigger", [])
    if not asked:
        raise BenchError(f"{run} does not say how its run was asked for (an older version made it): run it again")
    folders = {name: _folder(run, store, name, found["stages"].get(name)) for name in _ARTIFACTS}
    dataset = again(asked, Plugins.load(), asked["choices"]).dataset.load()
    if dataset.fingerprint != found["dataset"]["fingerprint"]:
        raise BenchError(f"{run}: the dataset {dataset.name!r} has changed since: its fingerprint is another")
    manifest, verdict = Manifest.load(folders["poison"] / "train.jsonl"), read_verdict(folders["defense"])
    targets = tuple(each["target"] for each in named)
    return gather(dataset, targets, manifest, verdict, (folders["threat_probe"], folders["defended_probe"]))


def _folder(run: Path, store: Store, name: str, stage: Mapping[str, Any] | None) -> Path:
    if stage is not None:
        for kind in _ARTIFACTS[name]:
            folder = store.find(kind, stage["key"])
            if folder is not None:
                return folder
    raise BenchError(f"{run}: its stage {name!r} is not in the store {store.root}; name the --store it was made in")


def verify_command(files: list[Path], into: Path | None) -> None:
    """`bench verify`."""
    from bench.records import record as records, verify

    for file in files:
        record = verify.verified(file)
        counted = verify.numbers({name: record[name] for name in ("poison", "metrics")})
        out.print(
            f"{file}: {counted} numbers computed again, all agree.", markup=False, highlight=False, soft_wrap=True
        )
        if into is not None:
            kept = into / record_name(record)
            if kept.exists():
                raise BenchError(f"{kept} is there already; a record is never written over")
            records.save(kept, record)
            out.print(f"Record: {kept}", markup=False, highlight=False, soft_wrap=True)
    out.print(
        "Not checked: times, hardware, versions, and whether the predictions come from that training.", soft_wrap=True
    )


def record_name(record: Mapping[str, Any]) -> str:
    """A file name for a record sent in: whatever its texts say, one plain name."""
    from bench.records.record import plain_title

    return f"submitted-{plain_title(record)}-{record['submission']['sha256'][:10]}.json"


def leaderboard_command(
    paths: list[Path], output: Path | None, store: Path | None, form: str, check: bool, only: str = ""
) -> bool:
    """`bench leaderboard`. With `check` nothing is written; False where the file is not what would be written.

    only: part of the titles of the tables wanted. Of a page that has a place for a leaderboard (see marks.py) all else
    is kept.
    """
    from bench import leaderboard

    render = None if form == SITE else leaderboard.renderer(form, also=[SITE])
    if check and output is None:
        raise BenchError("--check compares a file with its records: name it with --output FILE")
    files = files_in(paths or [open_store(store).root / "records"])
    if not files:
        raise BenchError("there is no record yet. `bench run` makes one; or name record files or folders.")
    if render is None and only:
        raise BenchError("--only chooses tables of one file; a site has them all")
    if render is None:
        return _site(files, output, check)
    every = leaderboard.read(files, output.parent if output else None)
    wanted = [table for table in every if only in table.title]
    if not wanted:
        titles = ", ".join(repr(table.title) for table in every)
        raise BenchError(f"no table has {only!r} in its title; there are {titles}")
    text = render(wanted)
    if output is None:
        sys.stdout.write(text)
        return True
    text = _around(output, text, check) if form == "markdown" else text
    if check:
        return _fresh(output, text)
    write_bytes(output, text.encode())
    out.print(f"{len(files)} records -> {output}", highlight=False, soft_wrap=True, markup=False)
    return True


def _around(output: Path, text: str, check: bool) -> str:
    """The page there with the text in its place; the text itself if there is no page yet, or an older leaderboard.
    Raises BenchError for any other page."""
    from bench.leaderboard.markdown import LEGEND

    page = page_at(output)
    if page is None and output.is_file() and not check:
        raise BenchError(f"{output} cannot be read as UTF-8 text, so it is not written over: remove it, or mend it")
    if page is not None and has_place(page, "leaderboard"):
        return filled_in(page, "leaderboard", text)
    if not check and page and page.strip() and LEGEND not in page:
        begin, end = (f"<!-- leaderboard: {which} -->" for which in ("begin", "end"))
        raise BenchError(
            f"{output} is a page of somebody's, so it is not written over: put the lines {begin} and {end} where "
            "the tables belong, or name another file"
        )
    return text


def _site(files: list[Path], folder: Path | None, check: bool) -> bool:
    """The format html: a folder of pages."""
    from bench.leaderboard import site

    if folder is None:
        raise BenchError("--format html writes a folder of pages: name it with --output FOLDER")
    pages = site.site(files)
    if check:
        found = site.faults(folder, pages)
        for fault in [*found[:5], *([f"and {len(found) - 5} more"] if len(found) > 5 else [])]:
            log_out.print(f"bench: {folder}: {fault}", markup=False, highlight=False, soft_wrap=True)
        return not found
    site.write(folder, pages)
    out.print(f"{len(files)} records -> {folder / 'index.html'}", highlight=False, soft_wrap=True, markup=False)
    return True


def _fresh(output: Path, text: str) -> bool:
    """Whether the file holds `text`, whichever way its lines end; else says so."""
    if page_at(output) == text:
        return True
    what = "is stale" if output.is_file() else "is not there"
    line = f"{output} {what}: the same command without --check writes it"
    log_out.print(f"bench: {line}", markup=False, highlight=False, soft_wrap=True)
    return False


def files_in(paths: list[Path]) -> list[Path]:
    """The files named, and those of the folders named: records (.json) and reported numbers (.csv)."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted([*path.glob("*.json"), *path.glob("*.csv")])
        elif path.is_file():
            found.append(path)
        elif path.name != "records":
            raise BenchError(f"no record file or folder {str(path)!r}")
    return found
