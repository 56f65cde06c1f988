"""What `bench report` does: everything that it prints and writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.store import check_can_write, write_bytes

from .commands import lookers, out, reopened


def report_command(
    run: Path, store: Path | None, output: Path | None, maps: Sequence[str], count: int, files: Sequence[Path] = ()
) -> None:
    """`bench report`."""
    from bench.records import record as records
    from bench.report import report
    from bench.report.controls import beside

    output = output or run.with_suffix(".html")
    check_can_write(output)
    pipeline, plugins = reopened(run, store, files)
    found = records.load(run)
    others = beside(found, [run.parent, pipeline.store.root / "records"])
    chooser = pipeline.config.defense.filter
    looking = lookers(pipeline, plugins, [name for name in maps if name != chooser.name])
    write_bytes(output, report(pipeline, found, others, looking, count))
    out.print(f"Report: {output}", highlight=False, soft_wrap=True, markup=False)
