"""Renders the pages whose numbers come from records: docs/src/NAME.md.j2 -> docs/NAME.md, and README.md at the top.

    python docs/tools/render.py             # writes every page
    python docs/tools/render.py --check     # writes nothing; names the stale pages, exit code 1 if there is one

A source is a page with jinja2 expressions in it. Paths in them are relative to the repository. docs/dev/pages.md lists
what a source may use; a name that does not exist is an error, never an empty text.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.console import Console
from tabulate import tabulate

from bench.boards.statistics import Difference, mean_interval
from bench.records.metrics import KS, area
from bench.records.record import measured
from bench.report.story import judged
from bench.report.terminal import summary

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "docs" / "src"
RECORDS = "leaderboards/records"
UNDEFINED = "–"  # noqa: RUF001 - the en dash of the leaderboards


@dataclass(frozen=True)
class Sample:
    """One measure by seed; shown as mean ± half its 95 % interval (t), or as the number itself where there is one."""

    values: Mapping[Any, float]

    def to(self, digits: int) -> str:
        """With this many digits behind the point."""
        several = list(self.values.values())
        shown = list(mean_interval(several)) if len(several) > 1 else several
        return " ± ".join(f"{value:.{digits}f}" for value in shown) or UNDEFINED

    def __str__(self) -> str:
        return self.to(1)

    def each(self, digits: int = 0) -> str:
        """The values themselves, in the order of the seeds."""
        return ", ".join(f"{value:.{digits}f}" for value in self.values.values())

    def only(self, function: Callable[[Iterable[float]], float]) -> Sample:
        return Sample({None: function(self.values.values())} if self.values else {})

    mean = property(lambda self: self.only(statistics.fmean))
    min = property(lambda self: self.only(min))
    max = property(lambda self: self.only(max))

    @property
    def verdict(self) -> str:
        """Of a difference: whether its interval leaves out zero, and on which side; "" of none."""
        if not self.values:
            return ""
        mean, half = mean_interval(list(self.values.values()))
        found = Difference(mean=mean, half=half, seeds=tuple(self.values), comparisons=1)
        if not found.apart:
            return "equal" if found.equal else "not told apart"
        return "confirmed" if mean > 0 else "the other way"

    def __sub__(self, other: Sample) -> Sample:
        """Seed by seed, over the seeds that both have. Raises ValueError where there is none."""
        common = [seed for seed in self.values if seed in other.values]
        if not common:
            raise ValueError(f"seeds {list(self.values)} and {list(other.values)} cannot be paired")
        return Sample({seed: self.values[seed] - other.values[seed] for seed in common})


@dataclass(frozen=True)
class Runs:
    """Records of one attack, called as runs("poisoncam", "poisoned.asr").

    The path is looked up in the record's metrics of that defense ("none": of the encoder without one) or, where it
    begins with "stages." or "poison.", in the record. A path that leads to counts by class gives their sum.
    """

    records: Sequence[Mapping[str, Any]]

    def has(self, defense: str) -> bool:
        """Whether there is a record of it."""
        return any(record["run"]["defense"] == defense for record in self.records)

    def __call__(self, defense: str, path: str) -> Sample:
        found: dict[int, float] = {}
        for record in self.records:
            short = record["run"].get("until") == "detection" and path.startswith(("clean.", "poisoned."))
            if defense == "none" or (defense == record["run"]["defense"] and not short):
                value = None if unscored(record, path) else at(measures(record, defense), path)
                seed, value = record["run"]["seed"], sum(value.values()) if isinstance(value, Mapping) else value
                if found.setdefault(seed, value) != value:
                    raise ValueError(f"two records of {defense}, seed {seed}, differ in {path}: name more settings")
        if not found:
            raise ValueError(f"no record of the defense {defense!r}")
        return Sample({seed: value for seed, value in sorted(found.items()) if value is not None})


def unscored(record: Mapping[str, Any], path: str) -> bool:
    """Whether a path is of the k most suspicious windows of a run that scored fewer."""
    part, _, rest = path.partition(".")
    k = rest.partition(".")[0]
    known = k.isdigit() and int(k) in KS
    return part == "localisation" and known and k not in record["metrics"].get(part, {})


def measures(record: Mapping[str, Any], defense: str) -> dict[str, Any]:
    """What a record says of its defense, or of the encoder without one."""
    metrics, of_all = record["metrics"], {"stages": record["stages"], "poison": record.get("poison")}
    if defense == "none":
        return {**metrics["none"], **of_all}
    return {**metrics, **metrics.get("defended", {}), **of_all}


def at(value: Any, path: str) -> Any:
    """What lies at a dotted path. Raises KeyError."""
    return reduce(lambda inner, name: inner[name], path.split("."), value)


# --- what a source may use ------------------------------------------------------------------------


@cache
def read_json(path: str) -> Any:
    """A JSON file: dictionaries and lists."""
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


def read_csv(path: str, **where: object) -> list[dict[str, str]]:
    """The rows of a CSV file whose cells match, as in line="Poison*" (case counts). Raises ValueError for none."""
    with (ROOT / path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = [row for row in rows if all(fnmatchcase(row[name], str(cell)) for name, cell in where.items())]
    if not found:
        raise ValueError(f"{path} has no row with {where}")
    return found


def digits(value: float, count: int = 0) -> str:
    """A number with this many digits behind the point."""
    return f"{float(value):.{count}f}"


def column(rows: Sequence[Mapping[str, str]], name: str) -> Sample:
    """A column of a CSV file's rows, by their seeds where each has its own, else by their places."""
    seeds = [row.get("seed") for row in rows]
    keys = seeds if all(seeds) and len(set(seeds)) == len(rows) else range(len(rows))
    return Sample({key: float(row[name]) for key, row in zip(keys, rows, strict=True) if row[name]})


