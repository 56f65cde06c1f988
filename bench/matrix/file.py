"""A matrix file: which cells it names. TOML, committed beside the records it makes.

preset = "laptop"
seeds = [0, 1, 2]
settings = ["train.epochs=10"]                         # of all cells, as for --set
defenses = ["none", "poisoncam+icutmix", { name = "patchsearch", settings = ["defense.window=12"] }]
[[attacks]]
name = "htba"
settings = ["attack.target=7"]

`preset`, `dataset`, `ssl`, `seeds` (default [0]) and every `settings` may be left out. Of the settings of all cells, a
defense's go to each defense that has the option ("defense.masks=64") or the part ("defense.poisoncam.masks=64").
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.combination import reaches
from bench.config.config import DEFAULT_PRESET, Config, load_config, parse_setting
from bench.errors import BenchError, nearest
from bench.plugins.options import options
from bench.store import canonical

from .cell import Cell

if TYPE_CHECKING:
    from bench.plugins.manager import Plugins

_KEYS = ("preset", "dataset", "ssl", "seeds", "settings", "defenses", "attacks")
_ENTRY = ("name", "settings")


def read_matrix(path: Path, plugins: Plugins) -> list[Cell]:
    """The cells of a matrix file, attack by attack, seed by seed, in the order of its defenses.

    Raises BenchError naming the file and what cannot be used in it: every cell's configuration is checked.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        return _Matrix(data, plugins).cells()
    except OSError as error:
        raise BenchError(f"cannot read the matrix file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is not valid TOML: {error}") from error
    except BenchError as error:
        raise BenchError(f"{path}: {error}") from error


class _Matrix:
    """One file's content, checked."""

    def __init__(self, data: Mapping[str, Any], plugins: Plugins) -> None:
        _known(data, _KEYS, "the file")
        self._plugins = plugins
        self._base = {
            "preset": DEFAULT_PRESET,
            **{k: _text(data, k) for k in ("preset", "dataset", "ssl") if k in data},
        }
        self._common = _texts(data.get("settings", []), "settings")
        self._seeds = _seeds(data.get("seeds", [0]))
        self._attacks = _entries(data, "attacks", '[[attacks]] name = "htba"')
        self._defenses = _entries(data, "defenses", '["none", "poisoncam"]')

    def cells(self) -> list[Cell]:
        """All cells, each checked; a cell that stands there twice is an error."""
        common = [text for text in self._common if not _of_defense(text)]
        chosen = self._defense_settings()
        found: dict[str, Cell] = {}
        for attack, own in self._attacks:
            for seed in self._seeds:
                for (defense, _), settings in zip(self._defenses, chosen, strict=True):
                    cell = self._cell(attack, defense, seed, (*common, *own, *settings))
                    same = found.setdefault(canonical(self._load(cell).resolved), cell)
                    if same is not cell:
                        raise BenchError(f"two cells are the same run: {same.title!r} and {cell.title!r}")
        return list(found.values())

    def _cell(self, attack: str, defense: str, seed: int, settings: Sequence[str]) -> Cell:
        return Cell(**self._base, attack=attack, defense=defense, seed=seed, settings=tuple(settings))

    def _load(self, cell: Cell) -> Config:
        return load_config(self._plugins, cell.preset, choices=cell.choices, settings=cell.settings, seed=cell.seed)

    def _defense_settings(self) -> list[tuple[str, ...]]:
        """For each defense its own settings, after those of all cells that reach it. One without reach is an error."""
        every = [text for text in self._common if _of_defense(text)]
        reached: set[str] = set()
        chosen = []
        for defense, own in self._defenses:
            taken: list[str] = []
            for _ in range(2 if every else 0):  # twice: one of them may name another reference
                config = self._load(self._cell(self._attacks[0][0], defense, 0, (*taken, *own)))
                taken = [text for text in every if _reaches(text, config)]
            reached.update(taken)
            chosen.append((*taken, *own))
        for text in every:
            if text not in reached:
                raise BenchError(f"settings {text!r}: none of the defenses has that option")
        return chosen


def _of_defense(text: str) -> bool:
    return parse_setting(text)[0][0] == "defense"


def _reaches(text: str, config: Config) -> bool:
    """Whether a part of the configuration's defense has the option that a setting sets."""
    keys = parse_setting(text)[0][1:]
    defense = config.defense
    parts = [part for part in (defense.filter, defense.training_change, defense.reference) if part is not None]
    return bool(keys) and reaches(keys, {part.name: [o.name for o in options(type(part))] for part in parts})


def _known(data: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    for key in data:
        if key not in keys:
            raise BenchError(f"{where} has an unknown key {key!r}.{nearest(key, keys)}")


def _text(data: Mapping[str, Any], key: str) -> str:
    if not isinstance(data[key], str):
        raise BenchError(f"{key} is {data[key]!r}, expected a name")
    return str(data[key])


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BenchError(f'{where} is {value!r}, expected a list like ["train.epochs=10"]')
    return tuple(value)


def _seeds(value: object) -> list[int]:
    whole = isinstance(value, list) and all(type(each) is int and each >= 0 for each in value)
    if not isinstance(value, list) or not whole or not value or len(set(value)) < len(value):
        raise BenchError(f"seeds is {value!r}, expected a list of different whole numbers, 0 or more, like [0, 1, 2]")
    return value


def _entries(data: Mapping[str, Any], key: str, example: str) -> list[tuple[str, tuple[str, ...]]]:
    """(name, settings) of each attack or defense, given as a name or as a table."""
    value = data.get(key, [])
    if not isinstance(value, list) or not value:
        raise BenchError(f"{key} is {value!r}, expected one or more, like {example}")
    return [_entry(each, key) for each in value]


def _entry(value: object, key: str) -> tuple[str, tuple[str, ...]]:
    table = {"name": value} if isinstance(value, str) else value
    if not isinstance(table, dict):
        raise BenchError(f"{key} holds {value!r}, expected a name or a table with a name and settings")
    _known(table, _ENTRY, f"one of the {key}")
    if "name" not in table:
        raise BenchError(f"one of the {key} has no name: {value!r}")
    return _text(table, "name"), _texts(table.get("settings", []), f"settings of {table['name']!r}")
