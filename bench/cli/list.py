"""`bench list`: plugins and presets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from bench.errors import BenchError, nearest

from . import common, options

if TYPE_CHECKING:
    from bench.plugins.manager import Entry


def list_(
    kind: Annotated[
        str | None, typer.Argument(help="attack, defense, dataset, ssl or presets; all plugins without it.")
    ] = None,
    plugin: options.PluginFiles = None,
) -> None:
    """Attacks, defenses, datasets and SSL methods: where each comes from, and its options."""
    if kind == "presets":
        _presets(None)
    else:
        _plugins(kind, plugin or ())


def _plugins(kind: str | None, files: Sequence[Path]) -> None:
    from bench.plugins.from_file import load_plugins
    from bench.plugins.registry import KINDS

    if kind is not None and kind not in KINDS:
        raise BenchError(f"unknown kind {kind!r}.{nearest(kind, KINDS)}")
    found = load_plugins(files)
    for each in [kind] if kind else list(KINDS):
        common.out.print(f"\n[bold]{KINDS[each].word}s[/]")
        for entry in found.entries(each):
            _print_entry(entry)
    for broken in found.broken:
        common.log_out.print(f"cannot be used: {broken}", style="red", markup=False, highlight=False)


def _print_entry(entry: Entry) -> None:
    from bench.plugins.options import REQUIRED, options

    purpose = (entry.cls.__doc__ or "").strip().splitlines()[0]
    line = f"  [cyan]{entry.name}[/]  {escape(purpose)} [dim]({escape(entry.origin)})[/]"
    common.out.print(line, **common.PLAIN)
    for option in options(entry.cls):
        default = "(required)" if option.default is REQUIRED else repr(option.default)
        common.out.print(f"      {option.name} = {default}  [dim]{escape(option.doc)}[/]", **common.PLAIN)


def _presets(name: str | None) -> None:
    from importlib.resources import files

    from bench.config.config import preset_names, read_preset

    if name is not None:
        read_preset(name)
        path = Path(name) if name.endswith(".toml") else files("bench.config.presets") / f"{name}.toml"
        sys.stdout.write(path.read_text(encoding="utf-8"))
        return
    for each in preset_names():
        purpose = escape(str(read_preset(each).get("purpose", "")))
        common.out.print(f"  [cyan]{each}[/]  {purpose}", **common.PLAIN)
