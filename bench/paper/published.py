"""The numbers of the PoisonCAM paper (published.csv), and which preset stands for which of its settings."""

from __future__ import annotations

import csv
import functools
from importlib import resources
from typing import NamedTuple

from bench.errors import BenchError, nearest

SOURCE = "Erasing Self-Supervised Learning Backdoor by Cluster Activation Masking (PoisonCAM), Tables I to III"
AVERAGE = "average"
RUNS = 5
"""Every number of the paper is a mean over so many seeds (section V-C)."""
TABLES = {"table1": "I", "table2": "II", "table3": "III"}


class Number(NamedTuple):
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


class Setting(NamedTuple):
    """One of the paper's three settings. `rate`: poisoned share of the target class, as attack.rate."""

    title: str
    dataset: str
    poison_rate: float
    rate: float
    preset: str


SETTINGS = (
    Setting("ImageNet-100, poison rate 0.5 %", "imagenet100", poison_rate=0.005, rate=0.5, preset="paper-imagenet100"),
    Setting("ImageNet-100, poison rate 1.0 %", "imagenet100", poison_rate=0.01, rate=1.0, preset="paper-imagenet100"),
    Setting("STL-10, poison rate 5.0 %", "stl10", poison_rate=0.05, rate=0.5, preset="paper-stl10"),
)


@functools.cache
def numbers() -> tuple[Number, ...]:
    """All published numbers, in the order of the file."""
    text = resources.files(__package__).joinpath("published.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    kinds = {"poison_rate": float, "epochs": int, "value": float}
    return tuple(Number(**{name: kinds.get(name, str)(text) for name, text in row.items()}) for row in rows)


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
