"""The paper's tables beside ours: which runs a number needs, which records are of them, what departs from the paper.

A record counts only where its whole configuration is that of the run, but for the seed and for where its data lay.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench.boards import NONE, leaves
from bench.config.config import Config
from bench.errors import BenchError
from bench.matrix.cell import Cell, RunContext
from bench.records.record import Record, measured, whole
from bench.ssl.schedule import Schedule
from bench.store import canonical, digest

from .published import AVERAGE, SETTINGS, Number, Setting, published

PAPER_IMAGES = 127_000
"""ImageNet-100's training images as the paper has them (section V-A); used where the data is not at hand."""
_WORDS = {
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
_TRIGGER = {"attack.trigger", "attack.trigger_seed", "attack.trigger_sha256"}
_NO_MATTER = {"seed", "threads", "attack.target", "train.loader_workers", *_TRIGGER}
Key = tuple[str, str]
"""(split, metric) of a published number."""


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """One row of a table. `paper`: its numbers by (split, metric). `epochs`: the paper's. `runs`: for each target that
    it stands for, a cell for each seed; () where its defense is not installed."""

    target: str
    defense: str
    epochs: int
    paper: Mapping[Key, float]
    runs: tuple[tuple[Cell, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class OurNumbers:
    """What our records give for a row: means over targets of means over seeds. Of how many targets, and which seeds."""

    values: Mapping[Key, float]
    targets: int
    seeds: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """A table in one of the paper's settings, with our runs. `foreign`: these are on other data, so that only what the
    paper has on average has a counterpart. `departures`: setting -> (ours, the paper's)."""

    setting: Setting
    preset: str
    foreign: bool
    departures: Mapping[str, tuple[str, str]]
    rows: tuple[PaperRow, ...]


class Reproduction:
    """Lays one table out for a preset, or for the paper's own presets. `settings`: the user's, as for --set."""

    def __init__(self, context: RunContext, table: str, seeds: Sequence[int], settings: Sequence[str] = ()) -> None:
        self._context, self._table = context, table
        self._seeds, self._extra = tuple(seeds), tuple(settings)

    def tables(self, preset: str | None) -> list[PaperTable]:
        """One for each of the paper's settings that the table has and the preset stands for."""
        there = [setting for setting in SETTINGS if published(self._table, setting)]
        if preset is None:
            return [self._lay_out(setting, setting.preset, foreign=False) for setting in there]
        data = self._config(preset, self._extra).dataset.name
        own = [setting for setting in there if preset == setting.preset or data == setting.dataset]
        return [self._lay_out(s, preset, foreign=False) for s in own] or [self._lay_out(there[0], preset, foreign=True)]

    def _config(self, preset: str, settings: tuple[str, ...]) -> Config:
        return self._context.config(Cell(preset=preset, seed=0, settings=settings))

    def _lay_out(self, setting: Setting, preset: str, *, foreign: bool) -> PaperTable:
        rate = f"attack.rate={setting.rate}"
        base = self._extra if foreign else (*self._extra, rate)
        return PaperTable(
            setting=setting,
            preset=preset,
            foreign=foreign,
            departures=departures(self._config(preset, base), self._config(setting.preset, (rate,))),
            rows=tuple(self._rows(setting, preset, base, foreign)),
        )

    def _rows(self, setting: Setting, preset: str, base: tuple[str, ...], foreign: bool) -> Iterator[PaperRow]:
        named = dict.fromkeys(each.target for each in published("I", setting) if each.target != AVERAGE)
        known = {entry.name for entry in self._context.plugins.entries("defense")}
        grouped = _grouped(published(self._table, setting), only_averages=foreign)
        for (target, defense, epochs), paper in grouped.items():
            # In a foreign table the target is the preset's own; an average is of all targets that the paper has.
            targets = [()] if foreign else [(f"attack.target={t}",) for t in (named if target == AVERAGE else [target])]
            early = self._early(preset, base, epochs)
            runs = tuple(self._cells(preset, defense, (*base, *early, *own)) for own in targets)
            runs = runs if defense in known else ()
            yield PaperRow(target=target, defense=defense, epochs=epochs, paper=paper, runs=runs)

    def _cells(self, preset: str, defense: str, settings: tuple[str, ...]) -> tuple[Cell, ...]:
        return tuple(Cell(preset=preset, defense=defense, seed=seed, settings=settings) for seed in self._seeds)

    def _early(self, preset: str, base: tuple[str, ...], epochs: int) -> tuple[str, ...]:
        """The setting that ends a training at the paper's epoch (Table III: [?] one training, looked at on its way)."""
        share = epochs / 200
        if share >= 1:
            return ()
        cell = Cell(preset=preset, seed=0, settings=base)
        config, images = self._context.config(cell), PAPER_IMAGES
        with contextlib.suppress(BenchError):  # its data are not at hand
            images = len(self._context.pipeline(cell).dataset.train)
        whole = Schedule(dataclasses.replace(config.train, max_steps=None), images, config.seeds)
        return (f"train.max_steps={max(1, round(share * whole.steps))}",)


def _grouped(numbers: Sequence[Number], *, only_averages: bool) -> dict[tuple[str, str, int], dict[Key, float]]:
    """(target, defense, epochs) -> its numbers. Averages alone: those of the paper, else the mean over its targets."""
    found: dict[tuple[str, str, int], dict[Key, list[float]]] = {}
    averaged = only_averages and any(each.target == AVERAGE for each in numbers)
    for each in numbers:
        if not averaged or each.target == AVERAGE:
            target = AVERAGE if only_averages else each.target
            row = found.setdefault((target, each.defense, each.epochs), {})
            row.setdefault((each.split, each.metric), []).append(each.value)
    return {name: {key: fmean(values) for key, values in row.items()} for name, row in found.items()}


# --- what differs from the paper's setting ------------------------------------------------------------


def departures(ours: Config, paper: Config) -> dict[str, tuple[str, str]]:
    """Setting -> (ours, the paper's), for all that can change a number. The target, its trigger and the seed do not
    count (the paper draws them at random); of two datasets only name and size are compared."""
    one, other = _comparable(ours), _comparable(paper)
    both = {name: (one.get(name, "-"), other.get(name, "-")) for name in sorted({*one, *other} - _NO_MATTER)}
    return {name: pair for name, pair in both.items() if pair[0] != pair[1]}


def _comparable(config: Config) -> dict[str, str]:
    """Every setting by its path; of the dataset only its name and size."""
    resolved = config.resolved
    data = {name: value for name, value in resolved["dataset"].items() if name in ("name", "size")}
    return dict(leaves(json.loads(canonical({**resolved, "dataset": data}))))


def in_words(found: Mapping[str, tuple[str, str]]) -> str:
    """Departures in words, the telling ones first and with their values."""
    main = [f"{text.format(found[name][0])} ({found[name][1]})" for name, text in _WORDS.items() if name in found]
    rest = [name for name in found if name not in _WORDS]
    return "; ".join([*main, *([f"{len(rest)} more settings ({', '.join(rest)})"] if rest else [])])


# --- our records --------------------------------------------------------------------------------------


class RecordsByRun:
    """Records that were measured here, found by the run that they are of."""

    def __init__(self, records: Iterable[Record], context: RunContext) -> None:
        self._context = context
        self._found: dict[str, dict[int, Record]] = {}
        for record in sorted(filter(measured, records), key=lambda each: str(each["created"])):
            for name in (NONE, record["run"]["defense"]):
                by_seed = self._found.setdefault(_identity(record["config"], name), {})
                if whole(record) or record["run"]["seed"] not in by_seed:
                    by_seed[record["run"]["seed"]] = record

    def of(self, row: PaperRow, run: Sequence[Cell]) -> dict[int, Record]:
        """The records of one of a row's runs by seed, whatever their seeds, that have its numbers: one that ended with
        the verdict has no others. For "none" those of any defense: they hold its row."""
        name = run[0].defense or NONE
        found = self._found.get(_identity(self._context.config(run[0]).resolved, name), {})
        short = name == NONE or all(split == "train" for split, _ in row.paper)
        return {seed: record for seed, record in found.items() if short or whole(record)}

    def ours(self, row: PaperRow) -> OurNumbers | None:
        """Our numbers for a row; None without a record."""
        there = [found for run in row.runs if (found := self.of(row, run))]
        if not there:
            return None
        means = {
            key: _mean([_mean([_value(record, row.defense, key) for record in found.values()]) for found in there])
            for key in row.paper
        }
        values = {key: mean for key, mean in means.items() if mean is not None}
        return OurNumbers(values=values, targets=len(there), seeds=tuple(sorted({s for found in there for s in found})))

    def missing(self, row: PaperRow) -> list[Cell]:
        """The cells of a row that have no record."""
        there = [(run, self.of(row, run)) for run in row.runs]
        return [cell for run, found in there for cell in run if cell.seed not in found]


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
    part = metrics["detection"] if split == "train" else metrics["none" if defense == NONE else "defended"][split]
    found = part.get(metric)
    return None if found is None else float(found)
