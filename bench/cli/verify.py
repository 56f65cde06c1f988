"""`bench verify`: whether the numbers of submissions follow from what they contain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.errors import BenchError, counted

from . import options
from .common import say


def verify(
    files: Annotated[list[Path], typer.Argument(help="Files that `bench submit` made.")],
    into: Annotated[
        Path | None,
        options.written("Keep the records of those that agree in this folder, as submitted."),
    ] = None,
) -> None:
    """Compute every metric of a submission again, and refuse what does not agree. Nothing in it is executed."""
    from bench.records import record as records, verify
    from bench.store import check_can_write

    if into is not None:
        check_can_write(into / "record.json")
    for file in files:
        record = verify.verified(file)
        found = verify.numbers({name: record[name] for name in ("poison", "metrics")})
        say(f"{file}: {counted(found, 'number')} computed again, all agree.")
        if into is not None:
            kept = into / record_name(record)
            if kept.exists():
                raise BenchError(f"{kept} is there already; a record is never written over")
            records.save(kept, record)
            say(f"Record: {kept}")
    say("Not checked: times, hardware, versions, and whether the predictions come from that training.")


def record_name(record: Mapping[str, Any]) -> str:
    """A file name for a record sent in: whatever its texts say, one plain name."""
    from bench.records.record import plain_title

    return f"submitted-{plain_title(record)}-{record['submission']['sha256'][:10]}.json"
