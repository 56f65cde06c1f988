"""`bench store list`, `check` and `prune`: what finished stages left on disk."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import BenchError, counted, nearest
from bench.store.files import read_json

from . import common, options

if TYPE_CHECKING:
    from bench.store import StoreEntry

app = typer.Typer(no_args_is_help=True, help="List, check or delete what finished stages left on disk.")


@app.command("list")
def store_list(store: options.StoreRoot = None) -> None:
    """Every stage kept, the runs that use it, its size, and when it was last used."""
    kept = common.open_store(store)
    entries, runs = kept.entries(), runs_by_stage((kept.root / "records").glob("*.json"))
    rows = []
    for e in entries:
        used = e.last_used.astimezone().strftime("%Y-%m-%d %H:%M")
        who = in_words(runs[e.key]) if e.key in runs else _own_words(e)
        state = "" if e.finished else "unfinished"
        rows.append((e.stage, e.key[:12], who, size(e.bytes), f"{e.seconds:.0f}", used, state))
    headings = ("stage", "key", "used by", "size", "seconds", "last used", "state")
    common.print_table(headings, rows, right=("size", "seconds", "last used"))
    common.say(f"{counted(len(entries), 'stage')}, {size(sum(e.bytes for e in entries))} in {kept.root}")


@app.command("check")
def store_check(
    drop: Annotated[
        bool, typer.Option("--drop", help="Delete the damaged ones: the next run that needs them makes them again.")
    ] = False,
    store: options.StoreRoot = None,
) -> None:
    """Read every file that is kept and compare it with its checksum: exit code 1 if a stage is damaged. Unfinished
    stages are not looked at."""
    from bench.store.store import UNKNOWN

    kept = common.open_store(store)
    runs, count, unknown, damaged = runs_by_stage((kept.root / "records").glob("*.json")), 0, 0, 0
    for entry, fault in kept.check():
        count, unknown = count + 1, unknown + (fault == UNKNOWN)
        if fault in ("", UNKNOWN):
            continue
        damaged += 1
        who = in_words(runs[entry.key]) if entry.key in runs else _own_words(entry)
        common.say(f"{entry.stage} {entry.key[:12]} ({who}): {fault}{'; deleted' if drop and kept.drop(entry) else ''}")
    older = f"; {unknown} without checksums (from before there were any), of which only the sizes were compared"
    common.say(f"{count} stages, {damaged} damaged{older if unknown else ''}")
    if damaged and not drop:
        raise typer.Exit(1)


@app.command("prune")
def store_prune(
    older_than: Annotated[float | None, typer.Option(min=0, help="Only what was not used for so many days.")] = None,
    max_gib: Annotated[float | None, typer.Option(min=0, help="The least recently used, down to so many GiB.")] = None,
    stage: Annotated[str | None, typer.Option(help="Only this stage (poison, pretrain, import, probe, clean).")] = None,
    run: Annotated[
        Path | None,
        typer.Option(metavar="RECORD", help="Only what no other run of the store uses, and this record in it."),
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Only what unfinished stages left.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; delete nothing.")] = False,
    store: options.StoreRoot = None,
) -> None:
    """Delete stages. What a running command is making is left alone."""
    from bench.pipeline.stage import VERSIONS

    for option, limit in (("--older-than", older_than), ("--max-gib", max_gib)):
        if limit is not None and not math.isfinite(limit):
            raise BenchError(f"{option} {limit}: expected a number")
    kept = common.open_store(store)
    if stage is not None and stage not in VERSIONS and not (kept.root / stage).is_dir():
        raise BenchError(f"--stage {stage}: there is no such stage.{nearest(stage, VERSIONS)}")
    own = None if run is None else _own_stages(run, kept.root / "records")
    freed = kept.prune(
        keys=own,
        older_than=None if older_than is None else older_than * 86_400,
        max_bytes=None if max_gib is None else int(max_gib * 2**30),
        stage=stage,
        partial=partial,
        dry_run=dry_run,
    )
    of_store = run is not None and run.resolve().parent == (kept.root / "records").resolve()
    if run and of_store and not dry_run and not any(entry.key in (own or ()) for entry in kept.entries()):
        run.unlink()  # while one of its own stages is left, the record is what says whose that is
    common.say(f"{'would free' if dry_run else 'freed'} {size(freed)}")


def _own_stages(run: Path, records: Path) -> set[str]:
    """The keys of the stages that a run uses and no other record in the folder names. Raises BenchError."""
    from bench.records import record

    own = {stage["key"] for stage in record.load(run)["stages"].values()}
    others = [file for file in records.glob("*.json") if file.resolve() != run.resolve()]
    return own - runs_by_stage(others).keys()


Run = tuple[str, str, str, str]
"""Attack, defense, preset and seed of a run."""


def runs_by_stage(records: Iterable[Path]) -> dict[str, list[Run]]:
    """The runs of these records, by the key of each of their stages."""
    found: dict[str, list[Run]] = {}
    for file in sorted(records):
        try:
            record = read_json(file)
            run, stages = record["run"], record["stages"]
            named = (run["attack"], run["defense"], run["preset"], str(run["seed"]))
            keys = {stage["key"] for stage in stages.values()}
        except (BenchError, KeyError, TypeError, AttributeError):  # no record: `bench leaderboard` says why
            continue
        for key in keys:
            found.setdefault(key, []).append(named)
    return found


def in_words(runs: Sequence[Run]) -> str:
    """'htba, poisoncam, laptop, seed 0'; of several runs 'htba, none poisoncam and 3 more, laptop, seeds 0 1'."""
    attacks, defenses, presets, seeds = (list(dict.fromkeys(values)) for values in zip(*runs, strict=True))
    seeds.sort(key=lambda seed: (len(seed), seed))
    parts = [_some(attacks), _some(defenses), _some(presets), f"seed{'s' * (len(seeds) > 1)} {_some(seeds, 5)}"]
    return ", ".join(parts)


def _some(names: Sequence[str], most: int = 2) -> str:
    left = len(names) - most
    return " ".join(names[:most]) + (f" and {left} more" if left > 0 else "")


def _own_words(entry: StoreEntry) -> str:
    """Of a stage that no record names: what it says of itself."""
    try:
        config = read_json(entry.path / "meta.json")["config"]
        parts = [config[kind]["name"] for kind in ("attack", "defense", "control", "ssl") if kind in config]
        return ", ".join([*parts, *([f"seed {config['seed']}"] if "seed" in config else []), "no record"])
    except (BenchError, KeyError, TypeError):
        return "no record"


def size(count: float) -> str:
    """Bytes in the unit that reads best: '2 KiB'."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
