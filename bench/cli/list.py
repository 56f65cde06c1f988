"""`bench list`: plugins with their options, presets, and what the numbers of a table mean."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from bench.errors import BenchError, nearest

from . import common, options

if TYPE_CHECKING:
    from bench.plugins.manager import Entry, Plugins

WORDS = ("attack", "defense", "dataset", "ssl", "preset", "metric")


def list_(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="attack, defense, dataset, ssl, preset or metric (or its plural).",
            autocompletion=options.beginning_with(lambda: WORDS),
            show_default="all but metrics",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(
            help="Show this plugin with the options that a run uses, this preset whole, or this metric alone.",
            autocompletion=options.names_of_kind,
        ),
    ] = None,
    preset: options.Preset = "laptop",
    plugin: options.PluginFiles = None,
) -> None:
    """List attacks, defenses, datasets, SSL methods and presets; of one kind, or of one plugin, also the options.

    `bench list metrics` says what the columns and marks of tables mean.
    """
    from bench.plugins.from_file import load_plugins

    kind = kind if kind is None or kind in WORDS else kind.removesuffix("s")
    if kind is not None and kind not in WORDS:
        raise BenchError(f"unknown kind {kind!r}.{nearest(kind, WORDS)}")
    if kind == "preset":
        _presets() if name is None else _print_preset(name)
        return
    if kind == "metric":
        _metrics(name)
        return
    if preset != "laptop" and name is None:
        raise BenchError(f"--preset {preset} is of one plugin: name it, as in `bench list defense poisoncam`")
    plugins = load_plugins(plugin or ())
    if kind is not None and name is not None:
        _print_plugin(plugins, plugins.entry(kind, name), preset)
        return
    _overview(plugins, kind)
    if kind is None:
        common.out.print("\n[bold]presets[/]")
        _presets()
    for broken in plugins.broken:
        common.log_out.print(f"cannot be used: {broken}", style="red", markup=False, **common.PLAIN)


def _overview(plugins: Plugins, kind: str | None) -> None:
    """A line for each plugin; of one kind alone also the options, with their defaults."""
    from bench.plugins.options import options as options_of
    from bench.plugins.registry import KINDS

    for each in KINDS if kind is None else [kind]:
        common.out.print(f"\n[bold]{KINDS[each].word}s[/]")
        for entry in plugins.entries(each):
            purpose = (entry.cls.__doc__ or "").strip().partition("\n")[0]
            _print_line(entry.name, purpose, f"({entry.origin})")
            for option in options_of(entry.cls) if kind else ():
                _print_option(option.name, option.default, option.doc)


def _print_line(name: str, text: str, origin: str = "") -> None:
    common.show_line(f"  [cyan]{name}[/]  {escape(text)} [dim]{escape(origin)}[/]".replace(" [dim][/]", ""), 4)


def _print_option(name: str, value: object, doc: str) -> None:
    from bench.plugins.options import REQUIRED

    shown = "(required)" if value is REQUIRED else repr(value)
    common.show_line(f"      {name} = {escape(shown)}  [dim]{escape(doc)}[/]", 8)


# --- one plugin -----------------------------------------------------------------------------------------


def _print_plugin(plugins: Plugins, entry: Entry, preset: str) -> None:
    """What it is, where it comes from, and each option with the value that a run with this preset uses."""
    from inspect import cleandoc

    from bench.plugins.options import options as options_of
    from bench.plugins.registry import KINDS, path

    known, (values, note) = options_of(entry.cls), _values(plugins, entry, preset)
    about = cleandoc(entry.cls.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    common.out.print(f"[bold]{KINDS[entry.kind].word} [cyan]{entry.name}[/][/]", **common.PLAIN)
    common.show_line(escape(about))
    source = [f"\n{entry.cls.paper}" if entry.cls.paper else "", entry.cls.url]
    for text in (*source, f"\nFrom {entry.origin}: {path(entry.cls)}"):
        if text:
            common.show_line(escape(text))
    common.show_line(escape(f"\nOptions, {note}:" if known else "It has no options."))
    for option in known:
        value = values.get(option.name, option.default)
        changed = option.name in values and repr(value) != repr(option.default)
        default = f" (default {option.default!r})" if changed and option.default is not None else ""
        _print_option(option.name, value, f"{option.doc}{default}")


def _values(plugins: Plugins, entry: Entry, preset: str) -> tuple[Mapping[str, Any], str]:
    """Option -> its value in a run with this preset, and in words what these values are.

    Values that a rule derives from the training set are included where the dataset can be opened; class defaults where
    the preset does not fit the plugin.
    """
    from bench.api import Judge
    from bench.config.config import load_config, read_preset

    read_preset(preset)
    try:
        config = load_config(plugins, preset, choices={entry.kind: entry.name})
    except BenchError as error:
        return {}, f"with their defaults (preset {preset} cannot be used: {' '.join(str(error).splitlines()[-1:])})"
    parts = [config.attack, config.dataset, config.ssl, config.defense.training_change, config.defense.filter]
    used = next(part for part in parts if type(part) is entry.cls)
    if not isinstance(used, Judge):
        return vars(used), f"as a run with preset {preset} uses them"
    try:
        data = config.dataset.load()
    except BenchError:
        return vars(used), f"as preset {preset} has them (None: a rule chooses, for which the dataset must be there)"
    found = used.in_force(len(data.train), data.size)
    return found, f"as a run with preset {preset} uses them ({len(data.train):,} training images of {data.size} px)"


# --- metrics --------------------------------------------------------------------------------------------


def _metrics(name: str | None) -> None:
    """What the columns and marks of tables mean, with those numbers of records that no table shows; or one of them."""
    from bench.boards.words import WORDS as words
    from bench.records.metrics import glossary

    better = {"higher": " Higher is better.", "lower": " Lower is better."}
    known = {each["title"]: f"{each['help']}{better.get(each['better'], '')}" for each in glossary()}
    known = {**known, **{word: text for word, text in words.items() if word not in known}}
    if name is not None and name not in known:
        raise BenchError(f"no metric is called {name!r}.{nearest(name, known)}")
    for word in known if name is None else [name]:
        _print_line(escape(word), known[word])


# --- presets --------------------------------------------------------------------------------------------


def _presets() -> None:
    from bench.config.config import preset_names, read_preset

    for each in preset_names():
        _print_line(each, str(read_preset(each).get("purpose", "")))


def _print_preset(name: str) -> None:
    """The file, as it is: its comments say why."""
    from bench.config.config import read_preset

    read_preset(name)
    path = Path(name) if name.endswith(".toml") else files("bench.config.presets") / f"{name}.toml"
    sys.stdout.write(path.read_text(encoding="utf-8"))
