"""`bench scan`: searches a folder of images for a trigger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import common, options

if TYPE_CHECKING:
    from bench.plugins.manager import Plugins
    from bench.scan.decide import Finding
    from bench.scan.result import ScanResult
    from bench.scan.scan import Scan


def scan(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|ARCHIVE|LIST|-",
            help="A folder, any depth; a .zip or .tar(.gz); a text file, one path a line; -: standard input.",
        ),
    ],
    output: Annotated[
        Path | None,
        options.written("Folder for the report.", "--output", "-o", default="./scan-NAME"),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(metavar="FILE|NAME", help="A checkpoint, or timm's weights by name.", show_default="train one"),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="R,G,B", help="Mean that --encoder normalises by.", show_default="timm's own; a file: ImageNet's"
        ),
    ] = None,
    std: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="Its standard deviation.", show_default="as --mean")
    ] = None,
    train: Annotated[
        str | None, typer.Option(metavar="PRESET", help="Train an encoder so.", show_default="laptop or cifar10-cpu")
    ] = None,
    defense: Annotated[
        str | None, typer.Option(help="What searches (see `bench list defense`).", show_default="poisoncam")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="The quick look alone: seconds, no training; patches that recur.")
    ] = False,
    size: Annotated[
        int | None, typer.Option(min=16, help="Width of the images, px.", show_default="the preset's")
    ] = None,
    settings: options.Set = None,
    seed: options.Seed = None,
    fail_on_found: Annotated[
        bool, typer.Option("--fail-on-found", help="For scripts: exit code 1 where something is found, 3 if unclear.")
    ] = False,
    plugin: options.PluginFiles = None,
    store: options.StoreRoot = None,
    devices: options.Devices = 1,
    accelerator: options.Accelerator = "auto",
) -> None:
    """Search your own images for a planted trigger: a page, the files to keep and to remove, and a verdict.

    First a quick look for patches that were pasted into many images (seconds); then, unless --quick, an encoder is
    trained on the images and asked what acts on it (minutes). No labels are needed.

    Exit code: 0 when the scan is done, whatever it found; 2 for input that cannot be used. With --fail-on-found: 0
    nothing found, 1 a trigger or a planted patch found, 3 unclear.
    """
    from bench.pipeline.stage import Machine
    from bench.plugins.from_file import load_plugins
    from bench.scan.encoders import choose
    from bench.scan.listing import find
    from bench.scan.report import check_output, opening, usual_output
    from bench.scan.scan import Scan

    common.show_log()
    listing = find(source)
    target = output or usual_output(listing)
    check_output(target, Path(source).expanduser())
    plugins = load_plugins(plugin or ())
    wanted: dict[str, Any] = {"train": train, "encoder": encoder, "defense": defense, "seed": seed, "size": size}
    wanted |= {"mean": mean, "std": std, "quick": quick}
    chosen = choose(plugins, len(listing.names), settings=settings or (), **wanted)
    common.say(opening(listing, chosen))
    scan = Scan(listing, chosen, common.open_store(store), Machine(accelerator=accelerator, devices=devices))
    finding = _make(scan, plugins, target)
    if fail_on_found and not finding.clears:
        raise typer.Exit(1 if finding.alarms else 3)


def _make(scan: Scan, plugins: Plugins, target: Path) -> Finding:
    """Make the scan's stages and its report; what was found. The quick look is reported before the rest begins."""
    from bench.pipeline.events import Terminal
    from bench.scan.forecast import forecast
    from bench.scan.result import ScanResult

    with Terminal(common.out) as terminal:
        plugins.add(terminal)
        scan.read(plugins.notify)
        scan.take_look(plugins.notify)
        if not scan.quick:
            first = scan.alone()
            if not all(scan.made(stage) for stage in (scan.encoder, scan.search)):
                _report(ScanResult(first, *first.weighed(), goes_on=True), target)
                common.say(f"       {forecast(scan)}")
            scan.judge(plugins.notify)
    return _report(ScanResult(scan, *scan.weighed()), target)


def _report(result: ScanResult, target: Path) -> Finding:
    """Write the report and print its summary; what was found."""
    from bench.scan.report import summary, write_report

    write_report(result, target)
    for line in ("", *summary(result, target), *([""] if result.goes_on else [])):
        common.say(line)
    return result.decision.finding
