"""`bench submit`: a finished run as one file that others can verify."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.errors import BenchError

from . import common, options

if TYPE_CHECKING:
    from bench.plugins.manager import Plugins
    from bench.records.inputs import Evidence
    from bench.store import Store

NEEDED = ("poison", "threat_probe", "defense", "defended_probe")
"""The stages in a record from which its metrics follow; the last one has none of a run until detection."""
KINDS = ("poison", "probe", "clean", "control")
"""What the store calls them; a control is a defense too."""


def submit(
    record: Annotated[Path, typer.Argument(help="The record of a run whose stages are still in the store.")],
    output: Annotated[
        Path | None,
        options.written("The file to write.", "--output", "-o", default="beside the record"),
    ] = None,
    plugin: options.PluginFiles = None,
    store: options.StoreRoot = None,
) -> None:
    """Pack a record, and all that its metrics can be computed from again, into one file to send in."""
    from bench.plugins.from_file import load_plugins
    from bench.records import record as records, submission, verify
    from bench.store import check_can_write, write_bytes

    found = records.load(record)
    output = output or record.with_suffix(".zip")
    check_can_write(output)
    submission.refuse_judges(found)
    evidence = _evidence(record, found, load_plugins(plugin or ()), common.open_store(store))
    data = submission.to_bytes(found, evidence)
    faults = verify.faults(found, evidence)
    if faults:
        raise BenchError(f"{record} does not say what its stages give:\n  " + "\n  ".join(faults[:5]))
    write_bytes(output, data)
    common.say(f"Submission: {output}")


def _evidence(run: Path, found: Mapping[str, Any], plugins: Plugins, store: Store) -> Evidence:
    """What the stages named in a record left, with the labels of its dataset. Raises BenchError."""
    from bench.data.manifest import Manifest
    from bench.isolation.verdict import read_verdict
    from bench.records.inputs import gather
    from bench.records.record import whole
    from bench.session.opening import again, asked_for

    asked, named = asked_for(run, found), found["metrics"]["none"].get("per_trigger", [])
    needed = NEEDED if whole(found) else NEEDED[:-1]
    folders = {name: _folder(run, store, name, found["stages"].get(name) or {}) for name in needed}
    dataset = again(asked, plugins, asked["choices"]).dataset.load()
    if dataset.fingerprint != found["dataset"]["fingerprint"]:
        raise BenchError(f"{run}: the dataset {dataset.name!r} has changed since: its fingerprint is another")
    manifest, verdict = Manifest.load(folders["poison"] / "train.jsonl"), read_verdict(folders["defense"])
    targets = tuple(each["target"] for each in named)
    return gather(dataset, targets, manifest, verdict, (folders["threat_probe"], folders.get("defended_probe")))


def _folder(run: Path, store: Store, name: str, stage: Mapping[str, Any]) -> Path:
    for kind in KINDS if stage else ():
        if folder := store.find(kind, stage["key"]):
            return folder
    raise BenchError(f"{run}: its stage {name!r} is not in the store {store.root}; name the --store it was made in")
