"""The paper's tables beside ours: which runs a number needs, which records are of them, what departs from the paper.

A record counts only where its whole configuration is that of the run, but for the seed and for where its data lay.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench.config.config import Config
from bench.errors import BenchError
from bench.leaderboard import NONE, leaves
from bench.matrix.cell import Cell, RunContext
from bench.records.record import Record
from bench.ssl.schedule import Schedule
from bench.store import canonical, digest

from .published import AVERAGE, SETTINGS, Number, Setting, published

PAPER_IMAGES = 127_000
"""ImageNet-100's training images as the paper has them (section V-A); used where the data is not at hand."""
_TOLD = {
    "dataset.name": "dataset {}",
    "dataset.size": "images of {} px",
    "encoder.backbone": "backbone {}",
    "ssl.name": "SSL method {}",
    "train.epochs": "{} epochs",
    "train.max_steps": "an end after {} steps",
    "train.batch": "batches of {}",
    "attack.name": "attack {}",
    "attack.rate": "a poisoned share of the target class of {}",
    "attack.trigger_size": "a trigger of {} px (or of that share)",
}
"""The settings that a header names, in this order; of others it gives the names only."""
_TRIGGER = ("attack.trigger", "attack.trigger_seed", "attack.trigger_sha256")
_NO_MATTER = ("seed", "attack.target", "train.loader_workers", *_TRIGGER)
Key = tuple[str, str]
"""(split, metric) of a published number."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table. `paper`: its numbers by (split, metric). `epochs`: the paper's. `runs`: for each target that
    it stands for, a cell for each seed; () where its defense is not installed."""

    target: str
    defense: str
    epochs: int
    paper: Mapping[Key, float]
    runs: tuple[tuple[Cell, ...], ...] = ()

    @property
    def columns(self) -> list[Key]:
        """The metrics it has."""
        return list(self.paper)


@dataclass(frozen=True, kw_only=True)
class Ours:
    """What our records say of a row: means over targets of means over seeds. Of how many targets, and which seeds."""

    values: Mapping[Key, float]
    targets: int
    seeds: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Block:
    """A table in one of the paper's settings, with ours. `foreign`: our runs are on other data, so that only what the
    paper has on average has a counterpart."""

    setting: Setting
    table: str
    preset: str
    foreign: bool
    departures: Mapping[str, tuple[str, str]]
    """Setting -> (ours, the paper's)."""
    rows: tuple[Row, ...]


class Reproduction:
    """Lays one table out for a preset, or for the paper's own presets."""

    def __init__(self, shop: RunContext, table: str, seeds: Sequence[int], settings: Sequence[str] = ()) -> None:
        self._shop, self._table = shop, table
        self._seeds, self._extra = tuple(seeds), tuple(settings)
        self._defenses = {entry.name for entry in shop.plugins.entries("defense")}

    def blocks(self, preset: str | None) -> list[Block]:
        """One for each of the paper's settings that the table has and the preset stands for."""
        there = [setting for setting in SETTINGS if published(self._table, setting)]
        if preset is None:
            return [self._block(setting, setting.preset, foreign=False) for setting in there]
        data = self._config(self._cell(preset)).dataset.name
        own = [setting for setting in there if preset == setting.preset or data == setting.dataset]
        return [self._block(s, preset, foreign=False) for s in own] or [self._block(there[0], preset, foreign=True)]

    def _block(self, setting: Setting, preset: str, *, foreign: bool) -> Block:
        base = (*self._extra, *(() if foreign else (f"attack.rate={setting.rate}",)))
        ours = self._config(self._cell(preset, settings=base))
        return Block(
            setting=setting,
            table=self._table,
            preset=preset,
            foreign=foreign,
            departures=departures(ours, self._paper(setting)),
            rows=tuple(self._rows(setting, preset, base, ours, foreign)),
        )

    def _paper(self, setting: Setting) -> Config:
        return self._config(self._cell(setting.preset, settings=(f"attack.rate={setting.rate}",)))

    def _rows(
        self, setting: Setting, preset: str, base: tuple[str, ...], config: Config, foreign: bool
    ) -> Iterable[Row]:
        told = published(self._table, setting)
        named = _targets(published("I", setting))
        for (target, defense, epochs), paper in _grouped(told, only_averages=foreign).items():
            # In a foreign block, and of an average, the targets are the preset's own, or all that the paper has.
            targets = [None] if foreign else named if target == AVERAGE else [target]
            early = self._early(preset, base, config, epochs)
            runs = [self._run(preset, (*base, *early), defense, each) for each in targets]
            known = defense in self._defenses
            yield Row(target=target, defense=defense, epochs=epochs, paper=paper, runs=tuple(runs) if known else ())

    def _run(self, preset: str, settings: tuple[str, ...], defense: str, target: str | None) -> tuple[Cell, ...]:
        own = settings if target is None else (*settings, f"attack.target={target}")
        return tuple(self._cell(preset, defense=defense, seed=seed, settings=own) for seed in self._seeds)

    def _cell(
        self, preset: str, *, defense: str | None = None, seed: int = 0, settings: tuple[str, ...] | None = None
    ) -> Cell:
        return Cell(preset=preset, defense=defense, seed=seed, settings=self._extra if settings is None else settings)

    def _config(self, cell: Cell) -> Config:
        return self._shop.config(cell)

    def _early(self, preset: str, base: tuple[str, ...], config: Config, epochs: int) -> tuple[str, ...]:
        """The setting that ends a training at the paper's epoch (Table III: [?] one training, looked at on its way)."""
        share = epochs / 200
        if share >= 1:
            return ()
        whole = Schedule(dataclasses.replace(config.train, max_steps=None), self._images(preset, base), config.seeds)
        return (f"train.max_steps={max(1, round(share * whole.steps))}",)

    def _images(self, preset: str, base: tuple[str, ...]) -> int:
        try:
            return len(self._shop.pipeline(self._cell(preset, settings=base)).dataset.train)
        except BenchError:
            return PAPER_IMAGES