def table(rows: Sequence[Mapping[str, str]], *columns: str) -> str:
    """Columns of a CSV file's rows as a markdown table; columns of numbers stand at the right."""
    numeric = [all(re.fullmatch(r"-?[\d.]*", row[name]) for row in rows) for name in columns]
    spec = ["---:" if right else "---" for right in numeric]
    lines = [columns, spec, *([row[name] for name in columns] for row in rows)]
    return padded("\n".join(f"| {' | '.join(line)} |" for line in lines))


def exponent(points: Sequence[Mapping[str, str]]) -> str:
    """b of seconds = a value^b, by least squares of the logarithms."""
    x, y = ([math.log(float(point[name])) for point in points] for name in ("value", "seconds"))
    return f"{statistics.linear_regression(x, y).slope:.2f}"


def runs(where: Mapping[str, object], *folders: str) -> Runs:
    """The records in which each dotted path has this value, of the folders (those of the leaderboards); those of
    MoCo-v3, unless another SSL method is named."""
    return _runs(json.dumps({"config.ssl.name": "moco_v3", **where}, sort_keys=True), folders or (RECORDS,))


@cache
def _runs(where: str, folders: tuple[str, ...]) -> Runs:
    wanted = json.loads(where).items()
    every = [record for folder in folders for record in read_folder(folder)]
    return Runs([record for record in every if all(holds(record, path, value) for path, value in wanted)])


@cache
def read_folder(folder: str) -> list[Any]:
    """The records of a folder that were measured here, in the order of their names."""
    return [*filter(measured, (json.loads(file.read_text(encoding="utf-8")) for file in files(folder)))]


def lead(where: Mapping[str, object], one: str, other: str, path: str) -> Sample:
    """By how much a measure of one defense is above that of another, seed by seed; empty where no seed has both, or one
    of them was not run."""
    found = runs(where)
    if not (found.has(one) and found.has(other)):
        return Sample({})
    first, second = (found(name, path).values for name in (one, other))
    return Sample({seed: first[seed] - second[seed] for seed in first if seed in second})


