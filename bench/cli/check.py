"""`bench check`: whether a plugin keeps the contract of its kind."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import BenchError, nearest

from . import common, options
from .common import say

if TYPE_CHECKING:
    from bench.api import Plugin
    from bench.plugins.contract.checks import CheckResult
    from bench.plugins.manager import Entry, Plugins


def check(
    name: Annotated[str, typer.Argument(help="A plugin by its name, or KIND:NAME where several kinds have one.")],
    plugin: options.PluginFiles = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="OPTION=VALUE", help="Check it with this option.")
    ] = None,
) -> None:
    """Check on toy data that a plugin keeps the contract of its kind; exit code 1 if it does not."""
    from bench.plugins.contract.checks import run_checks
    from bench.plugins.from_file import load_plugins

    entry = _find(load_plugins(plugin or ()), name)
    instance = _instance(entry, settings or ())
    say(f"{entry.kind} {entry.name!r} ({entry.origin}): {instance}")
    start = time.monotonic()
    results = run_checks(entry.kind, instance)
    for result in results:
        _print_result(result)
    broken = sum(not result.ok for result in results)
    verdict = f"{broken} of {len(results)} properties do not hold" if broken else f"all {len(results)} properties hold"
    say(f"{verdict} ({time.monotonic() - start:.1f} s)")
    if broken:
        raise typer.Exit(1)


def _find(plugins: Plugins, name: str) -> Entry:
    """The plugin that NAME or KIND:NAME means. Raises BenchError where it means none, or several."""
    from bench.plugins.registry import KINDS

    kind, found, own = name.rpartition(":")
    if "+" in own:
        raise BenchError(f"{name!r} is a combination: check its parts one by one")
    if found:
        return plugins.entry(kind, own)
    kinds = [each for each in KINDS if own in plugins.names(each)]
    if len(kinds) > 1:
        choices = " or ".join(f"{each}:{own}" for each in kinds)
        raise BenchError(f"{own!r} is the name of several plugins: say {choices}")
    if kinds:
        return plugins.entry(kinds[0], own)
    known = {each for kind in KINDS for each in plugins.names(kind)}
    excuse = "".join(f"\nCould not be used: {broken}" for broken in plugins.broken)
    raise BenchError(f"there is no plugin {own!r}.{nearest(own, known)}{excuse}")


def _instance(entry: Entry, settings: Sequence[str]) -> Plugin:
    """The plugin with its toy options, then those of each --set: OPTION=VALUE, or KIND.OPTION=VALUE as for a run."""
    from bench.config.combination import assign
    from bench.config.config import parse_setting
    from bench.plugins.options import make, value_of

    values = dict(getattr(entry.cls, "toy_options", {}))
    for text in settings:
        keys, _ = parse_setting(text)
        keys = keys[1:] if keys[0] == entry.kind and len(keys) > 1 else keys
        assign(values, keys, value_of(entry.cls, keys, text.partition("=")[2]))
    made: Plugin = make(entry.cls, values, f"{entry.kind} {entry.name!r}")
    return made


def _print_result(result: CheckResult) -> None:
    from rich.markup import escape

    word, style = ("held", "green") if result.ok else ("BROKEN", "bold red")
    if result.why.startswith("not reached"):
        word, style = "-", "yellow"
    common.out.print(f"  [{style}]{word:<6}[/]  {result.name:<16} {escape(result.why)}", **common.PLAIN)
    if result.fix:
        say(f"{'':<26}To mend: {result.fix}")
