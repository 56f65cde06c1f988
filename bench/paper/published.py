"""The numbers of the PoisonCAM paper (published.csv), and which preset stands for which of its settings."""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

from bench.errors import BenchError, nearest

SOURCE = "Erasing Self-Supervised Learning Backdoor by Cluster Activation Masking (PoisonCAM), Tables I to III"
AVERAGE = "average"
RUNS = 5
"""Every number of the paper is a mean over so many seeds (section V-C)."""
TABLES = {"table1": "I", "table2": "II", "table3": "III"}


@dataclass(frozen=True, kw_only=True)
class Number:
    """One published number. `poison_rate`: share of the training set; `target`: a class, or "average" over all."""

    table: str
    dataset: str
    poison_rate: float
    target: str
    defense: str
    epochs: int
    split: str
    metric: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One of the paper's three settings. `rate`: poisoned share of the target class, as attack.rate."""

    title: str
    dataset: str
    poison_rate: float
    rate: float
    preset: str


SETTINGS = (
    Setting(
        title="ImageNet-100, poison rate 0.5 %",
        dataset="imagenet100",
        poison_rate=0.005,
        rate=0.5,
        preset="paper-imagenet100",
    ),
    Setting(
        title="ImageNet-100, poison rate 1.0 %",
        dataset="imagenet100",
        poison_rate=0.01,
        rate=1.0,
        preset="paper-imagenet100",
    ),
    Setting(title="STL-10, poison rate 5.0 %", dataset="stl10", poison_rate=0.05, rate=0.5, preset="paper-stl10"),
)


@functools.cache
def numbers() -> tuple[Number, ...]:
    """All published numbers, in the order of the file."""
    return tuple(_read())


def _read() -> Iterator[Number]:
    text = resources.files(__package__).joinpath("published.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(line for line in text.splitlines() if not line.startswith("#")):
        numeric = {"poison_rate": float(row.pop("poison_rate")), "epochs": int(row.pop("epochs"))}
        value = float(row.pop("value"))
        yield Number(**row, **numeric, value=value)  # type: ignore[arg-type]


def table_of(name: str) -> str:
    """'table1' -> 'I'. Raises BenchError."""
    if name not in TABLES:
        raise BenchError(f"unknown table {name!r}.{nearest(name, TABLES)}")
    return TABLES[name]


def published(table: str, setting: Setting) -> list[Number]:
    """The numbers of one table ('I', 'II', 'III') in one setting."""
    return [
        each
        for each in numbers()
        if (each.table, each.dataset, each.poison_rate) == (table, setting.dataset, setting.poison_rate)
    ]
