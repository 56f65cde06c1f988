"""What `bench new` and `bench check` do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from bench.errors import BenchError, nearest

from . import commands

if TYPE_CHECKING:
    from bench.api import Plugin
    from bench.plugins.contract.checks import CheckResult
    from bench.plugins.manager import Entry, Plugins


def new_command(kind: str, name: str, directory: Path | None) -> None:
    """`bench new`."""
    from bench.plugins.manager import Plugins
    from bench.plugins.scaffold import create

    folder = Path(name) if directory is None else directory.expanduser()
    written = create(kind, name, folder, Plugins.load())
    _say(f"Wrote {', '.join(path.name for path in written)} into {folder}. It works as it is; next:")
    for line in (
        f"cd {folder} && pip install -e .",
        f"bench check {name}",
        f"bench run --preset smoke --{kind} {name}",
    ):
        _say(f"  {line}")


def check_command(name: str, files: Sequence[Path], settings: Sequence[str]) -> bool:
    """`bench check`: whether every property of the contract holds."""
    from bench.plugins.contract.checks import run_checks
    from bench.plugins.from_file import load_plugins

    entry = _find(load_plugins(files), name)
    instance = _instance(entry, settings)
    _say(f"{entry.kind} {entry.name!r} ({entry.origin}): {instance}")
    start = time.monotonic()
    results = run_checks(entry.kind, instance)
    for result in results:
        _tell(result)
    broken = sum(not result.ok for result in results)
    verdict = f"{broken} of {len(results)} properties do not hold" if broken else f"all {len(results)} properties hold"
    _say(f"{verdict} ({time.monotonic() - start:.1f} s)")
    return not broken


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
    from bench.plugins.options import make

    values = dict(getattr(entry.cls, "toy_options", {}))
    for text in settings:
        keys, value = parse_setting(text)
        assign(values, keys[1:] if keys[0] == entry.kind and len(keys) > 1 else keys, value)
    made: Plugin = make(entry.cls, values, f"{entry.kind} {entry.name!r}")
    return made


def _tell(result: CheckResult) -> None:
    word, style = ("held", "green") if result.ok else ("BROKEN", "bold red")
    if result.why.startswith("not reached"):
        word, style = "-", "yellow"
    line = f"  [{style}]{word:<6}[/]  {result.name:<16} {escape(result.why)}"
    commands.out.print(line, highlight=False, soft_wrap=True)
    if result.fix:
        _say(f"{'':<26}To mend: {result.fix}")


def _say(line: str) -> None:
    commands.out.print(line, markup=False, highlight=False, soft_wrap=True)
