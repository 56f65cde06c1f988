"""`bench scan`: what it prints, and in which order things happen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import common, options

if TYPE_CHECKING:
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
    defense: Annotated[str, typer.Option(help="What searches (see `bench list defense`).")] = "poisoncam",
    size: Annotated[
        int | None, typer.Option(min=16, help="Width of the images, px.", show_default="the preset's")
    ] = None,
    settings: options.Set = None,
    seed: options.Seed = None,
    fail_on_found: Annotated[bool, typer.Option("--fail-on-found", help="Exit code 1 if a trigger is found.")] = False,
    plugin: options.PluginFiles = None,
    store: options.StoreRoot = None,
    devices: options.Devices = 1,
    accelerator: options.Accelerator = "auto",
) -> None:
    """Search your own images for a planted trigger: a page, the files to keep and to remove, and a verdict."""
    found = scan_command(
        folder,
        output=output,
        encoder=encoder,
        train=train,
        defense=defense,
        size=size,
        settings=settings or (),
        seed=seed,
        files=plugin or (),
        store=store,
        devices=devices,
        accelerator=accelerator,
    )
    if found and fail_on_found:
        raise typer.Exit(1)


def scan_command(
    folder: Path,
    *,
    output: Path | None,
    encoder: str | None,
    train: str | None,
    defense: str,
    size: int | None,
    settings: Sequence[str],
    seed: int | None,
    files: Sequence[Path],
    store: Path | None,
    devices: int,
    accelerator: str,
) -> bool:
    """Scan `folder`, write the report, print the verdict; whether a trigger was found."""
    from bench.pipeline.events import Terminal
    from bench.pipeline.stage import Machine
    from bench.plugins.from_file import load_plugins
    from bench.scan.decide import Finding
    from bench.scan.encoders import choose
    from bench.scan.listing import find_files
    from bench.scan.report import check_output, eyes, summary, write_report
    from bench.scan.result import Result
    from bench.scan.scan import Scan

    common.show_log()
    root = folder.expanduser()
    listing = find_files(root)
    target = output or Path(f"scan-{root.resolve().name}")
    check_output(target, root)
    plugins = load_plugins(files)
    chosen = choose(
        plugins,
        len(listing.names),
        train=train,
        encoder=encoder,
        defense=defense,
        settings=settings,
        seed=seed,
        size=size,
    )
    common.say(f"{len(listing.names):,} files; {eyes(chosen)}")
    scan = Scan(listing, chosen, common.open_store(store), Machine(accelerator=accelerator, devices=devices))
    with Terminal(common.out) as terminal:
        plugins.add(terminal)
        scan.read(plugins.notify)
        _say_estimate(scan)
        scan.judge(plugins.notify)
    result = Result(scan)
    write_report(result, target)
    for line in ("", *summary(result, target)):
        common.say(line)
    return result.decision.finding is Finding.FOUND


def _say_estimate(scan: Scan) -> None:
    from bench.scan.forecast import forecast

    if not all(scan.made(stage) for stage in (scan.encoder, scan.search)):
        common.say(f"       {forecast(scan)}")
