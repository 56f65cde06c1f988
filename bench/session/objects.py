"""Plugins that are given as objects, `bench.run(defense=Mine(share=0.2))`, beside those that are named."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.api import Plugin
    from bench.config.config import Config
    from bench.plugins.manager import Plugins


def named(plugins: Plugins, kind: str, given: str | Plugin | None) -> str | None:
    """The name of a plugin of this kind; one given as an object is among `plugins` afterwards. Raises BenchError."""
    from bench.plugins import hookimpl
    from bench.plugins.registry import KINDS, class_problem, path

    if given is None or isinstance(given, str):
        return given
    if isinstance(given, type):
        raise BenchError(f"{kind} is the class {given.__name__}; give an object of it: {given.__name__}(...)")
    problem = class_problem(type(given), KINDS[kind].bases)
    if problem is not None:
        raise BenchError(
            f"{kind} = {given!r} cannot be used: {problem}. Give a name (`bench list {kind}`) or an object"
        )
    known = {entry.name: entry for entry in plugins.entries(kind)}
    if given.name not in known:
        offer = type(type(given).__name__, (), {KINDS[kind].hook: staticmethod(hookimpl(lambda: [type(given)]))})
        plugins.add(offer())
    elif known[given.name].cls is not type(given):
        other = known[given.name]
        raise BenchError(
            f"there is another {KINDS[kind].word} {given.name!r}: {other.origin} ({path(other.cls)}). Rename yours"
        )
    return given.name


def with_objects(
    load: Callable[[Sequence[str]], Config], objects: Mapping[str, Plugin], settings: Sequence[str]
) -> Config:
    """What `load` makes with more settings, its plugins replaced by `objects`, whose options those settings are as far
    as they can be written. Raises BenchError where `settings` changes an option of an object."""
    from bench.config.config import parse_setting

    for text in settings:
        if parse_setting(text)[0][0] in objects:
            section = parse_setting(text)[0][0]
            raise BenchError(f"setting {text!r}: the {section} is given as an object, which has its own options")
    config = load(())
    if not objects:
        return config
    objects = {kind: _checked(kind, given) for kind, given in objects.items()}
    differ = [text for kind, given in objects.items() for text in _differing(kind, _part(config, kind, given), given)]
    config = load(differ)
    for kind, given in objects.items():
        config = _replaced(config, kind, given)
    return config


def _checked(kind: str, given: Plugin) -> Plugin:
    """The object made again from its options, of their types. Raises BenchError."""
    from bench.plugins.options import make, options

    values = {option.name: getattr(given, option.name) for option in options(type(given))}
    return make(type(given), values, f"{kind} {given.name!r}")


def _part(config: Config, kind: str, given: Plugin) -> Plugin:
    """The plugin of the configuration that the object takes the place of."""
    chosen: Any = getattr(config, kind)
    return next(part for part in (chosen.parts if kind == "defense" else [chosen]) if type(part) is type(given))


def _replaced(config: Config, kind: str, given: Plugin) -> Config:
    if kind != "defense":
        chosen: dict[str, Any] = {kind: given}
        return dataclasses.replace(config, **chosen)
    names = [name for name in ("filter", "training_change") if type(getattr(config.defense, name)) is type(given)]
    changed: dict[str, Any] = dict.fromkeys(names, given)
    return dataclasses.replace(config, defense=dataclasses.replace(config.defense, **changed))


def _differing(kind: str, made: Plugin, given: Plugin) -> Iterator[str]:
    """Settings for the options in which the object differs; one that cannot be written (None) is left out."""
    from bench.plugins.options import options

    for option in options(type(given)):
        value = getattr(given, option.name)
        if value is not None and value != getattr(made, option.name):
            yield f"{kind}.{option.name}={toml(value)}"


# --- settings as Python data ----------------------------------------------------------------------------


def as_settings(given: Mapping[str, Any] | Sequence[str] | None) -> list[str]:
    """`{"train.epochs": 3}`, `{"train": {"epochs": 3}}` or ["train.epochs=3"] as texts for --set. Raises BenchError."""
    if given is None:
        return []
    if isinstance(given, Mapping):
        return [f"{name}={toml(value)}" for name, value in _flat(given)]
    if isinstance(given, str) or not all(isinstance(text, str) for text in given):
        raise BenchError(f'settings is {given!r}, expected a dict or a list of texts: ["train.epochs=3"]')
    return list(given)


def _flat(given: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        if not isinstance(name, str):
            raise BenchError(f"settings has the key {name!r}, expected SECTION.OPTION as in 'train.epochs'")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def toml(value: Any) -> str:
    """A value as it is written in TOML. Raises BenchError for one that cannot be."""
    if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0:  # a number of NumPy's
        value = value.item()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return repr(value)
    if isinstance(value, float):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    expected = "a number, a text, true or false, or a list of these"
    raise BenchError(f"an option cannot be {value!r} ({type(value).__name__}); expected {expected}")