def _targets(told: Sequence[Number]) -> list[str]:
    return list(dict.fromkeys(each.target for each in told if each.target != AVERAGE))


def _grouped(told: Sequence[Number], *, only_averages: bool) -> dict[tuple[str, str, int], dict[Key, float]]:
    """(target, defense, epochs) -> its numbers. Averages alone: those of the paper, else the mean over its targets."""
    found: dict[tuple[str, str, int], dict[Key, list[float]]] = {}
    averaged = any(each.target == AVERAGE for each in told)
    for each in told:
        if only_averages and averaged and each.target != AVERAGE:
            continue
        target = AVERAGE if only_averages else each.target
        row = found.setdefault((target, each.defense, each.epochs), {})
        row.setdefault((each.split, each.metric), []).append(each.value)
    return {name: {key: fmean(values) for key, values in row.items()} for name, row in found.items()}


# --- what differs from the paper's setting ------------------------------------------------------------


def departures(ours: Config, paper: Config) -> dict[str, tuple[str, str]]:
    """Setting -> (ours, the paper's), for all that can change a number. The target, its trigger and the seed do not
    count (the paper draws them at random); of two datasets only name and size are compared."""
    one, other = (dict(leaves(_plain(config.resolved))) for config in (ours, paper))
    found = {}
    for name in sorted({*one, *other}):
        mine, theirs = one.get(name, "-"), other.get(name, "-")
        if mine != theirs and name not in _NO_MATTER:
            found[name] = (mine, theirs)
    return found


def told(found: Mapping[str, tuple[str, str]]) -> str:
    """Departures in words, the telling ones first and with their values."""
    main = [f"{text.format(found[name][0])} ({found[name][1]})" for name, text in _TOLD.items() if name in found]
    rest = [name for name in found if name not in _TOLD]
    more = f"{len(rest)} more settings ({', '.join(rest)})" if rest else ""
    return "; ".join([*main, *([more] if more else [])])


def _plain(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with of the dataset only its name and size."""
    data = {name: value for name, value in resolved["dataset"].items() if name in ("name", "size")}
    plain: dict[str, Any] = json.loads(canonical({**resolved, "dataset": data}))
    return plain


# --- our records --------------------------------------------------------------------------------------


class Records:
    """Records by the run that they are of."""

    def __init__(self, records: Iterable[Record], shop: RunContext) -> None:
        self._shop = shop
        self._found: dict[str, dict[int, Record]] = {}
        for record in sorted(records, key=lambda each: str(each["created"])):
            for name in (NONE, record["run"]["defense"]):
                key = _identity(record["config"], name)
                self._found.setdefault(key, {})[record["run"]["seed"]] = record

    def of(self, run: Sequence[Cell]) -> dict[int, Record]:
        """The records of a run by seed, whatever their seeds. For "none" those of any defense: they hold its row."""
        return self._found.get(_identity(self._shop.config(run[0]).resolved, run[0].defense or NONE), {})

    def ours(self, row: Row) -> Ours | None:
        """Our numbers for a row; None without a record."""
        found = [list(self.of(run).values()) for run in row.runs]
        there = [records for records in found if records]
        if not there:
            return None
        values = {}
        for key in row.columns:
            means = [_mean([_value(record, row.defense, key) for record in records]) for records in there]
            mean = _mean(means)
            if mean is not None:
                values[key] = mean
        seeds = {record["run"]["seed"] for records in there for record in records}
        return Ours(values=values, targets=len(there), seeds=tuple(sorted(seeds)))

    def missing(self, row: Row) -> list[Cell]:
        """The cells of a row that have no record."""
        return [cell for run in row.runs for cell in run if cell.seed not in self.of(run)]


def _identity(config: Mapping[str, Any], defense: str) -> str:
    """Names a run but for its seed. Texts among the dataset's options (its name apart) are places on a disk."""
    data = {k: v for k, v in config["dataset"].items() if k == "name" or not isinstance(v, str)}
    plain = json.loads(canonical({**config, "dataset": data, "seed": 0}))
    plain["train"].pop("loader_workers", None)
    if defense == NONE:
        plain.pop("defense")
    return digest([defense == NONE, plain])


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return fmean(there) if there else None


def _value(record: Record, defense: str, key: Key) -> float | None:
    split, metric = key
    metrics = record["metrics"]
    if split == "train":
        found = metrics["detection"].get(metric)
    else:
        found = metrics["none" if defense == NONE else "defended"][split].get(metric)
    return None if found is None else float(found)
