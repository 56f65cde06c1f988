"""A matrix file: which cells it names. TOML, committed beside the records it makes.

preset = "laptop"
seeds = [0, 1, 2]
settings = ["train.epochs=10"]                         # of all cells, as for --set
defenses = ["none", "poisoncam+icutmix", { name = "patchsearch", settings = ["defense.window=12"] }]
[[attacks]]
name = "htba"
settings = ["attack.target=7"]

`preset`, `dataset`, `ssl` (an SSL method, or a list of them), `seeds` (default [0]), `until` ("detection": no second
training) and every `settings` may be left out. Of the settings of all cells, a defense's go to each defense that has
the option ("defense.masks=64") or the part ("defense.poisoncam.masks=64").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.combination import reaches
from bench.config.config import DEFAULT_PRESET, END, Config, parse_setting
from bench.errors import BenchError
from bench.plugins.options import make, options, parse_toml
from bench.store import canonical, read_text

from .cell import Cell

if TYPE_CHECKING:
    from bench.plugins.manager import Plugins

_EXAMPLES = {"attacks": '[[attacks]] name = "htba"', "defenses": '["none", "poisoncam"]'}


def read_matrix(path: Path, plugins: Plugins, files: Sequence[Path] = ()) -> list[Cell]:
    """The cells of a matrix file: SSL method by method, attack by attack, seed by seed, in the order of its defenses.

    files: those of `plugins` that are not installed, which every process that makes a cell loads.

    Raises BenchError naming the file and what cannot be used in it: every cell's configuration is checked.
    """
    try:
        content = make(_Content, parse_toml(read_text(path)), "the matrix file")
        return _Matrix(content, plugins, files).cells()
    except OSError as error:
        raise BenchError(f"cannot read the matrix file {path}: {error.strerror}") from error
    except ValueError as error:
        raise BenchError(f"{path} is not valid TOML: {error}") from error
    except BenchError as error:
        raise BenchError(f"{path}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """An attack or a defense, and what is set for it alone."""

    name: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Content:
    """The keys of a matrix file."""

    preset: str = DEFAULT_PRESET
    dataset: str | None = None
    ssl: str | list[str] | None = None
    seeds: Any = (0,)
    until: str = END
    settings: tuple[str, ...] = ()
    attacks: list[str | dict[str, Any]] = field(default_factory=list)
    defenses: list[str | dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        seeds = self.seeds if isinstance(self.seeds, list | tuple) else ()
        whole = all(type(seed) is int and seed >= 0 for seed in seeds)
        if not seeds or not whole or len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds is {self.seeds}, expected a list of different whole numbers, like [0, 1, 2]")
        if self.ssl == []:
            raise ValueError('ssl is [], expected one or more SSL methods, like ["moco_v3", "byol"]')

    @property
    def methods(self) -> list[str | None]:
        """The SSL methods; None: the preset's."""
        return [*self.ssl] if isinstance(self.ssl, list) else [self.ssl]

    def chosen(self, key: str) -> list[_Chosen]:
        """The attacks or the defenses. Raises BenchError."""
        found = getattr(self, key)
        if not found:
            raise BenchError(f"{key} is [], expected one or more, like {_EXAMPLES[key]}")
        tables = [{"name": each} if isinstance(each, str) else each for each in found]
        return [make(_Chosen, table, f"one of the {key}") for table in tables]


class _Matrix:
    """Makes the cells of one file."""

    def __init__(self, content: _Content, plugins: Plugins, files: Sequence[Path]) -> None:
        self._content, self._plugins = content, plugins
        self._files = tuple(str(file.expanduser().absolute()) for file in files)
        self._attacks, self._defenses = content.chosen("attacks"), content.chosen("defenses")
        self._defense_settings = [text for text in content.settings if parse_setting(text)[0][0] == "defense"]
        self._settings = [text for text in content.settings if text not in self._defense_settings]

    def cells(self) -> list[Cell]:
        """All cells, each checked; a cell that stands there twice is an error."""
        chosen = self._settings_by_defense()
        found: dict[str, Cell] = {}
        for method, attack, seed in product(self._content.methods, self._attacks, self._content.seeds):
            for defense, settings in zip(self._defenses, chosen, strict=True):
                cell = self._cell(method, attack, defense, seed, (*self._settings, *attack.settings, *settings))
                same = found.setdefault(canonical(cell.config(self._plugins).resolved), cell)
                if same is not cell:
                    raise BenchError(f"two cells are the same run: {same.title!r} and {cell.title!r}")
        return list(found.values())

    def _cell(self, method: str | None, attack: _Chosen, defense: _Chosen, seed: int, settings: Sequence[str]) -> Cell:
        base = {key: getattr(self._content, key) for key in ("preset", "dataset", "until")}
        base |= {"ssl": method, "attack": attack.name, "defense": defense.name, "settings": tuple(settings)}
        return Cell(**base, seed=seed, plugins=self._files)

    def _settings_by_defense(self) -> list[tuple[str, ...]]:
        """For each defense its own settings, after those of all cells that reach it. One without reach is an error."""
        reached: set[str] = set()
        chosen = []
        for defense in self._defenses:
            taken: list[str] = []
            for _ in range(2 if self._defense_settings else 0):  # twice: one of them may name another reference
                cell = self._cell(self._content.methods[0], self._attacks[0], defense, 0, (*taken, *defense.settings))
                config = cell.config(self._plugins)
                taken = [text for text in self._defense_settings if _reaches(text, config)]
            reached.update(taken)
            chosen.append((*taken, *defense.settings))
        for text in self._defense_settings:
            if text not in reached:
                raise BenchError(f"settings {text!r}: none of the defenses has that option")
        return chosen


def _reaches(text: str, config: Config) -> bool:
    """Whether a part of the configuration's defense has the option that a setting sets."""
    keys = parse_setting(text)[0][1:]
    defense = config.defense
    parts = [part for part in (defense.filter, defense.training_change, defense.reference) if part is not None]
    return bool(keys) and reaches(keys, {part.name: [o.name for o in options(type(part))] for part in parts})
