"""`bench scan`: what it prints, and in which order things happen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.cli.commands import open_store, out, show_log
from bench.pipeline.events import Terminal
from bench.pipeline.stage import Machine
from bench.plugins.from_file import load_plugins
from bench.scan.decide import Finding
from bench.scan.encoders import choose
from bench.scan.listing import find_files
from bench.scan.report import check_output, eyes, summary, write_report
from bench.scan.result import Result
from bench.scan.scan import Scan


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
    show_log()
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
    _say(f"{len(listing.names):,} files; {eyes(chosen)}")
    scan = Scan(listing, chosen, open_store(store), Machine(accelerator=accelerator, devices=devices))
    with Terminal(out) as terminal:
        plugins.add(terminal)
        scan.read(plugins.notify)
        _say_estimate(scan)
        scan.judge(plugins.notify)
    result = Result(scan)
    write_report(result, target)
    for line in ("", *summary(result, target)):
        _say(line)
    return result.decision.finding is Finding.FOUND


def _say_estimate(scan: Scan) -> None:
    from bench.scan.forecast import forecast

    if not all(scan.made(stage) for stage in (scan.encoder, scan.search)):
        _say(f"       {forecast(scan)}")


def _say(line: str) -> None:
    out.print(line, markup=False, highlight=False, soft_wrap=True)