def over(every: Iterable[Mapping[str, object]], defense: str, path: str) -> Sample:
    """The mean of a measure over several kinds of runs, seed by seed. Raises ValueError where their seeds differ."""
    found = [runs(where)(defense, path).values for where in every]
    if len({tuple(each) for each in found}) != 1:
        raise ValueError(f"the runs of {defense} have different seeds: {[list(each) for each in found]}")
    return Sample({seed: statistics.fmean(each[seed] for each in found) for seed in found[0]})


def auroc(defense: str, path: str, positive: Iterable[Mapping[str, object]], negative: Mapping[str, object]) -> str:
    """How often a measure is larger in one of the first runs (each mapping as for `runs`) than in one of the last."""
    ones = [value for where in positive for value in runs(where)(defense, path).values.values()]
    zeros = [*runs(negative)(defense, path).values.values()]
    found = area(np.arange(len(ones) + len(zeros)) < len(ones), np.array(ones + zeros))
    return f"{found:.0f}"


def holds(record: Mapping[str, Any], path: str, value: object) -> bool:
    try:
        return bool(at(record, path) == value)
    except KeyError:
        return False


def files(folder: str, *suffixes: str) -> list[Path]:
    return sorted(file for file in (ROOT / folder).iterdir() if file.suffix in (suffixes or (".json",)))


def hours(folder: str = RECORDS) -> float:
    """What all stages of the records took, those that records share counted once."""
    stages = [stage for record in read_folder(folder) for stage in record["stages"].values()]
    return sum({stage["key"]: stage["seconds"] for stage in stages}.values()) / 3600


def removal(where: Mapping[str, object]) -> str:
    """What a run prints of its removal; of the one record that says so. Raises ValueError for none or several."""
    (record,) = runs(where).records
    return f"{record['run']['defense']} removed {judged(record)}."


def printed(record: Mapping[str, Any]) -> str:
    """What a run printed, less the colours."""
    stages = ("poison", "threat_model", "threat_probe", "defense", "retraining", "defended_probe")
    titles = ("poison the images", "train on the poisoned images", "measure the encoder")
    titles += (
        f"find the poison ({record['run']['defense']})",
        "train again on what is kept",
        "measure the new encoder",
    )
    took = [
        f"  done {title} ({record['stages'][name]['seconds']:.0f} s)"
        for title, name in zip(titles, stages, strict=True)
    ]
    console = Console(width=200, record=True, file=io.StringIO())
    for part in summary(dict(record)):
        console.print(part, highlight=False)
    said = [line.rstrip() for line in console.export_text().strip().splitlines()]
    return "\n".join([*took, "", *said])


def padded(lines: str) -> str:
    """A markdown table with its cells padded, so that it reads well as text; "---:" aligns a column at the right."""
    head, marks, *rows = (
        [cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines.split("\n") if line
    )
    align = ["right" if mark.endswith(":") else "left" for mark in marks]
    return str(tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=align))


# --- pages ----------------------------------------------------------------------------------------


def rendered() -> dict[Path, str]:
    """Every page that has a source, and what it should say."""
    environment = Environment(loader=FileSystemLoader(SOURCES), undefined=StrictUndefined, keep_trailing_newline=True)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.globals |= {
        "json": read_json,
        "csv": read_csv,
        "runs": runs,
        "hours": hours,
        "auroc": auroc,
        "lead": lead,
        "over": over,
        "removal": removal,
        "printed": printed,
        "column": column,
        "exponent": exponent,
    }
    environment.filters |= {"table": table, "padded": padded, "digits": digits}
    found = {}
    for name in environment.list_templates(extensions=["j2"]):
        page = ROOT / name.removesuffix(".j2") if name == "README.md.j2" else ROOT / "docs" / name.removesuffix(".j2")
        found[page] = environment.get_template(name).render()
    return found


def main(words: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a page is stale")
    options = parser.parse_args(words)
    stale = {page: text for page, text in rendered().items() if not page.exists() or page.read_text("utf-8") != text}
    for page, text in stale.items():
        if not options.check:
            page.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{page.relative_to(ROOT)} {'is stale' if options.check else 'written'}\n")
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
