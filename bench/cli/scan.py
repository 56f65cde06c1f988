"""`bench scan`: searches a folder of images for a trigger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import common, options

if TYPE_CHECKING:
    from bench.plugins.manager import Plugins
    from bench.scan.scan import Scan


def scan(
    folder: Annotated[Path, typer.Argument(help="Images in any folders below it; no labels are needed.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the report.", show_default="./scan-FOLDER")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(metavar="FILE|NAME", help="A checkpoint, or timm's weights by name.", show_default="train one"),
    ] = None,
    train: Annotated[
        str | None, typer.Option(metavar="PRESET", help="Train an encoder so.", show_default="laptop or cifar10-cpu")
    ] = None,
    defense: Annotated[
        str | None, typer.Option(help="What searches (see `bench list defense`).", show_default="poisoncam")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Seconds, no training: look for patches that recur, by recur alone.")
    ] = False,
    size: Annotated[
        int | None, typer.Option(min=16, help="Width of the images, px.", show_default="the preset's")
    ] = None,
    settings: options.Set = None,
    seed: options.Seed = None,
    fail_on_found: Annotated[
        bool, typer.Option("--fail-on-found", help="Exit code 1 if a trigger (--quick: a patch) is found.")
    ] = False,
    plugin: options.PluginFiles = None,
    store: options.StoreRoot = None,
    devices: options.Devices = 1,
    accelerator: options.Accelerator = "auto",
) -> None:
    """Search your own images for a planted trigger: a page, the files to keep and to remove, and a verdict."""
    from bench.pipeline.stage import Machine
    from bench.plugins.from_file import load_plugins
    from bench.scan.encoders import choose
    from bench.scan.listing import find_files
    from bench.scan.report import check_output, opening
    from bench.scan.scan import Scan

    common.show_log()
    root = folder.expanduser()
    listing = find_files(root)
    target = output or Path(f"scan-{root.resolve().name}")
    check_output(target, root)
    plugins = load_plugins(plugin or ())
    wanted: dict[str, Any] = {"train": train, "encoder": encoder, "defense": defense, "seed": seed, "size": size}
    chosen = choose(plugins, len(listing.names), settings=settings or (), quick=quick, **wanted)
    common.say(f"{len(listing.names):,} files; {opening(chosen)}")
    scan = Scan(listing, chosen, common.open_store(store), Machine(accelerator=accelerator, devices=devices))
    found = _make(scan, plugins, target)
    if found and fail_on_found:
        raise typer.Exit(1)


def _make(scan: Scan, plugins: Plugins, target: Path) -> bool:
    """Make the scan's stages and its report; whether anything was found."""
    from bench.pipeline.events import Terminal
    from bench.scan.forecast import forecast
    from bench.scan.report import summary, write_report
    from bench.scan.result import ScanResult

    with Terminal(common.out) as terminal:
        plugins.add(terminal)
        scan.read(plugins.notify)
        if not scan.quick and not all(scan.made(stage) for stage in (scan.encoder, scan.search)):
            common.say(f"       {forecast(scan)}")
        scan.judge(plugins.notify)
    result = ScanResult(scan, *scan.weighed())
    write_report(result, target)
    for line in ("", *summary(result, target)):
        common.say(line)
    return result.decision.finding.alarms
