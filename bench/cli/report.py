"""`bench report`: one page, or one picture, of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from . import common, options

PICTURES = (".png", ".svg", ".pdf")


def report(
    run: options.RunInStore,
    maps: Annotated[
        list[str] | None,
        typer.Option(help="Whose maps to draw.", show_default="the run's defense; in a picture every one that locates"),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=50, help="How many suspicious images.")] = 12,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="HTML file; or .png, .svg, .pdf: only the picture of the most suspicious images.",
            show_default="an HTML file beside the record",
        ),
    ] = None,
    plugin: options.PluginFiles = None,
    store: options.StoreRoot = None,
) -> None:
    """One HTML page of a run: story, numbers, suspects, what was removed, clusters, curves, cost.

    Or a picture of the most suspicious images alone: attention maps, windows found, true triggers.
    """

    from bench.store import check_can_write

    output = output or run.with_suffix(".html")
    check_can_write(output)
    write = _picture if output.suffix in PICTURES else _page
    write(run, output, maps or (), count, plugin or (), store)


def _page(run: Path, output: Path, maps: Sequence[str], count: int, files: Sequence[Path], store: Path | None) -> None:
    from bench.records import record as records
    from bench.report.controls import beside
    from bench.report.page import report as page
    from bench.store import write_bytes

    pipeline, plugins = common.reopened(run, store, files)
    found = records.load(run)
    others = beside(found, [run.parent, pipeline.store.root / "records"])
    own = pipeline.config.defense.filter
    defenses = common.lookers(pipeline, plugins, [name for name in maps if name != own.name])
    write_bytes(output, page(pipeline, found, others, defenses, count))
    common.say(f"Report: {output}")


def _picture(
    run: Path, output: Path, maps: Sequence[str], count: int, files: Sequence[Path], store: Path | None
) -> None:
    from bench.api import Defense
    from bench.report.attention import gallery

    pipeline, plugins = common.reopened(run, store, files)
    names = maps or [each.name for each in plugins.entries("defense") if issubclass(each.cls, Defense)]
    figure = gallery(pipeline, common.lookers(pipeline, plugins, names), count)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, metadata={"Software": None} if output.suffix == ".png" else None)
    common.say(f"Picture: {output}")
