"""`bench report`: one page, or one picture, of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import BenchError

from . import common, options

if TYPE_CHECKING:
    from bench.api import Defense
    from bench.pipeline.pipeline import Pipeline

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
        options.written(
            "HTML file; or .png, .svg, .pdf: only the picture of the most suspicious images.",
            "--output",
            "-o",
            default="an HTML file beside the record",
        ),
    ] = None,
    plugin: options.PluginFiles = None,
    store: options.StoreRoot = None,
) -> None:
    """Write an HTML page of a run: story, numbers, suspects, what was removed, clusters, curves, cost.

    Or a picture of the most suspicious images alone: attention maps, windows found, true triggers.
    """
    from bench.records import record as records
    from bench.session.opening import locating, lookers, reopened
    from bench.store import check_can_write, write_bytes

    found = records.load(run)
    output = output or run.with_suffix(".html")
    kind = output.suffix.lower()
    if kind not in (*PICTURES, ".html", ".htm"):
        raise BenchError(f"--output {output}: expected a name that ends in .html, {', '.join(PICTURES)}")
    check_can_write(output)
    pipeline, plugins = reopened(run, store, plugin or ())
    if kind in PICTURES:
        _save_picture(output, pipeline, lookers(pipeline, plugins, maps or locating(plugins)), count)
        common.say(f"Picture: {output}")
        return
    from bench.report.controls import beside
    from bench.report.page import report as page

    own = pipeline.config.defense.filter
    others = beside(found, [run.parent, pipeline.store.root / "records"])
    defenses = lookers(pipeline, plugins, [name for name in maps or () if name != own.name])
    write_bytes(output, page(pipeline, found, others, defenses, count))
    common.say(f"Report: {output}")


def _save_picture(output: Path, pipeline: Pipeline, defenses: Sequence[Defense], count: int) -> None:
    from bench.report.attention import gallery
    from bench.store import write_bytes

    figure = gallery(pipeline, defenses, count)
    data = BytesIO()  # written whole or not at all: a full disk takes no older picture away
    figure.savefig(data, format=output.suffix[1:], metadata={"Software": None} if output.suffix == ".png" else None)
    write_bytes(output, data.getvalue())
